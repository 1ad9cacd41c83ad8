"""Jobs as operators see them: listed, tried again, dropped."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from countersign.jobs import store
from countersign.storage import Row, Transaction

State = Literal["Due", "Running", "Waiting", "Dead"]

#: Dead jobs that are counted for metrics.
DEAD_COUNTED = 1000


@dataclass(frozen=True, slots=True)
class Shown:
    """A job. ``attempts`` made so far; ``reason`` of the last failure; ``due_at``: end of the lease while it runs.

    ``died_at`` is of dead ones, ``due_at`` of the others (ms).
    """

    org_id: str
    job_id: str
    kind: str
    lane: str
    payload: str
    attempts: int
    reason: str | None
    created_at: int
    state: State
    due_at: int | None
    died_at: int | None


@dataclass(frozen=True, slots=True)
class Health:
    """Of one kind: since when the oldest due job waits (ms, ``None`` when none does), and how many are dead."""

    oldest_due: int | None
    dead: int


def listing(
    now: int, *, kind: str = "", org_id: str = "", dead: bool = False, limit: int = 100
) -> Transaction[list[Shown]]:
    """Jobs that wait or run, the next due first; or ``dead`` ones, the newest first. Empty filters let all through."""
    arguments = (kind, kind, org_id, org_id, limit)
    if dead:
        return [_dead(row) for row in (yield store.LIST_DEAD, arguments)]
    return [_live(row, now) for row in (yield store.LIST, arguments)]


def find(job_id: str, now: int) -> Transaction[Shown | None]:
    """One job, dead or not."""
    if live := (yield store.FIND, (job_id,)):
        return _live(live[0], now)
    dead = yield store.FIND_DEAD, (job_id,)
    return _dead(dead[0]) if dead else None


def carrying(org_id: str, kind: str, text: str, unique_key: str) -> Transaction[str | None]:
    """The id of a job, dead or not, that has this key, or whose payload holds this text, without ``%`` and ``_``."""
    asked = (org_id, kind, f"%{text}%", unique_key)
    rows = yield store.CARRYING, (*asked, *asked)
    return str(rows[0][0]) if rows else None


def all_of(org_id: str, kind: str) -> Transaction[list[tuple[str, str]]]:
    """Id and payload of every job of an organisation and kind, dead or not."""
    return [(row[0], row[1]) for row in (yield store.ALL_OF, (org_id, kind, org_id, kind))]


def retry(job_id: str, now: int) -> Transaction[Shown | None]:
    """Make a job due now; a dead one begins its plan anew.

    ``None``, and nothing changed, when there is no such job, when it runs, or when another one has its unique key.
    """
    job = yield from find(job_id, now)
    if job is None:
        return None
    if job.state != "Dead":
        return job if (yield store.HURRY, (now, job.org_id, job_id, now)) else None
    if not (yield store.REVIVE, (now, job.org_id, job_id)):
        return None
    yield store.DROP_DEAD, (job.org_id, job_id)
    return job


def drop(job_id: str, now: int) -> Transaction[Shown | None]:
    """Delete a job for good; ``None`` when there is none, or it runs."""
    job = yield from find(job_id, now)
    if job is None:
        return None
    if job.state == "Dead":
        return job if (yield store.DROP_DEAD, (job.org_id, job_id)) else None
    return job if (yield store.DROP, (job.org_id, job_id, now)) else None


def health(kinds: Iterable[str], now: int) -> Transaction[dict[str, Health]]:
    """How each kind keeps up; of the dead the newest ``DEAD_COUNTED`` of all kinds together."""
    dead = {str(kind): int(number) for kind, number in (yield store.COUNT_DEAD, (DEAD_COUNTED,))}
    found: dict[str, Health] = {}
    for kind in kinds:
        rows = yield store.OLDEST_DUE, (kind, now)
        found[kind] = Health(rows[0][0], dead.get(kind, 0))
    return found


def _live(row: Row, now: int) -> Shown:
    org_id, job_id, kind, lane, payload, attempts, reason, created_at, owner, due_at = row
    state: State = "Due" if due_at <= now else "Waiting" if owner is None else "Running"
    return Shown(org_id, job_id, kind, lane, payload, attempts, reason, created_at, state, due_at, None)


def _dead(row: Row) -> Shown:
    org_id, job_id, kind, lane, payload, attempts, reason, created_at, died_at = row
    return Shown(org_id, job_id, kind, lane, payload, attempts, reason, created_at, "Dead", None, died_at)
