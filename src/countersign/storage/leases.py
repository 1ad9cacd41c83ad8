"""Leases: one process at a time does a piece of background work, and a late one cannot do harm.

A lease is held until it expires, is renewed or released. Its ``fence`` grows with every holder.
Work under a lease begins its own transaction with ``renew`` and stops if that answers False: the row
stays locked to the end of the transaction, so that nobody can take over in between.
"""

from __future__ import annotations

from dataclasses import dataclass

from countersign.storage.transaction import Statement, Transaction

SKEW_MS = 600_000
"""How far the clocks of two processes may be apart. What ends later than that allows was taken under a clock that was
wrong, and is nobody's: it would otherwise hold everybody off until that time has come."""

# An expired row is taken over in the same statement; a row is never deleted, or its fence would start anew.
ACQUIRE = Statement(
    "leases.acquire",
    "INSERT INTO leases (name, owner, fence, expires_at) VALUES (?, ?, 1, ?)"
    " ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, fence = leases.fence + 1,"
    " expires_at = excluded.expires_at WHERE leases.expires_at <= ? OR leases.expires_at > ? RETURNING fence",
)
RENEW = Statement(
    "leases.renew",
    "UPDATE leases SET expires_at = ? WHERE name = ? AND owner = ? AND fence = ? AND expires_at > ? RETURNING fence",
)
RELEASE = Statement(
    "leases.release",
    "UPDATE leases SET expires_at = 0 WHERE name = ? AND owner = ? AND fence = ?",
)


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease as one holder had it; ``owner`` is unique to the process."""

    name: str
    owner: str
    fence: int


def acquire(name: str, owner: str, now: int, duration_ms: int) -> Transaction[Lease | None]:
    """Take the lease if it is free or expired; None if another holds it. ``now`` in ms since the epoch."""
    rows = yield ACQUIRE, (name, owner, now + duration_ms, now, now + duration_ms + SKEW_MS)
    return Lease(name, owner, rows[0][0]) if rows else None


def renew(lease: Lease, now: int, duration_ms: int) -> Transaction[bool]:
    """Hold it longer. False if it expired or was taken over: stop, and acquire it anew."""
    rows = yield RENEW, (now + duration_ms, lease.name, lease.owner, lease.fence, now)
    return bool(rows)


def release(lease: Lease) -> Transaction[None]:
    """Let others have it at once; does nothing if it was taken over."""
    yield RELEASE, (lease.name, lease.owner, lease.fence)
