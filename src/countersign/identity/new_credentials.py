"""What registration and recovery share: a challenge that new credentials sign, their proof, and how they are stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from countersign.access import temporary_tokens
from countersign.access.keyring import KeyRing
from countersign.access.relying_parties import list_parties
from countersign.access.temporary_tokens import Purpose, TemporaryMetadata, TemporaryToken
from countersign.api import UNSET, ApiError, Call, Caller, Effect
from countersign.audit.entry import Enrolled, System
from countersign.credentials.key_assertion import lookup_key
from countersign.credentials.outcome import Refused
from countersign.encoding.dates import to_iso
from countersign.identity import credentials
from countersign.identity.credential_operations import ALGORITHMS, Enrolment
from countersign.identity.credential_types import ChallengedUser, PubKeyCredParam
from countersign.identity.credentials import CredentialKind, NewCredential, Submission, Taken
from countersign.identity.entrance import Entrance, default_party
from countersign.identity.registration_types import (
    Fido2Factor,
    KeyFactor,
    NewCredentials,
    PasswordFactor,
    PasswordProtectedKeyFactor,
    RecoveryFactor,
    RegisteredCredential,
    RegisteredUser,
    RegistrationChallenge,
    TotpFactor,
)
from countersign.identity.types import Credential
from countersign.storage import Transaction
from countersign.world import World

_AnyFactor = Fido2Factor | KeyFactor | PasswordProtectedKeyFactor | RecoveryFactor | PasswordFactor | TotpFactor
C = TypeVar("C", bound=RegistrationChallenge)


class Challenged(Protocol):
    """Who is given a challenge, under which epochs."""

    @property
    def org_id(self) -> str:
        """The organisation."""

    @property
    def user_id(self) -> str:
        """The user."""

    @property
    def username(self) -> str:
        """As it was given."""

    @property
    def kind(self) -> str:
        """Of user."""

    @property
    def epoch(self) -> int:
        """Of the user."""

    @property
    def org_epoch(self) -> int:
        """Of the organisation."""


@dataclass(frozen=True, slots=True)
class Completed:
    """Who has new credentials, and the first of them."""

    person: Challenged
    credential_uuid: str
    kind: CredentialKind
    name: str

    @classmethod
    def of(cls, person: Challenged, made: Sequence[Credential]) -> Completed:
        """From the credentials in the order in which they were submitted."""
        return cls(person, made[0].credential_uuid, made[0].kind, made[0].name)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the audit entry says of a request beside what it did."""

    installation_id: str
    request_id: str
    client_address: str


async def challenge(
    call: Call,
    kind: type[C],
    purpose: Purpose,
    person: Challenged,
    token_id: str,
    *,
    display_name: str | None = None,
    action_id: str | None = None,
    recovery_uuid: str | None = None,
    **members: Any,
) -> C:
    """A challenge that the person's new credentials sign; ``members``: those that ``kind`` has beyond the common ones.

    ``display_name``: how the person is called where that is not the username. ``action_id``: the user action by which a
    service account asked for it; ``recovery_uuid``: the recovery key that has to consent.
    """
    enrolment = call.service(Enrolment)
    asked: dict[str, Any] = {} if action_id is None else _asked_by(call.caller)
    party = await call.read(lambda: default_party(person.org_id))
    metadata = TemporaryMetadata(
        user_id=person.user_id,
        org_id=person.org_id,
        token_kind="Temp",
        purpose=purpose,
        challenge=temporary_tokens.new_challenge(call.world),
        user_epoch=person.epoch,
        org_epoch=person.org_epoch,
        action_id=action_id,
        recovery_uuid=recovery_uuid,
        **asked,
    )
    token = temporary_tokens.issue(
        enrolment.ring, metadata, person.username, enrolment.challenge_seconds, call.world, token_id=token_id
    )
    return kind(
        user=ChallengedUser(id=person.user_id, name=person.username, display_name=display_name or person.username),
        temporary_authentication_token=token,
        challenge=metadata.challenge,
        rp=UNSET if party is None else party,
        attestation="none" if enrolment.policy is None else "direct",
        pub_key_cred_params=[PubKeyCredParam(alg=algorithm) for algorithm in ALGORITHMS],
        exclude_credentials=[],
        **members,
    )


def _asked_by(caller: Caller) -> dict[str, Any]:
    """What of the service account has to be as it is when what it asked for is completed."""
    return {
        "token_id": caller.token_id,
        "caller_kind": caller.token_kind,
        "token_epoch": caller.epochs.token,
        "delegated_by": caller.user_id,
        "delegate_epoch": caller.epochs.user,
    }


async def bearer(call: Call, purpose: Purpose) -> TemporaryToken:
    """The temporary token that the request carries. 401 ``UNAUTHENTICATED``."""
    text = temporary_tokens.presented(call.request.headers)
    if text is None:
        raise ApiError("UNAUTHENTICATED", reason="no temporary token")
    token = await temporary_tokens.read(call.service(KeyRing), text, purpose, call.world)
    if isinstance(token, Refused):
        raise ApiError("UNAUTHENTICATED", reason=token.reason)
    return token


async def prove(call: Call, body: NewCredentials, token: TemporaryToken) -> Sequence[NewCredential]:
    """Check that each new credential answers the challenge of the token, and that they have an id and a key each."""
    factors = (body.first_factor_credential, body.second_factor_credential, body.recovery_credential)
    return await prove_all(call, [_submission(factor) for factor in factors if factor is not UNSET], token)


async def prove_all(call: Call, submissions: Sequence[Submission], token: TemporaryToken) -> Sequence[NewCredential]:
    """The same for what was submitted in another form."""
    passkeys = any(each.kind == "Fido2" for each in submissions)
    parties = await call.read(lambda: list_parties(token.metadata.org_id)) if passkeys else ()
    new: list[NewCredential] = []
    for each in submissions:
        proved = credentials.prove(each, token.metadata.challenge, parties, call.service(Enrolment).policy)
        if isinstance(proved, Refused):
            raise credentials.refusal_error(proved)
        new.append(proved)
    ids = {lookup_key(each.credential_id) for each in new}
    keys = {each.public_key.fingerprint for each in new}
    if not len(ids) == len(keys) == len(new):
        raise credentials.refusal_error(Refused("two credentials share an id or a key"))
    return new


def _submission(factor: _AnyFactor) -> Submission:
    if isinstance(factor, PasswordFactor | TotpFactor):
        raise ApiError("CREDENTIAL_KIND_DISABLED")
    if isinstance(factor, Fido2Factor):
        return Submission("Fido2", factor.credential_name, factor.credential_info)
    if isinstance(factor, KeyFactor):
        return Submission("Key", factor.credential_name, factor.credential_info)
    wrapped = factor.encrypted_private_key
    kind: CredentialKind = "RecoveryKey" if isinstance(factor, RecoveryFactor) else "PasswordProtectedKey"
    return Submission(kind, factor.credential_name, factor.credential_info, None if wrapped is UNSET else wrapped)


def circumstances(call: Call) -> Circumstances:
    """Of this request."""
    return Circumstances(call.service(Entrance).installation_id, call.request.request_id, call.request.client_address)


def store(
    org_id: str, user_id: str, new: Sequence[NewCredential], world: World
) -> Transaction[list[Effect[Credential]]]:
    """Store them for a user who is locked; the first one becomes the primary credential.

    400 ``ATTESTATION_INVALID`` for one that exists already: who calls is nobody yet and is not told.
    """
    stored: list[Effect[Credential]] = []
    # A user's primary credential is the one with the lowest id: the first factor, also within one millisecond.
    uuids = sorted(world.new_id("cr") for _ in new)
    for uuid, each in zip(uuids, new, strict=True):
        made = yield from credentials.insert(org_id, user_id, "", each, world, uuid=uuid)
        if isinstance(made, Taken):
            raise ApiError("ATTESTATION_INVALID", reason=f"{made.what} is enrolled already")
        stored.append(made)
    return stored


def entry(
    event: str,
    person: Challenged,
    stored: Sequence[Effect[Credential]],
    others: Sequence[str],
    details: dict[str, str],
    around: Circumstances,
    world: World,
) -> System:
    """The audit entry of new credentials that nobody countersigned; ``others``: what else changed, by id."""
    return System(
        installation_id=around.installation_id,
        org_id=person.org_id,
        id=world.new_id("uj"),
        date_performed=to_iso(world.now()),
        entity_ids=(person.user_id, *(entity for each in stored for entity in each.entities), *others),
        enrolled=tuple(
            Enrolled(credential_uuid=e.credential_uuid, user_id=e.user_id, kind=e.kind, fingerprint=e.fingerprint)
            for each in stored
            for e in each.enrolled
        ),
        request_id=around.request_id,
        event=event,
        user_id=person.user_id,
        username=person.username,
        details={"clientAddress": around.client_address, **details},
    )


def shown(completed: Completed) -> dict[str, Any]:
    """Members of the answer: the first credential, and whose it is."""
    person = completed.person
    return {
        "credential": RegisteredCredential(uuid=completed.credential_uuid, kind=completed.kind, name=completed.name),
        "user": RegisteredUser(id=person.user_id, username=person.username, org_id=person.org_id),
    }
