"""Codes that people are mailed when they log in with a protected key, or recover: one a person and purpose, once.

Each is good for an hour, as long as the limit on sending counts: whoever keeps asking for somebody never takes away
the newest code that was sent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from countersign.access import codes
from countersign.access.keyring import KeyRing
from countersign.identity import credential_store, mail
from countersign.identity import mailed_code_store as store
from countersign.storage import Transaction
from countersign.world import World

Purpose = Literal["login", "recovery"]

LIFE_MS = 3_600_000
#: How many codes an hour are sent to one person and purpose.
SENT_AN_HOUR = 5


@dataclass(frozen=True, slots=True)
class _Terms:
    """``credential_kind``: what a person needs to be sent such a code; ``write``: what it is sent in."""

    credential_kind: str
    letter_kind: mail.Kind
    write: Callable[[str, str, str, int], mail.Letter]


_TERMS: dict[Purpose, _Terms] = {
    "login": _Terms("PasswordProtectedKey", "LoginCode", mail.login_code),
    "recovery": _Terms("RecoveryKey", "RecoveryCode", mail.recovery_code),
}


@dataclass(frozen=True, slots=True)
class Stored:
    """What is stored of a person's code, if any. ``expires_at`` in milliseconds."""

    hash: str | None
    user_epoch: int | None
    expires_at: int | None

    def is_good(self, ring: KeyRing, purpose: Purpose, user_id: str, user_epoch: int, typed: str, now: int) -> bool:
        """Whether a typed code is this one and has not ended; ``user_epoch``: as it is now."""
        same = codes.matches(ring, _purpose(purpose, user_id), self.hash, typed)
        return same and self.user_epoch == user_epoch and self.expires_at is not None and now < self.expires_at


#: Of nobody, to compare with all the same.
NONE = Stored(None, None, None)


def send(purpose: Purpose, ring: KeyRing, org_id: str, key: str, code: str, world: World) -> Transaction[bool]:
    """Replace the code of a registered employee who has the credential for it; false where there is nobody to send to.

    Beyond five an hour the newest code stays as it is, while it is good.
    """
    terms = _TERMS[purpose]
    rows = yield store.FIND_HOLDER, (org_id, key, terms.credential_kind)
    if not rows:
        return False
    user_id, username, kind, epoch, organisation = rows[0]
    # Only an employee's name is a mail address.
    if kind != "CustomerEmployee":
        return False
    yield credential_store.LOCK_USER, (org_id, user_id)
    now = world.now()
    sent = yield from mail.sent_within_an_hour(org_id, user_id, terms.letter_kind, now)
    # One that was used up was used by who reads the mail, perhaps for an answer that was lost.
    if sent >= SENT_AN_HOUR and (yield store.IS_LIVE, (org_id, user_id, purpose, now)):
        return False
    expires_at, hashed = now + LIFE_MS, codes.code_hash(ring, _purpose(purpose, user_id), code)
    yield store.PUT_CODE, (org_id, user_id, purpose, hashed, epoch, now, expires_at)
    letter = terms.write(organisation, org_id, username, expires_at)
    yield from mail.put(ring, org_id, user_id, username.strip(), letter, code, world)
    return True


def take(org_id: str, user_id: str, purpose: Purpose, stored: str) -> Transaction[bool]:
    """Use the code with this hash up; false when it was used or replaced meanwhile."""
    return bool((yield store.TAKE_CODE, (org_id, user_id, purpose, stored)))


def forget(now_ms: int) -> Transaction[None]:
    """Drop codes that have ended."""
    yield store.FORGET_CODES, (now_ms,)


def _purpose(purpose: Purpose, user_id: str) -> str:
    return f"{purpose}|{user_id}"
