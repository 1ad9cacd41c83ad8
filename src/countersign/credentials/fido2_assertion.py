"""Assertions by a passkey or security key (WebAuthn section 7.2).

Checked here and not by a library: evidence of consent is checked again in places that must stay small (the
signer, the offline audit), the checks must be exact where libraries are lenient, and one costs little more
than the signature it verifies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import msgspec

from countersign.credentials.authenticator_data import (
    MAX_AUTHENTICATOR_DATA,
    AuthenticatorData,
    decode_authenticator_data,
    refuse_authenticator,
)
from countersign.credentials.client_data import WebClientData, answers, read_web_client_data
from countersign.credentials.key_assertion import (
    MAX_CLIENT_DATA,
    Base64Text,
    CredentialId,
    refuse_signature,
)
from countersign.credentials.outcome import Refused
from countersign.credentials.public_key import PublicKey
from countersign.credentials.relying_party import RelyingParty
from countersign.encoding import base64url

CLIENT_DATA_TYPE = "webauthn.get"
_ALGORITHMS = frozenset({None, "SHA256", "RSA-SHA256"})
_KEY_KINDS = frozenset({"p256", "rsa", "ed25519"})
_ANSWER_DOMAIN = b"countersign.fido2.answer.v1"


class Fido2CredentialAssertion(
    msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """Binary members are base64url text as received; ``user_handle`` may be absent or empty."""

    cred_id: CredentialId
    client_data: Base64Text
    authenticator_data: Base64Text
    signature: Base64Text
    user_handle: str | None = None
    algorithm: str | None = None


class Fido2Assertion(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """An assertion as it stands in a request body."""

    kind: Literal["Fido2"]
    credential_assertion: Fido2CredentialAssertion


@dataclass(frozen=True, slots=True)
class Fido2Context:
    """What must be known of a stored credential to judge what it signed.

    ``backup_eligible`` as it was at registration (a credential never changes it), ``None`` if not known.
    """

    party: RelyingParty
    backup_eligible: bool | None
    require_user_verification: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """Client data and authenticator data that fit together, their signature not checked yet."""

    client_data: WebClientData
    authenticator_data: AuthenticatorData

    @property
    def signed(self) -> bytes:
        """The bytes that the signature covers: authenticator data, then SHA-256 of the client data."""
        return self.authenticator_data.raw + hashlib.sha256(self.client_data.raw).digest()

    @property
    def mark(self) -> str:
        """Hex SHA-256 that names this answer to this challenge, whatever bytes its signature has."""
        raw = self.authenticator_data.raw
        length = len(raw).to_bytes(4, "big")
        return hashlib.sha256(_ANSWER_DOMAIN + length + raw + self.client_data.raw).hexdigest()


@dataclass(frozen=True, slots=True)
class Proven:
    """The holder of ``credential_id`` answered the challenge; ``step_counter`` with ``answer`` comes next."""

    credential_id: str
    origin: str
    answer: Answer


def verify_assertion(
    assertion: Fido2Assertion,
    public_key: PublicKey,
    context: Fido2Context,
    expected_challenge: str,
    *,
    user_id: str,
    user_handle_required: bool = False,
) -> Proven | Refused:
    """Check an assertion against the stored credential it names.

    ``expected_challenge`` is the challenge string as issued, ``user_id`` the owner of the credential;
    ``user_handle_required`` where nobody said who logs in. That the credential is active, and that its
    counter moved on (``step_counter``), is for the caller to see to. Never raises for bad input; a refusal has a
    cause only if the signature holds.
    """
    evidence = assertion.credential_assertion
    answer = read_answer(evidence.client_data, evidence.authenticator_data, context)
    if isinstance(answer, Refused):
        # Who does not hold the key learns nothing about it, not even that somebody does.
        told = answer.cause is None or _is_signed(evidence, public_key)
        return answer if told else Refused(answer.reason)
    if not answers(answer.client_data, expected_challenge):
        return Refused("clientData names another challenge")
    # The signature first, whatever the handle says: a stranger could tell by the time whose credential it is.
    refusal = verify_answer(answer, evidence.signature, evidence.algorithm, public_key) or refuse_user_handle(
        evidence.user_handle, user_id, required=user_handle_required
    )
    return refusal or Proven(evidence.cred_id, answer.client_data.origin, answer)


def _is_signed(evidence: Fido2CredentialAssertion, public_key: PublicKey) -> bool:
    """Whether the key signed both parts of an answer, whatever stands in them."""
    client = read_web_client_data(evidence.client_data, CLIENT_DATA_TYPE, MAX_CLIENT_DATA)
    data = decode_authenticator_data(evidence.authenticator_data, MAX_AUTHENTICATOR_DATA)
    if isinstance(client, Refused) or isinstance(data, Refused):
        return False
    return verify_answer(Answer(client, data), evidence.signature, evidence.algorithm, public_key) is None


def read_answer(
    client_data: str,
    authenticator_data: str,
    context: Fido2Context,
    *,
    max_client_data: int = MAX_CLIENT_DATA,
    max_authenticator_data: int = MAX_AUTHENTICATOR_DATA,
) -> Answer | Refused:
    """Read both parts of an answer and check everything in them but the challenge and the signature."""
    client = read_web_client_data(client_data, CLIENT_DATA_TYPE, max_client_data)
    if isinstance(client, Refused):
        return client
    party = context.party
    refusal = party.refusal(client)
    if refusal:
        return refusal
    data = decode_authenticator_data(authenticator_data, max_authenticator_data)
    if isinstance(data, Refused):
        return data
    refusal = refuse_authenticator(data, party.rp_id_hash, require_user_verification=context.require_user_verification)
    if refusal:
        return refusal
    if data.attested is not None:
        return Refused("authenticatorData: an assertion attests no new credential (AT)")
    if context.backup_eligible is not None and data.backup_eligible != context.backup_eligible:
        return Refused("authenticatorData: eligibility for backup (BE) changed since registration")
    return Answer(client, data)


def verify_answer(answer: Answer, signature: str, algorithm: str | None, public_key: PublicKey) -> Refused | None:
    """Why the base64url ``signature`` does not hold; ``None`` if it does.

    The algorithm is that of the stored key: ES256, RS256 or EdDSA. An ``algorithm`` that the client names
    may only repeat it.
    """
    if public_key.kind not in _KEY_KINDS or algorithm not in _ALGORITHMS:
        return Refused("the algorithm is not that of the credential's key")
    return refuse_signature(answer.signed, signature, algorithm, public_key)


def refuse_user_handle(user_handle: str | None, user_id: str, *, required: bool) -> Refused | None:
    """Why the user handle (base64url of the user's id) is not that of the credential's owner."""
    if not user_handle:
        return Refused("userHandle is missing") if required else None
    try:
        handle = base64url.decode_tolerant(user_handle)
    except ValueError:
        return Refused("userHandle is not base64url")
    return None if handle == user_id.encode("utf-8") else Refused("userHandle names another user")


@dataclass(frozen=True, slots=True)
class Advanced:
    """Store ``sign_count`` as the credential's counter, if it still is what it was, and ``mark`` beside it."""

    sign_count: int
    mark: str


@dataclass(frozen=True, slots=True)
class Unmoved:
    """Nothing to store: the authenticator does not count, or an answer that was accepted before came again."""


@dataclass(frozen=True, slots=True)
class Cloned:
    """The counter did not move on: another authenticator holds this key. Refuse and flag the credential."""

    stored: int
    received: int


def step_counter(stored: int, answer: Answer, accepted: Collection[str]) -> Advanced | Unmoved | Cloned:
    """What a proven answer does to the credential's signature counter (WebAuthn section 6.1.1).

    Once either counter is not zero, the received one must be greater. ``accepted`` are the marks of the
    last answers that were: a client that lost our response sends the same answer once more, and that is no
    clone. Only for answers whose signature was verified.
    """
    received = answer.authenticator_data.sign_count
    if received > stored:
        return Advanced(received, answer.mark)
    if received == stored == 0 or answer.mark in accepted:
        return Unmoved()
    return Cloned(stored, received)
