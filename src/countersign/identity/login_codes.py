"""Codes that a person is mailed at a login, to be handed the own encrypted private key: for ten minutes, once."""

from __future__ import annotations

import hmac

from countersign.access import codes
from countersign.access.keyring import KeyRing
from countersign.identity import credential_store, mail
from countersign.identity import login_store as store
from countersign.storage import Transaction
from countersign.world import World

LIFE_MS = 10 * 60_000
#: How many codes an hour are sent to one person.
SENT_AN_HOUR = 5


def new_code(world: World) -> str:
    """``XXXX-XXXX-XXXX-XXXX``: 80 random bits."""
    return codes.new_code(world, 4, 4)


def matches(ring: KeyRing, user_id: str, stored: str, typed: str) -> bool:
    """Whether what was typed is the code whose hash is stored of this person; in constant time."""
    newest, older = codes.code_hashes(ring, _purpose(user_id), typed)
    of_newest, of_older = hmac.compare_digest(stored, newest), hmac.compare_digest(stored, older)
    return of_newest or of_older


def send(ring: KeyRing, org_id: str, key: str, code: str, world: World) -> Transaction[bool]:
    """Replace the code of a person with a password-protected key, and send the new one; false where there is none.

    Beyond five an hour the newest code stays as it is: whoever keeps asking shuts nobody out.
    """
    rows = yield store.FIND_PROTECTED, (org_id, key)
    if not rows:
        return False
    user_id, username, kind, epoch, organisation = rows[0]
    # Only an employee's name is a mail address.
    if kind != "CustomerEmployee":
        return False
    yield credential_store.LOCK_USER, (org_id, user_id)
    now = world.now()
    if (yield from mail.sent_within_an_hour(org_id, user_id, "LoginCode", now)) >= SENT_AN_HOUR:
        return False
    expires_at = now + LIFE_MS
    yield store.PUT_CODE, (org_id, user_id, codes.code_hash(ring, _purpose(user_id), code), epoch, now, expires_at)
    letter = mail.login_code(organisation, org_id, username, expires_at)
    yield from mail.put(ring, org_id, user_id, username.strip(), letter, code, world)
    return True


def take(org_id: str, user_id: str, stored: str) -> Transaction[bool]:
    """Use the code with this hash up; false when it was used or replaced meanwhile."""
    return bool((yield store.TAKE_CODE, (org_id, user_id, stored)))


def forget(now_ms: int) -> Transaction[None]:
    """Drop codes that have ended."""
    yield store.FORGET_CODES, (now_ms,)


def _purpose(user_id: str) -> str:
    return f"login|{user_id}"
