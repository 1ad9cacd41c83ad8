"""Recovery: what callers can do."""

from __future__ import annotations

from functools import partial

import structlog

from countersign.access.keyring import KeyRing
from countersign.api import ApiError, Call, Effect, operation
from countersign.credentials.outcome import Refused
from countersign.identity import mailed_codes, new_credentials, recovery
from countersign.identity.credential_types import Message
from countersign.identity.entrance import (
    Entrance,
    check_code,
    count_code_try,
    mail_code,
    named_organisation,
    named_user,
)
from countersign.identity.recovery import Holds, Person, RecoveryKey
from countersign.identity.recovery_types import (
    AllowedRecoveryCredential,
    CreateRecoveryChallenge,
    DelegatedRecovery,
    Recover,
    RecoveryChallenge,
)
from countersign.identity.registration_types import Registration, UserLookup
from countersign.keystores.outgoing import RosterKeeper
from countersign.storage import Transaction

log = structlog.get_logger("countersign.security")


@operation("POST", "/auth/recover/user/code", public=True)
async def send_recovery_code(call: Call, body: UserLookup) -> Message:
    """Have a recovery code sent to an employee with a recovery key.

    The answer is the same for every username. At most five an hour are sent to one user.
    """
    return await mail_code(call, body, partial(mailed_codes.send, "recovery"))


@operation("PUT", "/auth/recover/user/code", public=True)
async def send_recovery_code_by_put(call: Call, body: UserLookup) -> Message:
    """The same, as clients of 2024 call it."""
    return await send_recovery_code(call, body)


@operation("POST", "/auth/recover/user/init", public=True)
async def create_recovery_challenge(call: Call, body: CreateRecoveryChallenge) -> RecoveryChallenge:
    """Trade a recovery code for a challenge that the new credentials sign, and for the encrypted recovery key.

    The code is used up: ask for another if the answer was lost.
    """
    ring, world = call.service(KeyRing), call.world
    count_code_try(call)
    org_id = await named_organisation(call, body.org_id)
    key = named_user(call, org_id, body.username)
    person = await call.read(lambda: recovery.find(org_id, key, body.credential_id))
    good = recovery.code_is_good(ring, person, body.verification_code, world.now())
    stored = None if person is None else person.code.hash
    check_code(call, stored, f"recovery {org_id} {key}", good=good)
    assert person is not None
    assert person.key is not None
    assert stored is not None
    user_id, hashed = person.user_id, stored
    if not await call.write(lambda: mailed_codes.take(org_id, user_id, "recovery", hashed)):
        raise ApiError("INVALID_CODE", reason="used meanwhile")
    return await _challenge(call, person, person.key)


@operation(
    "POST",
    "/auth/recover/user/delegated",
    permission="Auth:Delegated:Recover",
    signed=True,
    callers=("ServiceAccount",),
)
async def create_delegated_recovery_challenge(call: Call, body: DelegatedRecovery) -> RecoveryChallenge:
    """Begin the recovery of an end user, or of an employee whom a service account registered.

    Hand the answer to the user's device, which completes it with the recovery key. An administrator who recovers in
    this way changes nothing for a while afterwards.
    """

    def work() -> Transaction[Effect[tuple[Person, RecoveryKey]]]:
        person, key = yield from recovery.delegate(call.org_id, body.username, body.credential_id)
        return Effect((person, key), (person.user_id, key.credential_uuid))

    person, key = await call.commit(work)
    return await _challenge(call, person, key, action_id=call.action_id)


@operation("POST", "/auth/recover/user", public=True)
async def recover(call: Call, body: Recover) -> Registration:
    """Recover with new credentials that signed the challenge, all of them signed by the recovery key.

    Its `temporaryAuthenticationToken` is the bearer. Everything that the user had ends: credentials, the recovery key
    among them, sessions, personal access tokens. Repeated as it was sent, it is answered as before.
    """
    token = await new_credentials.bearer(call, "recovery")
    entrance, assertion = call.service(Entrance), body.recovery.credential_assertion
    if entrance.wrong_answers.exhausted(token.id):
        raise ApiError("CHALLENGE_INVALID", reason="too many failed attempts")
    person = await call.read(lambda: recovery.named(token))
    proven = recovery.prove(person, assertion, call.request.body["newCredentials"])
    if isinstance(proven, Refused):
        entrance.wrong_answers.note(token.id)
        log.info("recovery failed", organisation=token.metadata.org_id, reason=proven.reason)
        raise ApiError("ASSERTION_INVALID", reason=proven.reason)
    new = await new_credentials.prove(call, body.new_credentials, token)
    holds = Holds(entrance.recovery_hold_hours, entrance.delegated_recovery_hold_hours)
    around, ring = new_credentials.circumstances(call), call.service(KeyRing)
    completed = await call.write(lambda: recovery.complete(ring, token, new, assertion, holds, around, call.world))
    await call.service(RosterKeeper).deliver()
    log.info("recovered", organisation=proven.org_id, user=proven.user_id)
    return Registration(**new_credentials.shown(completed))


async def _challenge(
    call: Call, person: Person, key: RecoveryKey, *, action_id: str | None = None
) -> RecoveryChallenge:
    allowed = AllowedRecoveryCredential(id=key.credential_id, encrypted_recovery_key=key.encrypted_private_key or "")
    return await new_credentials.challenge(
        call,
        RecoveryChallenge,
        "recovery",
        person,
        call.world.new_id("uj"),
        action_id=action_id,
        recovery_uuid=key.credential_uuid,
        allowed_recovery_credentials=[allowed],
    )
