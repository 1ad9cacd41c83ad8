"""Which keys a payload shows: what somebody countersigned when a credential was enrolled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from countersign.credentials.shown_keys import in_attestation, in_pem
from countersign.encoding import strictjson


def shown_fingerprints(payload: str) -> Iterator[str]:
    """Fingerprints of the public keys anywhere in a payload: PEM texts, and those inside ``attestationData``."""
    try:
        pending: list[Any] = [strictjson.parse_object(payload)]
    except strictjson.BadJson:
        return
    while pending:
        item = pending.pop()
        shown = None
        if isinstance(item, dict):
            pending.extend(item.values())
            attestation = item.get("attestationData")
            if isinstance(attestation, str):
                shown = in_attestation(attestation)
        elif isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, str) and "PUBLIC KEY" in item:
            shown = in_pem(item)
        if shown is not None:
            yield shown.public_key.fingerprint
