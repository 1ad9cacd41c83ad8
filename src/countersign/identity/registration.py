"""Registration: who may register, and the one transaction in which a person gets the first credentials.

A challenge may be asked for again as often as its answer is lost; the last one counts. What completes it changes the
person's state, so that it happens once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from countersign.access import temporary_tokens
from countersign.access.keyring import KeyRing
from countersign.access.temporary_tokens import TemporaryToken
from countersign.api import ApiError, conflict, not_found
from countersign.audit.log import append
from countersign.credentials.outcome import Refused
from countersign.identity import credential_store, mail, new_credentials, registration_codes, users
from countersign.identity import registration_store as own_store
from countersign.identity.credentials import NewCredential
from countersign.identity.new_credentials import Circumstances, Completed
from countersign.identity.user_types import User
from countersign.identity.usernames import username_key
from countersign.keystores import outgoing
from countersign.storage import Row, Statement, Transaction
from countersign.world import World

#: How often in an hour a code is sent again to one person.
RESENT_AN_HOUR = 5


@dataclass(frozen=True, slots=True)
class Person:
    """A person as registration sees them; ``code_*``: of the code that was sent, if any. Times in milliseconds."""

    org_id: str
    user_id: str
    username: str
    display_name: str
    kind: users.Kind
    registration: users.Registration
    state: str
    is_registered: bool
    epoch: int
    org_active: bool
    org_epoch: int
    organisation: str
    code_hash: str | None
    code_epoch: int | None
    code_expires_at: int | None

    @property
    def may_register(self) -> bool:
        """Active, and not registered yet."""
        return self.state == "Active" and self.org_active and not self.is_registered


def find(org_id: str, key: str) -> Transaction[Person | None]:
    """The person with this username key, ``None`` if there is none."""
    return (yield from _read(own_store.FIND_PERSON, org_id, key))


def read(org_id: str, user_id: str) -> Transaction[Person | None]:
    """The person with this id, ``None`` if there is none."""
    return (yield from _read(own_store.READ_PERSON, org_id, user_id))


def _read(statement: Statement, org_id: str, name: str) -> Transaction[Person | None]:
    rows = yield statement, (org_id, name)
    return _person(org_id, rows[0]) if rows else None


def _person(org_id: str, row: Row) -> Person:
    user_id, username, shown, kind, registration, state, is_registered, epoch, org_active, org_epoch, name, *code = row
    flags = (state, bool(is_registered), epoch, bool(org_active), org_epoch, name)
    return Person(org_id, user_id, username, shown, kind, registration, *flags, *code)


def judge_code(ring: KeyRing, person: Person | None, typed: str, now: int) -> Literal["good", "wrong", "expired"]:
    """Whether a typed code lets the person register. The same work is done for those who do not exist."""
    user_id, stored = ("", None) if person is None else (person.user_id, person.code_hash)
    same = registration_codes.matches(ring, user_id, stored, typed)
    if not same or person is None or not person.may_register or person.code_epoch != person.epoch:
        return "wrong"
    return "good" if person.code_expires_at is not None and now < person.code_expires_at else "expired"


def begin_with_code(person: Person, challenge_id: str) -> Transaction[bool]:
    """Make this the person's challenge in the place of the one before; false when the code was replaced meanwhile."""
    # Whoever sends another code meanwhile voids this challenge too.
    yield credential_store.LOCK_USER, (person.org_id, person.user_id)
    row = (challenge_id, person.org_id, person.user_id, person.code_hash)
    return bool((yield own_store.BEGIN_WITH_CODE, row))


def invite(ring: KeyRing, made: User, registration: users.Registration, code: str, world: World) -> Transaction[None]:
    """Send a new employee the first code, unless a service account registers them or they were sent one before."""
    if made.kind != "CustomerEmployee" or registration != "Direct" or made.is_registered or not made.is_active:
        return
    org_id, user_id = made.org_id, made.user_id
    expires_at = yield from registration_codes.put_first(ring, code, org_id, user_id, 0, world.now())
    if expires_at is None:
        return
    organisation = yield from mail.organisation_name(org_id)
    letter = mail.registration_code(organisation, org_id, made.username, expires_at, first=True)
    yield from mail.put(ring, org_id, user_id, made.username.strip(), letter, code, world)


def send_again(ring: KeyRing, org_id: str, key: str, code: str, world: World) -> Transaction[bool]:
    """Replace the code of who registers by code, and send the new one; false where there is nothing to send.

    Beyond five times an hour the newest code stays as it is: whoever keeps asking shuts nobody out.
    """
    found = yield from find(org_id, key)
    if found is None:
        return False
    yield credential_store.LOCK_USER, (org_id, found.user_id)
    person = (yield from read(org_id, found.user_id)) or found
    if not person.may_register or person.registration != "Direct" or person.kind != "CustomerEmployee":
        return False
    now = world.now()
    if (yield from mail.sent_within_an_hour(org_id, person.user_id, "RegistrationCode", now)) >= RESENT_AN_HOUR:
        return False
    expires_at = yield from registration_codes.put(ring, code, org_id, person.user_id, person.epoch, now)
    letter = mail.registration_code(person.organisation, org_id, person.username, expires_at, first=False)
    yield from mail.put(ring, org_id, person.user_id, person.username.strip(), letter, code, world)
    return True


def delegate(org_id: str, new: users.NewUser, challenge_id: str, world: World) -> Transaction[Person]:
    """Make this the challenge of a person whom a service account registers, who is created if missing.

    401 ``USER_EXISTS`` for one who is registered, 403 for an employee who registers by code, 409 for one of another
    kind or archived, 400 ``USER_DEACTIVATED``.
    """
    key = users.key_of(new.username, new.kind)
    found = yield from find(org_id, key)
    if found is None:
        made = yield from users.create(org_id, new, world)
        found = yield from read(org_id, made.value.user_id)
        assert found is not None
    return (yield from _begin_delegated(found, new.kind, challenge_id))


def restart(org_id: str, username: str, kind: users.Kind, challenge_id: str) -> Transaction[Person]:
    """The same for a person who exists; 404 otherwise."""
    key = username_key(username)
    found = None if key is None else (yield from find(org_id, key))
    if found is None or found.state == "Archived":
        raise not_found("user")
    return (yield from _begin_delegated(found, kind, challenge_id))


def _begin_delegated(found: Person, kind: users.Kind, challenge_id: str) -> Transaction[Person]:
    org_id, user_id = found.org_id, found.user_id
    yield credential_store.LOCK_USER, (org_id, user_id)
    person = (yield from read(org_id, user_id)) or found
    if person.kind != kind or person.state == "Archived":
        raise conflict("Conflicting user with same username", entity_id=user_id)
    if person.registration != "Delegated":
        raise ApiError("FORBIDDEN", "The user registers by code, and by nobody else.")
    if person.is_registered:
        raise ApiError("USER_EXISTS")
    if person.state != "Active":
        raise ApiError("USER_DEACTIVATED")
    yield own_store.BEGIN, (org_id, user_id, challenge_id)
    return person


def complete(
    ring: KeyRing,
    token: TemporaryToken,
    new: Sequence[NewCredential],
    around: Circumstances,
    world: World,
) -> Transaction[Completed]:
    """Everything in one transaction: credentials, registration, code and challenge used up, audit entry, notice.

    401 ``USER_EXISTS`` for one who is registered by now, 400 ``CHALLENGE_INVALID`` for a challenge that counts no
    longer, 400 ``ATTESTATION_INVALID`` for a credential that exists already: who calls is nobody yet and is not told.
    """
    org_id, user_id = token.metadata.org_id, token.metadata.user_id
    yield credential_store.LOCK_USER, (org_id, user_id)
    person = yield from read(org_id, user_id)
    if person is None:
        raise ApiError("CHALLENGE_INVALID", reason="the user is gone")
    if person.is_registered:
        raise ApiError("USER_EXISTS")
    refusal = yield from temporary_tokens.spend(token, world.now())
    if refusal is None and not (yield own_store.END_WITH, (org_id, user_id, token.id)):
        refusal = Refused("a newer challenge or code took its place")
    if refusal is not None:
        raise ApiError("CHALLENGE_INVALID", reason=refusal.reason)
    stored = yield from new_credentials.store(org_id, user_id, new, world)
    if not (yield own_store.REGISTER, (org_id, user_id)):
        raise ApiError("CHALLENGE_INVALID", reason="the user is not active")
    yield own_store.DELETE_CODE, (org_id, user_id)
    action = {} if token.metadata.action_id is None else {"actionId": token.metadata.action_id}
    yield from append(new_credentials.entry("Registered", person, stored, (), action, around, world), None)
    for effect in stored:
        for item in effect.enrolled:
            # Nobody countersigned the key: the signer's roster has it as pending, until someone endorses it.
            yield from outgoing.enrol(org_id, item.credential_uuid, None, world)
    made = [each.value for each in stored]
    if person.kind == "CustomerEmployee":
        letter = mail.registered(person.organisation, org_id, person.username, made[0].public_key, world.now())
        yield from mail.put(ring, org_id, user_id, person.username.strip(), letter, None, world)
    return Completed.of(person, made)
