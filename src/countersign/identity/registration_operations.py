"""Registration: what callers can do."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from countersign.access import temporary_tokens
from countersign.access.keyring import KeyRing
from countersign.access.relying_parties import list_parties
from countersign.access.temporary_tokens import TemporaryMetadata, TemporaryToken
from countersign.api import UNSET, ApiError, Call, Effect, operation
from countersign.credentials.outcome import Refused
from countersign.identity import credentials, registration, sessions, users
from countersign.identity.credential_operations import ALGORITHMS, Enrolment
from countersign.identity.credential_types import ChallengedUser, Message, PubKeyCredParam
from countersign.identity.credentials import CredentialKind, NewCredential, Submission
from countersign.identity.entrance import (
    Entrance,
    check_code,
    count_code_try,
    default_party,
    mail_code,
    named_organisation,
    named_user,
)
from countersign.identity.registration import Completed, Person
from countersign.identity.registration_types import (
    Authentication,
    CreateRegistrationChallenge,
    DelegateRegistration,
    EndUserRegistration,
    Fido2Factor,
    KeyFactor,
    NewCredentials,
    NewEndUser,
    PasswordFactor,
    PasswordProtectedKeyFactor,
    RecoveryFactor,
    RegisteredCredential,
    RegisteredUser,
    Registration,
    RegistrationChallenge,
    TotpFactor,
    UserLookup,
)
from countersign.keystores.outgoing import RosterKeeper
from countersign.storage import Transaction

_AnyFactor = Fido2Factor | KeyFactor | PasswordProtectedKeyFactor | RecoveryFactor | PasswordFactor | TotpFactor


@operation("PUT", "/auth/registration/code", public=True)
async def resend_registration_code(call: Call, body: UserLookup) -> Message:
    """Have a new registration code sent to a user who is not registered yet; the one before is void.

    The answer is the same for every username. At most five an hour are sent to one user.
    """
    return await mail_code(call, body, registration.send_again)


@operation("POST", "/auth/registration/init", public=True)
async def create_registration_challenge(call: Call, body: CreateRegistrationChallenge) -> RegistrationChallenge:
    """Trade a registration code for a challenge that the new credentials sign.

    The code is used up by the registration itself: ask again if the answer was lost. The challenges before are void
    then.
    """
    ring, world = call.service(KeyRing), call.world
    count_code_try(call)
    org_id = await named_organisation(call, body.org_id)
    key = named_user(call, org_id, body.username)
    person = await call.read(lambda: registration.find(org_id, key))
    verdict = registration.judge_code(ring, person, body.registration_code, world.now())
    stored = None if person is None else person.code_hash
    check_code(call, stored, f"registration {org_id} {key}", good=verdict != "wrong")
    assert person is not None
    if verdict == "expired":
        raise ApiError("REGISTRATION_CODE_EXPIRED")
    invited, token_id = person, world.new_id("uj")
    if not await call.write(lambda: registration.begin_with_code(invited, token_id)):
        raise ApiError("INVALID_CODE", reason="replaced meanwhile")
    return await _challenge(call, invited, token_id)


@operation("POST", "/auth/registration", public=True)
async def register(call: Call, body: NewCredentials) -> Registration:
    """Register with the credentials that signed the challenge; its `temporaryAuthenticationToken` is the bearer.

    The first credential signs requests and logs in from then on. Who is registered already, perhaps by an attempt
    whose answer was lost, is told so (401 `USER_EXISTS`) and logs in.
    """
    token = await _token(call)
    new = await _prove(call, body, token)
    completed = await call.write(lambda: _complete(call, token, new))
    await call.service(RosterKeeper).deliver()
    return Registration(credential=_first(completed), user=_user(completed))


@operation("POST", "/auth/registration/enduser", public=True)
async def register_end_user(call: Call, body: NewEndUser) -> EndUserRegistration:
    """The same for end users, who get a session at once.

    Wallets are not offered yet: with one in the list nothing is done (400 `WALLETS_NOT_OFFERED`).
    """
    if body.wallets:
        raise ApiError("WALLETS_NOT_OFFERED")
    token = await _token(call)
    new = await _prove(call, body, token)
    entrance, ring = call.service(Entrance), call.service(KeyRing)

    def work() -> Transaction[tuple[Completed, str]]:
        completed = yield from _complete(call, token, new)
        person = completed.person
        if person.kind != "EndUser":
            raise ApiError("CALLER_KIND_REFUSED")
        _, text = yield from sessions.open_session(
            ring,
            person.org_id,
            person.user_id,
            person.username,
            entrance.session_seconds,
            call.world,
            name="registration",
            credential_uuid=completed.credentials[0].credential_uuid,
        )
        return completed, text

    completed, session = await call.write(work)
    await call.service(RosterKeeper).deliver()
    return EndUserRegistration(
        credential=_first(completed), user=_user(completed), authentication=Authentication(token=session), wallets=[]
    )


@operation(
    "POST",
    "/auth/registration/delegated",
    permission="Auth:Delegated:Register",
    signed=True,
    callers=("ServiceAccount",),
)
async def create_delegated_registration_challenge(call: Call, body: DelegateRegistration) -> RegistrationChallenge:
    """Begin the registration of a user whom the service account vouches for; the user is created if missing.

    Hand the answer to the user's device, which completes it. Repeated, it gives a fresh challenge, and the one before
    is void.
    """
    new = users.NewUser(
        username=body.email,
        kind=body.kind,
        registration="Delegated",
        is_sso_required=False,
        external_id=None if body.external_id is UNSET else body.external_id,
        payload_hash=hashlib.sha256(call.request.canonical_body).hexdigest(),
    )
    users.key_of(new.username, new.kind)
    token_id = call.world.new_id("uj")
    person = await call.commit(lambda: _effect(registration.delegate(call.org_id, new, token_id, call.world)))
    return await _challenge(call, person, token_id, action_id=call.action_id)


@operation(
    "POST",
    "/auth/registration/delegated/restart",
    permission="Auth:Delegated:Register",
    signed=True,
    callers=("ServiceAccount",),
)
async def restart_delegated_registration(call: Call, body: DelegateRegistration) -> RegistrationChallenge:
    """Begin the registration of such a user anew; 404 for one who does not exist."""
    token_id = call.world.new_id("uj")
    person = await call.commit(lambda: _effect(registration.restart(call.org_id, body.email, body.kind, token_id)))
    return await _challenge(call, person, token_id, action_id=call.action_id)


def _effect(work: Transaction[Person]) -> Transaction[Effect[Person]]:
    person = yield from work
    return Effect(person, (person.user_id,))


async def _challenge(
    call: Call, person: Person, token_id: str, *, action_id: str | None = None
) -> RegistrationChallenge:
    enrolment = call.service(Enrolment)
    party = await call.read(lambda: default_party(person.org_id))
    metadata = TemporaryMetadata(
        user_id=person.user_id,
        org_id=person.org_id,
        token_kind="Temp",
        purpose="registration",
        challenge=temporary_tokens.new_challenge(call.world),
        user_epoch=person.epoch,
        org_epoch=person.org_epoch,
        action_id=action_id,
    )
    token = temporary_tokens.issue(
        enrolment.ring, metadata, person.username, enrolment.challenge_seconds, call.world, token_id=token_id
    )
    return RegistrationChallenge(
        user=ChallengedUser(id=person.user_id, name=person.username, display_name=person.username),
        temporary_authentication_token=token,
        challenge=metadata.challenge,
        rp=UNSET if party is None else party,
        attestation="none" if enrolment.policy is None else "direct",
        pub_key_cred_params=[PubKeyCredParam(alg=algorithm) for algorithm in ALGORITHMS],
        exclude_credentials=[],
    )


async def _token(call: Call) -> TemporaryToken:
    text = temporary_tokens.presented(call.request.headers)
    if text is None:
        raise ApiError("UNAUTHENTICATED", reason="no temporary token")
    token = await temporary_tokens.read(call.service(KeyRing), text, "registration", call.world)
    if isinstance(token, Refused):
        raise ApiError("UNAUTHENTICATED", reason=token.reason)
    return token


async def _prove(call: Call, body: NewCredentials, token: TemporaryToken) -> Sequence[NewCredential]:
    factors = (body.first_factor_credential, body.second_factor_credential, body.recovery_credential)
    submissions = [_submission(factor) for factor in factors if factor is not UNSET]
    passkeys = any(each.kind == "Fido2" for each in submissions)
    parties = await call.read(lambda: list_parties(token.metadata.org_id)) if passkeys else ()
    new: list[NewCredential] = []
    for each in submissions:
        proved = credentials.prove(each, token.metadata.challenge, parties, call.service(Enrolment).policy)
        if isinstance(proved, Refused):
            raise credentials.refusal_error(proved)
        new.append(proved)
    twins = registration.refuse_twins(new)
    if twins is not None:
        raise credentials.refusal_error(twins)
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


def _complete(call: Call, token: TemporaryToken, new: Sequence[NewCredential]) -> Transaction[Completed]:
    details = {"clientAddress": call.request.client_address}
    installation_id = call.service(Entrance).installation_id
    request_id = call.request.request_id
    return registration.complete(call.service(KeyRing), token, new, installation_id, details, request_id, call.world)


def _first(completed: Completed) -> RegisteredCredential:
    first = completed.credentials[0]
    return RegisteredCredential(uuid=first.credential_uuid, kind=first.kind, name=first.name)


def _user(completed: Completed) -> RegisteredUser:
    person = completed.person
    return RegisteredUser(id=person.user_id, username=person.username, org_id=person.org_id)
