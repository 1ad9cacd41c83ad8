"""Which keys a payload shows: what somebody countersigned when a credential was enrolled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from countersign.credentials import public_key
from countersign.credentials.authenticator_data import parse_authenticator_data
from countersign.credentials.outcome import Refused
from countersign.encoding import base64url, cbor, strictjson


def shown_fingerprints(payload: str) -> Iterator[str]:
    """Fingerprints of the public keys anywhere in a payload: PEM texts, and those inside ``attestationData``."""
    try:
        pending: list[Any] = [strictjson.parse_object(payload)]
    except strictjson.BadJson:
        return
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending.extend(item.values())
            attestation = item.get("attestationData")
            if isinstance(attestation, str):
                yield from _attested(attestation)
        elif isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, str) and "PUBLIC KEY" in item:
            yield from _pem(item)


def _pem(text: str) -> Iterator[str]:
    loaded = public_key.load(text)
    if isinstance(loaded, public_key.PublicKey):
        yield loaded.fingerprint


def _attested(text: str) -> Iterator[str]:
    """That of a key is JSON with a PEM, that of a passkey a CBOR attestation object."""
    try:
        data = base64url.decode_tolerant(text)
        if data.lstrip().startswith(b"{"):
            pem = strictjson.parse_object(data).get("publicKey")
            if isinstance(pem, str):
                yield from _pem(pem)
            return
        statement = cbor.decode(data)
    except ValueError:
        return
    raw = statement.get("authData") if isinstance(statement, dict) else None
    parsed = parse_authenticator_data(raw) if isinstance(raw, bytes) else None
    if parsed is not None and not isinstance(parsed, Refused) and parsed.attested is not None:
        yield parsed.attested.public_key.fingerprint
