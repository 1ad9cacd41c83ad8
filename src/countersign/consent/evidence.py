"""The evidence of consent: a credential's signature that anyone can check again, without our database.

The same function runs where an action token is spent, in the signer before a key is used, and in the
offline verifier of the audit log.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from countersign.consent.challenge import ActionChallenge, parse_signed_challenge
from countersign.credentials.client_data import read_client_data
from countersign.credentials.fido2_assertion import Answer, Fido2Context, read_answer, verify_answer
from countersign.credentials.key_assertion import CLIENT_DATA_TYPE, verify_signature
from countersign.credentials.outcome import Refused
from countersign.credentials.public_key import PublicKey

EvidenceKind = Literal["Fido2", "Key", "PasswordProtectedKey"]
"""Kinds of credentials that sign actions. Recovery keys never do."""

MAX_CLIENT_DATA = 1024
"""Bytes; evidence travels in the action token, which travels in a header."""
MAX_AUTHENTICATOR_DATA = 512
MAX_RSA_BITS = 4096


class Evidence(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """What a credential signed, binary members as the base64 text that was received."""

    kind: EvidenceKind
    client_data: str
    signature: str
    authenticator_data: str | None = None
    algorithm: str | None = None


class Proven(msgspec.Struct, frozen=True):
    """The credential consented to the action of ``challenge``; ``origin`` is what the client data claims, if any.

    ``answer`` is that of a Fido2 credential, whose counter its caller steps when a challenge is answered.
    """

    challenge: ActionChallenge
    origin: str | None
    answer: Answer | None = None


def verify_evidence(
    evidence: Evidence, public_key: PublicKey, digest: str, fido2: Fido2Context | None = None
) -> Proven | Refused:
    """Check that the evidence is consent, under ``public_key``, to the action with this digest.

    The challenge itself is taken from the signed client data (in the plain form of key signers and mobile
    clients, or the double form of browsers); that it was issued, answered in time and not spent yet is
    for the caller to know. ``fido2`` says for which relying party a Fido2 credential is; its signature
    counter is no matter of evidence, because answers may be spent in another order than they were made.
    Offline the origins of that time are not known and are not judged (``RelyingParty``); the relying party
    is, because the authenticator signs its hash. Never raises for bad input.
    """
    if public_key.kind == "rsa" and public_key.bits > MAX_RSA_BITS:
        return Refused(f"actions are signed with RSA keys of at most {MAX_RSA_BITS} bits")
    if evidence.kind == "Fido2":
        return _verify_fido2(evidence, public_key, digest, fido2)
    if evidence.authenticator_data is not None:
        return Refused("a key signs no authenticatorData")
    client_data = read_client_data(evidence.client_data, CLIENT_DATA_TYPE, MAX_CLIENT_DATA)
    if isinstance(client_data, Refused):
        return client_data
    challenge = _challenge(client_data.challenge, digest)
    if isinstance(challenge, Refused):
        return challenge
    refusal = verify_signature(client_data, evidence.signature, evidence.algorithm, public_key)
    return refusal or Proven(challenge, client_data.origin)


def _verify_fido2(
    evidence: Evidence, public_key: PublicKey, digest: str, context: Fido2Context | None
) -> Proven | Refused:
    if context is None:
        return Refused("the relying party of the credential is not known")
    if evidence.authenticator_data is None:
        return Refused("authenticatorData is missing")
    answer = read_answer(
        evidence.client_data,
        evidence.authenticator_data,
        context,
        max_client_data=MAX_CLIENT_DATA,
        max_authenticator_data=MAX_AUTHENTICATOR_DATA,
    )
    if isinstance(answer, Refused):
        return answer
    challenge = _challenge(answer.client_data.challenge, digest)
    if isinstance(challenge, Refused):
        return challenge
    refusal = verify_answer(answer, evidence.signature, evidence.algorithm, public_key)
    return refusal or Proven(challenge, answer.client_data.origin, answer)


def _challenge(text: str, digest: str) -> ActionChallenge | Refused:
    challenge = parse_signed_challenge(text)
    if not isinstance(challenge, Refused) and challenge.action != digest:
        return Refused("the signed digest is that of another action")
    return challenge
