"""Running jobs in a process: taking what is due, holding it while it runs, recording how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from countersign.jobs import queue, store
from countersign.jobs.plan import choose, given_up, words
from countersign.jobs.work import Failed, Job, Kind, Outcome
from countersign.storage import Database, StorageUnavailable, Transaction
from countersign.world import World

log = structlog.get_logger("countersign.jobs")

#: How often it is looked for what is due when no commit of this process gives a hint.
POLL_SECONDS = 0.25
#: An outcome is recorded again that often while the database is away, until the lease has ended anyway.
_PAUSE_SECONDS = 1.0
#: Of the oldest due jobs, how many are looked at for lanes with room.
_PAGE = 256

#: Told of each outcome: kind, and ``done``, ``later``, ``retried``, ``dead``, or ``lost`` when another worker had it.
Count = Callable[[str, str], None]


def _uncounted(_kind: str, _outcome: str) -> None:
    """For workers whose outcomes nobody counts."""


@dataclass(slots=True)
class _Running:
    """What one kind has under way; ``more``: at the last look there was more due than room."""

    kind: Kind
    tasks: dict[asyncio.Task[None], Job]
    parts: Counter[tuple[int, str]]
    more: bool = False

    @property
    def free(self) -> int:
        return self.kind.bounds.running - len(self.tasks)


class Workers:
    """The workers of one process. ``owner`` is unique to it; ``lease_ms`` is how long a dead one keeps its jobs."""

    def __init__(
        self,
        database: Database,
        kinds: Sequence[Kind],
        owner: str,
        world: World,
        *,
        lease_ms: int = 30_000,
        count: Count = _uncounted,
    ) -> None:
        self._database = database
        self._running = {kind.name: _Running(kind, {}, Counter()) for kind in kinds}
        self._owner = owner
        self._world = world
        self._lease_ms = lease_ms
        self._count = count
        self._awake = asyncio.Event()
        database.on_commit(store.INSERT, self.wake)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The names of the kinds that run here."""
        return tuple(self._running)

    def wake(self) -> None:
        """Look for due jobs now."""
        self._awake.set()

    async def run(self) -> None:
        """Work until cancelled; what runs then is ended and left to others at once."""
        holding = asyncio.create_task(self._hold())
        try:
            while True:
                try:
                    await self._prepare()
                    break
                except StorageUnavailable as error:
                    log.warning("jobs wait for the database", reason=error.reason)
                    await asyncio.sleep(_PAUSE_SECONDS)
            while True:
                self._awake.clear()
                try:
                    await self.look()
                except StorageUnavailable as error:
                    log.warning("jobs wait for the database", reason=error.reason)
                    await asyncio.sleep(_PAUSE_SECONDS)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._awake.wait()
        finally:
            holding.cancel()
            await self._stop()

    async def _prepare(self) -> None:
        for each in self._running.values():
            if each.kind.every_ms is not None:
                await self._database.write(partial(queue.ensure, each.kind, self._world))

    async def look(self) -> int:
        """Take what is due and has room, and start it; how many jobs that were."""
        return sum([await self._fill(each) for each in self._running.values() if each.free > 0])

    async def until_idle(self) -> None:
        """Run everything that is due, and what that brings about, to its end."""
        while await self.look() or self._tasks():
            if tasks := self._tasks():
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [task for each in self._running.values() for task in each.tasks]

    async def _fill(self, each: _Running) -> int:
        bounds, name, now = each.kind.bounds, each.kind.name, self._world.now()
        due = await self._database.read(partial(queue.due_lanes, name, now, _PAGE))
        lanes = choose(due, each.parts, each.free, bounds)
        if not lanes and len(due) == _PAGE:
            due = await self._database.read(partial(queue.all_due_lanes, name, now))
            lanes = choose(due, each.parts, each.free, bounds)
        each.more = len(due) > sum(lanes.values())
        if not lanes:
            return 0
        taken = await self._database.write(partial(queue.take, name, lanes, self._owner, now, self._lease_ms))
        for job in taken:
            self._start(each, job)
        return len(taken)

    def _start(self, each: _Running, job: Job) -> None:
        task = asyncio.create_task(self._work(each.kind, job))
        each.tasks[task] = job
        each.parts.update(words(job.lane))
        task.add_done_callback(partial(self._ended, each))

    def _ended(self, each: _Running, task: asyncio.Task[None]) -> None:
        job = each.tasks.pop(task)
        each.parts.subtract(words(job.lane))
        for part in words(job.lane):
            if not each.parts[part]:
                del each.parts[part]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the outcome of a job was not recorded", kind=job.kind, job=job.job_id, error=repr(error))
        # One look for several that ended: each costs the database a transaction.
        if each.more and each.free * 4 >= each.kind.bounds.running:
            self.wake()

    async def _work(self, kind: Kind, job: Job) -> None:
        """Run it and record the outcome. Nobody else has the job as long as the lease lasts."""
        # This taking is one of the lost as long as it has no outcome.
        given = given_up(job.lost - 1)
        if given is not None:
            why: str | None = given
            recorded = await self._recorded(lambda: queue.bury(kind, job, given, self._world.now()))
        else:
            outcome = await self._outcome(kind, job)
            why = outcome.reason if isinstance(outcome, Failed) else None
            chance = random.random()  # noqa: S311 - spreads retries, no secret
            recorded = await self._recorded(lambda: queue.settle(kind, job, outcome, self._world.now(), chance))
        self._tell(job, recorded or "lost", why)

    async def _outcome(self, kind: Kind, job: Job) -> Outcome:
        try:
            return await kind.run(job)
        except StorageUnavailable as error:
            return Failed(f"the database was away: {error.reason}")
        except Exception as error:
            # A defect of one kind must not stop the others; the job is kept, with the name of the defect.
            log.exception("a job failed in an unforeseen way", kind=job.kind, job=job.job_id)
            return Failed(f"unforeseen: {type(error).__name__}")

    async def _recorded(self, make: Callable[[], Transaction[str | None]]) -> str | None:
        """Write, again while the database is away: the work is done, and would be done twice. The fence keeps order."""
        while True:
            try:
                return await self._database.write(make)
            except StorageUnavailable as error:
                log.warning("the outcome of a job waits for the database", reason=error.reason)
                await asyncio.sleep(_PAUSE_SECONDS)

    def _tell(self, job: Job, what: str, reason: str | None) -> None:
        self._count(job.kind, what)
        if what == "dead":
            log.warning("job put aside", kind=job.kind, job=job.job_id, attempts=job.attempt, reason=reason)
        elif what == "lost":
            log.warning("a job was taken over while it ran", kind=job.kind, job=job.job_id)

    async def _hold(self) -> None:
        """Renew the leases of what runs for long, and end what is no longer ours."""
        pause = self._lease_ms / 3000
        before: set[asyncio.Task[None]] = set()
        while True:
            await asyncio.sleep(pause)
            running = {task: job for each in self._running.values() for task, job in each.tasks.items()}
            # Most end soon: a lease is renewed only for those that were there at the last look already.
            held = {job.job_id: (job, task) for task, job in running.items() if task in before}
            before = set(running)
            if not held:
                continue
            jobs = [job for job, _ in held.values()]
            until = self._world.now() + self._lease_ms
            try:
                lost = await self._database.write(partial(queue.renew, jobs, until))
            except StorageUnavailable as error:
                log.warning("leases of jobs cannot be renewed", reason=error.reason)
                continue
            for job in lost:
                # One that ended just now is not ours either; its task is done.
                if held[job.job_id][1].cancel():
                    self._tell(job, "lost", None)

    async def _stop(self) -> None:
        tasks = self._tasks()
        jobs = [job for each in self._running.values() for job in each.tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if jobs:
            with contextlib.suppress(StorageUnavailable):
                await self._database.write(lambda: queue.release(jobs, self._world.now()))
