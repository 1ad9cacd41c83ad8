"""Codes by which a person adds a credential from a device that has none yet."""

from __future__ import annotations

from dataclasses import dataclass

from countersign.access import codes
from countersign.access.keyring import KeyRing
from countersign.api import Effect
from countersign.audit import queries
from countersign.audit.entry import Action
from countersign.credentials.outcome import Refused
from countersign.encoding import dates
from countersign.identity import credential_store as store
from countersign.storage import Transaction
from countersign.world import World

PURPOSE = "credential"
MAX_LIFE_MS = 60_000
#: From here on a number is a time in milliseconds: in seconds it would be the year 5138.
_MILLISECONDS_FROM = 10**11


def new_code(world: World) -> str:
    """``XXX-XXX-XXX``: 45 random bits, for a minute."""
    return codes.new_code(world, 3, 3)


def read_expiration(value: str | int, now_ms: int) -> int | Refused:
    """When a code ends, in milliseconds: an ISO 8601 time, or Unix time in seconds or milliseconds."""
    if isinstance(value, str):
        try:
            expires = dates.from_iso(value)
        except ValueError:
            return Refused("expected an ISO 8601 time or a Unix time")
    else:
        expires = value if value > _MILLISECONDS_FROM else value * 1000
    if not now_ms < expires <= now_ms + MAX_LIFE_MS:
        return Refused("must lie in the future, at most 60 seconds ahead")
    return expires


def put(
    ring: KeyRing, code: str, org_id: str, user_id: str, action_id: str, expires_at: int
) -> Transaction[Effect[None]]:
    """Store a user's code in the place of the one before."""
    hashed = codes.code_hash(ring, PURPOSE, code)
    epoch = (yield store.READ_CODE_USER, (org_id, user_id))[0][2]
    yield store.PUT_CODE, (hashed, org_id, user_id, epoch, action_id, expires_at)
    return Effect(None)


@dataclass(frozen=True, slots=True)
class CodeOwner:
    """Whose code was taken; ``action_id`` is the user action that made it."""

    org_id: str
    user_id: str
    username: str
    user_epoch: int
    org_epoch: int
    action_id: str


def take(ring: KeyRing, typed: str, now_ms: int) -> Transaction[CodeOwner | None]:
    """Use a code up; ``None`` for a wrong or expired one, and for that of a user who changed state since."""
    rows = yield store.TAKE_CODE, (*codes.code_hashes(ring, PURPOSE, typed), now_ms)
    if not rows:
        return None
    org_id, user_id, user_epoch, action_id = rows[0]
    (row,) = yield store.READ_CODE_USER, (org_id, user_id)
    username, state, epoch, org_active, org_epoch = row
    if state != "Active" or not org_active or epoch != user_epoch:
        return None
    return CodeOwner(org_id, user_id, username, epoch, org_epoch, action_id)


def refuse_signer(org_id: str, action_id: str) -> Transaction[Refused | None]:
    """Why what was begun with a code ends: every credential that signed the action which made it must still be active.

    To be asked while the user is locked. Whoever held a stolen credential could otherwise wait for its owner to end it,
    and then enrol another.
    """
    found = yield from queries.get_entry(org_id, action_id)
    if found is None or not isinstance(found.entry, Action):
        return Refused("the action that made the code is not in the log")
    second = found.entry.second_factor
    for signer in (found.entry.credential, *(() if second is None else (second.credential,))):
        rows = yield store.READ_STATE, (org_id, signer.uuid)
        if not rows or rows[0][0] != "Active":
            return Refused("the credential that made the code is not active any more")
    return None


def forget(now_ms: int) -> Transaction[None]:
    """Drop codes that have ended."""
    yield store.FORGET_CODES, (now_ms,)
