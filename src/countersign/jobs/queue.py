"""The life of a job as transactions: written, taken, and settled by whoever has it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from countersign.jobs import store
from countersign.jobs.work import Done, Job, Kind, Later, Outcome
from countersign.storage import Row, Transaction
from countersign.world import World

#: How many rows one sweep of old dead jobs deletes.
_BATCH = 1000


def enqueue(
    kind: str,
    org_id: str,
    payload: Any,
    run_at: int | None,
    unique_key: str | None,
    world: World,
    *,
    lane: str = "",
) -> Transaction[str | None]:
    """Write a job in the transaction of the change that wants it; its id, ``None`` when there was one of its key.

    ``org_id``: empty for work of the whole installation. ``payload``: anything that msgspec encodes as JSON, or JSON
    text as ``str``. ``run_at``: ms since the epoch, ``None`` for at once. ``unique_key``: at most one job of this
    organisation and kind has it at a time. ``lane``: words that share a bound (see ``Bounds``), the host of an endpoint
    and its id, say.
    """
    now = world.now()
    text = payload if isinstance(payload, str) else msgspec.json.encode(payload).decode()
    job_id, due_at = world.new_id("job"), now if run_at is None else run_at
    rows = yield store.INSERT, (org_id, job_id, kind, lane, unique_key, text, due_at, now)
    return str(rows[0][0]) if rows else None


def take(kind: str, lanes: Mapping[str, int], owner: str, now: int, lease_ms: int) -> Transaction[list[Job]]:
    """Take up to so many due jobs of each lane, until ``now + lease_ms``."""
    taken: list[Job] = []
    for lane, number in lanes.items():
        rows = yield store.TAKE, (owner, now + lease_ms, now, kind, lane, now, number)
        taken += [_job(row) for row in rows]
    return taken


def settle(kind: Kind, job: Job, outcome: Outcome, now: int, chance: float) -> Transaction[str | None]:
    """Record how a run ended: ``done``, ``later``, ``retried`` or ``dead``; ``None``, and nothing written, when another
    has it.
    """
    if isinstance(outcome, Done):
        if not (yield from _end(kind, job, now)):
            return None
        yield from outcome.write()
        return "done"
    if isinstance(outcome, Later):
        arguments = (outcome.at, job.attempt - 1, outcome.reason, job.payload, job.org_id, job.job_id, job.fence)
        return "later" if (yield store.POSTPONE, arguments) else None
    next_at = None if outcome.final else kind.plan.next_at(job.attempt, now, chance)
    payload = job.payload if outcome.payload is None else outcome.payload
    if next_at is not None:
        arguments = (next_at, job.attempt, outcome.reason, payload, job.org_id, job.job_id, job.fence)
        if not (yield store.POSTPONE, arguments):
            return None
        yield from outcome.write(next_at)
        return "retried"
    if not (yield from _bury(kind, job, payload, outcome.reason, now)):
        return None
    yield from outcome.write(None)
    return "dead"


def bury(kind: Kind, job: Job, reason: str, now: int) -> Transaction[str | None]:
    """Put a job aside that its workers did not survive: ``dead``, or ``None`` when another has it."""
    return "dead" if (yield from _bury(kind, job, job.payload, reason, now)) else None


def _end(kind: Kind, job: Job, now: int) -> Transaction[bool]:
    if kind.every_ms is not None:
        return (yield from _come_back(job, now + kind.every_ms, None))
    return bool((yield store.FINISH, (job.org_id, job.job_id, job.fence)))


def _come_back(job: Job, at: int, reason: str | None) -> Transaction[bool]:
    arguments = (at, 0, reason, job.payload, job.org_id, job.job_id, job.fence)
    return bool((yield store.POSTPONE, arguments))


def _bury(kind: Kind, job: Job, payload: str, reason: str, now: int) -> Transaction[bool]:
    """Work that always comes back is not put aside; the failure shows as the reason of the one that waits."""
    if kind.every_ms is not None:
        return (yield from _come_back(job, now + kind.every_ms, reason))
    rows = yield store.FINISH, (job.org_id, job.job_id, job.fence)
    if not rows:
        return False
    place = (job.org_id, job.job_id, job.kind, job.lane, rows[0][0])
    yield store.INSERT_DEAD, (*place, payload, job.attempt, job.fence, reason, job.created_at, now)
    return True


def place(job: Job) -> tuple[str, str, str]:
    """The one order in which a transaction goes through several jobs."""
    return job.org_id, job.lane, job.job_id


def renew(jobs: Sequence[Job], until: int) -> Transaction[list[Job]]:
    """Hold jobs that still run until then; answers those that are no longer the worker's."""
    lost = []
    # In the order in which outcomes are recorded, so that neither waits for the other's rows.
    for job in sorted(jobs, key=place):
        if not (yield store.RENEW, (until, job.org_id, job.job_id, job.fence)):
            lost.append(job)
    return lost


def release(jobs: Sequence[Job], now: int) -> Transaction[None]:
    """Let others have what was taken and not run to its end."""
    for job in sorted(jobs, key=place):
        yield store.RELEASE, (now, job.org_id, job.job_id, job.fence)


def due_lanes(kind: str, now: int, limit: int) -> Transaction[list[tuple[str, int]]]:
    """The lanes of the ``limit`` oldest jobs that are due, the oldest first, and how many of these are of each."""
    return [(str(lane), int(number)) for lane, number in (yield store.DUE_LANES, (kind, now, limit))]


def all_due_lanes(kind: str, now: int) -> Transaction[list[tuple[str, int]]]:
    """Each lane that has a due job, and one; the costlier look, for when the oldest jobs are all of full lanes."""
    rows = yield store.ALL_DUE_LANES, (kind, kind, kind)
    return [(str(lane), 1) for lane, oldest in rows if oldest <= now]


def ensure(kind: Kind, world: World) -> Transaction[None]:
    """See to it that there is the one job of a kind that always comes back."""
    yield from enqueue(kind.name, "", {}, None, "always", world)


def forget_dead(before: int, kept: Collection[str] = ()) -> Transaction[int]:
    """Delete some of the jobs that died before then (ms), of no kind that is ``kept``; how many. Zero: none is left."""
    return len((yield store.FORGET_DEAD, (before, f",{','.join(kept)},", _BATCH)))


def _job(row: Row) -> Job:
    org_id, job_id, kind, lane, payload, attempt, fence, lost, created_at = row
    return Job(org_id, job_id, kind, lane, payload, attempt + 1, fence, lost, created_at)
