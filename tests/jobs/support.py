"""Jobs for tests: a clock that is moved, kinds that do as they are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from countersign.jobs import Done, Failed, Job, Kind, Outcome, RetryPlan
from countersign.jobs.plan import Bounds
from countersign.jobs.queue import enqueue
from countersign.jobs.workers import Workers
from countersign.storage import Database, Statement, Transaction
from countersign.world import World

PLAN = RetryPlan((1000, 3000), jitter=0.0)
ORG = "or-00000-00001-0000000000000001"
COUNT = Statement("tests.count_jobs", "SELECT COUNT(*) FROM jobs")


@dataclass
class Clock:
    """Milliseconds since the epoch, moved by hand."""

    now: int = 1_000_000

    def __call__(self) -> int:
        return self.now


@dataclass
class Record:
    """What ran, and how it is to end: an outcome for each run, ``Done`` when there is none left."""

    outcomes: list[Outcome | Exception] = field(default_factory=list)
    ran: list[Job] = field(default_factory=list)

    async def run(self, job: Job) -> Outcome:
        self.ran.append(job)
        outcome = self.outcomes.pop(0) if self.outcomes else Done()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def kind(record: Record, name: str = "test.work", plan: RetryPlan = PLAN, bounds: Bounds | None = None) -> Kind:
    return Kind(name, record.run, plan, bounds or Bounds(8))


def workers(database: Database, world: World, *kinds: Kind, count: Callable[[str, str], None] | None = None) -> Workers:
    owner = world.new_id("owner")
    if count is None:
        return Workers(database, kinds, owner, world)
    return Workers(database, kinds, owner, world, count=count)


async def put(database: Database, world: World, payload: object = None, **members: object) -> str | None:
    """A job of the usual kind."""
    name = str(members.pop("kind", "test.work"))
    run_at, key, lane = members.get("run_at"), members.get("unique_key"), str(members.get("lane", ""))
    assert run_at is None or isinstance(run_at, int)
    assert key is None or isinstance(key, str)
    return await database.write(lambda: enqueue(name, ORG, payload or {}, run_at, key, world, lane=lane))


def count() -> Transaction[int]:
    return int((yield COUNT, ())[0][0])


def failed(reason: str = "no luck", **members: object) -> Failed:
    return Failed(reason, **members)
