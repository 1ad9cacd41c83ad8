"""Recovery: who may, by which recovery key, and the one transaction in which new credentials replace everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from countersign import permissions
from countersign.access import temporary_tokens
from countersign.access.keyring import KeyRing
from countersign.access.temporary_tokens import TemporaryToken
from countersign.api import ApiError, not_found
from countersign.audit.log import append
from countersign.credentials import public_key
from countersign.credentials.key_assertion import CredentialAssertion, KeyAssertion, lookup_key
from countersign.credentials.outcome import Refused
from countersign.credentials.public_key import PublicKey
from countersign.credentials.recovery import verify_recovery
from countersign.encoding.dates import to_iso
from countersign.identity import credential_store, mail, mailed_codes, new_credentials, renewal
from countersign.identity import recovery_store as store
from countersign.identity.credentials import NewCredential
from countersign.identity.mailed_codes import Stored
from countersign.identity.new_credentials import Circumstances, Completed
from countersign.identity.usernames import username_key
from countersign.keystores import outgoing
from countersign.storage import Row, Statement, Transaction
from countersign.world import World

_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class RecoveryKey:
    """A recovery key; ``public_key`` is SPKI PEM."""

    credential_uuid: str
    credential_id: str
    public_key: str
    encrypted_private_key: str | None
    state: str


@dataclass(frozen=True, slots=True)
class Person:
    """A person as recovery sees them, with the code that they were mailed; ``key``: the one that was asked for."""

    org_id: str
    user_id: str
    username: str
    kind: str
    registration: str
    state: str
    is_registered: bool
    epoch: int
    org_active: bool
    org_epoch: int
    organisation: str
    code: Stored
    key: RecoveryKey | None


@dataclass(frozen=True, slots=True)
class Holds:
    """Hours for which who recovered changes nothing: anybody, and an administrator for whom a program asked."""

    anybody: int
    delegated_administrator: int


def find(org_id: str, key: str, credential_id: str) -> Transaction[Person | None]:
    """The person with this username key, with the active recovery key of this id, if they have it."""
    return (yield from _read(store.FIND_PERSON, lookup_key(credential_id), org_id, key))


def named(token: TemporaryToken) -> Transaction[Person | None]:
    """Whom a recovery was begun for, with the recovery key that was named then, whatever its state is now."""
    metadata = token.metadata
    return (yield from _read(store.READ_PERSON, metadata.recovery_uuid or "", metadata.org_id, metadata.user_id))


def _read(statement: Statement, which: str, org_id: str, who: str) -> Transaction[Person | None]:
    rows = yield statement, (which, org_id, who)
    return _person(org_id, rows[0]) if rows else None


def _person(org_id: str, row: Row) -> Person:
    user_id, username, kind, registration, state, is_registered, epoch, org_active, org_epoch, name, *rest = row
    key = None if rest[3] is None else RecoveryKey(*rest[3:])
    flags = (state, bool(is_registered), epoch, bool(org_active), org_epoch, name)
    return Person(org_id, user_id, username, kind, registration, *flags, Stored(*rest[:3]), key)


def code_is_good(ring: KeyRing, person: Person | None, typed: str, now: int) -> bool:
    """Whether a typed code lets the person recover by the named key. As much work for those who do not exist."""
    if person is None:
        return mailed_codes.NONE.is_good(ring, "recovery", "", 0, typed, now)
    good = person.code.is_good(ring, "recovery", person.user_id, person.epoch, typed, now)
    return good and person.key is not None and person.state == "Active" and person.org_active and person.is_registered


def delegate(org_id: str, username: str, credential_id: str) -> Transaction[tuple[Person, RecoveryKey]]:
    """Whom a service account begins a recovery for: an end user, or an employee whom a service account registered.

    404 for an unknown user or recovery key, 403 for other employees, 400 ``USER_DEACTIVATED``.
    """
    key = username_key(username)
    person = None if key is None else (yield from find(org_id, key, credential_id))
    if person is None or person.state == "Archived":
        raise not_found("user")
    if person.kind != "EndUser" and person.registration != "Delegated":
        raise ApiError("FORBIDDEN", "An employee who registers by code recovers by code.")
    if person.state != "Active":
        raise ApiError("USER_DEACTIVATED")
    if not person.is_registered or person.key is None:
        raise not_found("credential")
    return person, person.key


def prove(person: Person | None, assertion: CredentialAssertion, signed: dict[str, object]) -> Person | Refused:
    """Check that the recovery key which was named consents to these new credentials (JSON).

    401 ``NOT_RECOVERY_FACTOR`` for another key.
    """
    key = None if person is None else person.key
    if person is None or key is None or lookup_key(assertion.cred_id) != lookup_key(key.credential_id):
        raise ApiError("NOT_RECOVERY_FACTOR")
    loaded = public_key.load(key.public_key)
    assert isinstance(loaded, PublicKey)
    proven = verify_recovery(KeyAssertion("RecoveryKey", assertion), loaded, signed)
    return proven if isinstance(proven, Refused) else person


def complete(
    ring: KeyRing,
    token: TemporaryToken,
    new: Sequence[NewCredential],
    assertion: CredentialAssertion,
    holds: Holds,
    around: Circumstances,
    world: World,
) -> Transaction[Completed]:
    """Everything in one transaction: the old archived, the new stored, challenge used up, audit entry, notice, hold.

    A repeat, of which the answer was lost, is answered as the first time and changes nothing. 400
    ``CHALLENGE_INVALID`` for a challenge that counts no longer, 401 ``NOT_RECOVERY_FACTOR`` for a recovery key that
    was ended meanwhile, 400 ``ATTESTATION_INVALID`` for a credential that exists already.
    """
    org_id, user_id, now = token.metadata.org_id, token.metadata.user_id, world.now()
    yield credential_store.LOCK_USER, (org_id, user_id)
    person = yield from named(token)
    if person is None or person.key is None:
        raise ApiError("CHALLENGE_INVALID", reason="the user is gone")
    refusal = yield from temporary_tokens.spend(token, now)
    if refusal is not None:
        done = yield from _done(person, new)
        if done is None:
            raise ApiError("CHALLENGE_INVALID", reason=refusal.reason)
        return done
    if person.key.state != "Active":
        raise ApiError("NOT_RECOVERY_FACTOR", reason="ended meanwhile")
    hours = holds.anybody
    if token.metadata.action_id is not None and (yield from permissions.governs(org_id, user_id)):
        hours = max(hours, holds.delegated_administrator)
    ended = yield from renewal.end_everything(org_id, user_id, now + hours * _HOUR_MS if hours else 0)
    if ended is None:
        raise ApiError("CHALLENGE_INVALID", reason="the user is not active")
    stored = yield from new_credentials.store(org_id, user_id, new, world)
    details = {"recoveryKey": person.key.credential_uuid, **_evidence(assertion, person.key)}
    held_until = ended.held_until if ended.held_until > now else None
    if held_until is not None:
        details["heldUntil"] = to_iso(held_until)
    if token.metadata.action_id is not None:
        details["actionId"] = token.metadata.action_id
    yield from append(new_credentials.entry("Recovered", person, stored, ended.ids, details, around, world), None)
    made = tuple(each.value for each in stored)
    uuids = [each.credential_uuid for each in made]
    yield from outgoing.recover(org_id, person.key.credential_uuid, assertion, uuids, world)
    if person.kind == "CustomerEmployee":
        letter = mail.recovered(person.organisation, org_id, person.username, made[0].public_key, now, held_until)
        yield from mail.put(ring, org_id, user_id, person.username.strip(), letter, None, world)
    return Completed.of(person, made)


def _done(person: Person, new: Sequence[NewCredential]) -> Transaction[Completed | None]:
    """What a recovery came to that was completed with these very credentials: they answer its challenge, and no other.

    So that they are there says that it was this one.
    """
    found = []
    for each in new:
        key = (person.org_id, person.user_id, lookup_key(each.credential_id), each.public_key.fingerprint)
        rows = yield store.FIND_OWN, key
        if not rows:
            return None
        found.append(tuple(rows[0]))
    return Completed(person, *found[0])


def _evidence(assertion: CredentialAssertion, key: RecoveryKey) -> dict[str, str]:
    """For the audit log: who has the log alone can check that the recovery key consented."""
    algorithm = {} if assertion.algorithm is None else {"algorithm": assertion.algorithm}
    return {
        "publicKey": key.public_key,
        "clientData": assertion.client_data,
        "signature": assertion.signature,
        **algorithm,
    }
