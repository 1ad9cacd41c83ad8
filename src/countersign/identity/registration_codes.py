"""Codes by which a person who was invited registers a first credential.

A code is good for its one person, for four hours, until a newer one takes its place, and only while the person's
state does not change.
"""

from __future__ import annotations

from countersign.access import codes
from countersign.access.keyring import KeyRing
from countersign.identity import administration_store, registration_store
from countersign.storage import Transaction

LIFE_MS = 4 * 3_600_000


def matches(ring: KeyRing, user_id: str, stored: str | None, typed: str) -> bool:
    """Whether what was typed is the code whose hash is stored of this person; in constant time."""
    return codes.matches(ring, _purpose(user_id), stored, typed)


def put(ring: KeyRing, code: str, org_id: str, user_id: str, user_epoch: int, now_ms: int) -> Transaction[int]:
    """Store a person's code in the place of the one before; gives when it ends, in milliseconds.

    A challenge that was given for the one before is void as well.
    """
    hashed, expires_at = codes.code_hash(ring, _purpose(user_id), code), now_ms + LIFE_MS
    row = (org_id, user_id, hashed, user_epoch, now_ms, expires_at)
    yield administration_store.PUT_REGISTRATION_CODE, row
    yield registration_store.END, (org_id, user_id)
    return expires_at


def put_first(
    ring: KeyRing, code: str, org_id: str, user_id: str, user_epoch: int, now_ms: int
) -> Transaction[int | None]:
    """Store the code of a new person; gives when it ends, ``None`` where the person has one already."""
    hashed, expires_at = codes.code_hash(ring, _purpose(user_id), code), now_ms + LIFE_MS
    row = (org_id, user_id, hashed, user_epoch, now_ms, expires_at)
    return expires_at if (yield registration_store.INSERT_CODE, row) else None


def _purpose(user_id: str) -> str:
    # Looked up by the person, not by the code: the same code of two people has two hashes.
    return f"registration|{user_id}"
