"""Registration: what callers can do."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from countersign.access.keyring import KeyRing
from countersign.access.temporary_tokens import TemporaryToken
from countersign.api import UNSET, ApiError, Call, Effect, operation
from countersign.identity import new_credentials, registration, sessions, users
from countersign.identity.credential_types import Message
from countersign.identity.credentials import NewCredential
from countersign.identity.entrance import (
    Entrance,
    check_code,
    count_code_try,
    mail_code,
    named_organisation,
    named_user,
)
from countersign.identity.new_credentials import Completed
from countersign.identity.registration import Person
from countersign.identity.registration_types import (
    Authentication,
    CreateRegistrationChallenge,
    DelegateRegistration,
    EndUserRegistration,
    NewCredentials,
    NewEndUser,
    Registration,
    RegistrationChallenge,
    UserLookup,
)
from countersign.keystores.outgoing import RosterKeeper
from countersign.storage import Transaction


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
    return await new_credentials.challenge(call, RegistrationChallenge, "registration", invited, token_id)


@operation("POST", "/auth/registration", public=True)
async def register(call: Call, body: NewCredentials) -> Registration:
    """Register with the credentials that signed the challenge; its `temporaryAuthenticationToken` is the bearer.

    The first credential signs requests and logs in from then on. Who is registered already, perhaps by an attempt
    whose answer was lost, is told so (401 `USER_EXISTS`) and logs in.
    """
    token = await new_credentials.bearer(call, "registration")
    new = await new_credentials.prove(call, body, token)
    completed = await call.write(lambda: _complete(call, token, new))
    await call.service(RosterKeeper).deliver()
    return Registration(**new_credentials.shown(completed))


@operation("POST", "/auth/registration/enduser", public=True)
async def register_end_user(call: Call, body: NewEndUser) -> EndUserRegistration:
    """The same for end users, who get a session at once.

    Wallets are not offered yet: with one in the list nothing is done (400 `WALLETS_NOT_OFFERED`).
    """
    if body.wallets:
        raise ApiError("WALLETS_NOT_OFFERED")
    token = await new_credentials.bearer(call, "registration")
    new = await new_credentials.prove(call, body, token)
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
            credential_uuid=completed.credential_uuid,
        )
        return completed, text

    completed, session = await call.write(work)
    await call.service(RosterKeeper).deliver()
    return EndUserRegistration(
        **new_credentials.shown(completed), authentication=Authentication(token=session), wallets=[]
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
    return await new_credentials.challenge(
        call, RegistrationChallenge, "registration", person, token_id, action_id=call.action_id
    )


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
    return await new_credentials.challenge(
        call, RegistrationChallenge, "registration", person, token_id, action_id=call.action_id
    )


def _effect(work: Transaction[Person]) -> Transaction[Effect[Person]]:
    person = yield from work
    return Effect(person, (person.user_id,))


def _complete(call: Call, token: TemporaryToken, new: Sequence[NewCredential]) -> Transaction[Completed]:
    around = new_credentials.circumstances(call)
    return registration.complete(call.service(KeyRing), token, new, around, call.world)
