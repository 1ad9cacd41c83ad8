"""Stored credentials as a signature is checked under them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import msgspec

from countersign.credentials import public_key
from countersign.credentials.fido2_assertion import Fido2Context
from countersign.credentials.outcome import Refused
from countersign.credentials.public_key import PublicKey
from countersign.credentials.relying_party import RelyingParty

SigningKind = Literal["Fido2", "Key", "PasswordProtectedKey"]


class Passkey(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What is stored of a passkey beside its key. ``trust``: what its attestation proved, ``format`` its form."""

    aaguid: str
    backup_eligible: bool
    backed_up: bool
    format: str
    trust: str


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A public key with, for a passkey, what else its assertions are held to."""

    public_key: PublicKey
    rp_id: str | None = None
    fido2: Fido2Context | None = None


def signing_key(
    kind: str, pem: str, rp_id: str, passkey: str | None, parties: Iterable[RelyingParty]
) -> SigningKey | Refused:
    """From the columns of a credential and the relying parties of its organisation."""
    loaded = public_key.load(pem)
    if isinstance(loaded, Refused):
        return loaded
    if kind != "Fido2":
        return SigningKey(loaded)
    party = next((party for party in parties if party.rp_id == rp_id), None)
    if party is None or passkey is None:
        return Refused("the organisation has no such relying party any more")
    stored = msgspec.json.decode(passkey, type=Passkey)
    return SigningKey(loaded, rp_id, Fido2Context(party, stored.backup_eligible))
