"""The evidence of consent: a credential's signature that anyone can check again, without our database.

The same function runs where an action token is spent, in the signer before a key is used, and in the
offline verifier of the audit log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from countersign.consent.challenge import ActionChallenge, parse_signed_challenge
from countersign.credentials.client_data import read_client_data
from countersign.credentials.key_assertion import CLIENT_DATA_TYPE, verify_signature
from countersign.credentials.outcome import Refused
from countersign.credentials.public_key import PublicKey

EvidenceKind = Literal["Key", "PasswordProtectedKey"]
"""Kinds of credentials that sign actions. Recovery keys never do."""

MAX_CLIENT_DATA = 1024
"""Bytes; evidence travels in the action token, which travels in a header."""
MAX_RSA_BITS = 4096


class Evidence(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """What a credential signed, binary members as the base64 text that was received."""

    kind: EvidenceKind
    client_data: str
    signature: str
    authenticator_data: str | None = None
    algorithm: str | None = None


@dataclass(frozen=True, slots=True)
class Proven:
    """The credential consented to the action of ``challenge``; ``origin`` is what the client data claims, if any."""

    challenge: ActionChallenge
    origin: str | None


def verify_evidence(evidence: Evidence, public_key: PublicKey, digest: str) -> Proven | Refused:
    """Check that the evidence is consent, under ``public_key``, to the action with this digest.

    The challenge itself is taken from the signed client data (in the plain form of key signers and mobile
    clients, or the double form of browsers); that it was issued, answered in time and not spent yet is
    for the caller to know. Never raises for bad input.
    """
    if evidence.authenticator_data is not None:
        return Refused("a key signs no authenticatorData")
    if public_key.kind == "rsa" and public_key.bits > MAX_RSA_BITS:
        return Refused(f"actions are signed with RSA keys of at most {MAX_RSA_BITS} bits")
    client_data = read_client_data(evidence.client_data, CLIENT_DATA_TYPE, MAX_CLIENT_DATA)
    if isinstance(client_data, Refused):
        return client_data
    challenge = parse_signed_challenge(client_data.challenge)
    if isinstance(challenge, Refused):
        return challenge
    if challenge.action != digest:
        return Refused("the signed digest is that of another action")
    refusal = verify_signature(client_data, evidence.signature, evidence.algorithm, public_key)
    return refusal or Proven(challenge, client_data.origin)
