"""The public key in what is handed in when a credential is enrolled.

Whoever countersigns such a request countersigns this key: the signer and the offline verifier of the audit log read it
from the signed payload, never from a row beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from countersign.credentials import public_key
from countersign.credentials.authenticator_data import parse_authenticator_data
from countersign.credentials.outcome import Refused
from countersign.credentials.public_key import PublicKey
from countersign.encoding import base64url, cbor, strictjson


@dataclass(frozen=True, slots=True)
class ShownKey:
    """A key; ``rp_id_hash`` is SHA-256 of the relying party id (WebAuthn section 6.1), of passkeys alone."""

    public_key: PublicKey
    rp_id_hash: bytes | None = None


def in_pem(text: str) -> ShownKey | None:
    """The key of a PEM block; ``None`` where it is none that is accepted."""
    loaded = public_key.load(text)
    return ShownKey(loaded) if isinstance(loaded, PublicKey) else None


def in_submission(value: Any) -> tuple[str, ShownKey] | None:
    """Kind and key of a credential as it is handed in (JSON); ``None`` where it shows no key of that kind."""
    kind, info = (value.get("credentialKind"), value.get("credentialInfo")) if isinstance(value, dict) else (None, None)
    attestation = info.get("attestationData") if isinstance(info, dict) else None
    key = in_attestation(attestation) if isinstance(attestation, str) else None
    if key is None or not isinstance(kind, str) or (kind == "Fido2") != (key.rp_id_hash is not None):
        return None
    return kind, key


def in_attestation(text: str) -> ShownKey | None:
    """The key of an ``attestationData`` (base64 text): of keys JSON with a PEM, of passkeys an attestation object."""
    try:
        data = base64url.decode_tolerant(text)
        if data.lstrip().startswith(b"{"):
            pem = strictjson.parse_object(data).get("publicKey")
            return in_pem(pem) if isinstance(pem, str) else None
        statement = cbor.decode(data)
    except ValueError:
        return None
    raw = statement.get("authData") if isinstance(statement, dict) else None
    parsed = parse_authenticator_data(raw) if isinstance(raw, bytes) else None
    if parsed is None or isinstance(parsed, Refused) or parsed.attested is None:
        return None
    return ShownKey(parsed.attested.public_key, parsed.rp_id_hash)
