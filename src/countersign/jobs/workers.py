"""Running jobs in a process: taking what is due, holding it while it runs, recording how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog

from countersign.jobs import queue, store
from countersign.jobs.plan import choose, given_up, words
from countersign.jobs.recording import Recorder
from countersign.jobs.work import Done, Failed, Job, Kind, Outcome
from countersign.storage import Database, StorageUnavailable, Transaction
from countersign.world import World

log = structlog.get_logger("countersign.jobs")

#: How often it is looked for what is due when no commit of this process gives a hint.
POLL_SECONDS = 0.25
#: It is looked again that often while the database is away.
_PAUSE_SECONDS = 1.0
#: Of the oldest due jobs, how many are looked at for lanes with room.
_PAGE = 256

#: Told of each outcome: kind, and ``done``, ``later``, ``retried``, ``dead``, or ``lost`` when another worker had it.
Count = Callable[[str, str], None]


def _uncounted(_kind: str, _outcome: str) -> None:
    """For workers whose outcomes nobody counts."""


@dataclass(slots=True, eq=False)
class _Running:
    """What one kind has under way; ``more``: at the last look there was more due than room.

    ``tasks`` run or are being recorded; ``runs``, by id and fence, and ``parts`` are those that run, which is what
    bounds are about: others are taken while it is recorded how these ended.
    """

    kind: Kind
    recorder: Recorder
    tasks: dict[asyncio.Task[None], Job] = field(default_factory=dict)
    parts: Counter[tuple[int, str]] = field(default_factory=Counter)
    runs: set[tuple[str, int]] = field(default_factory=set)
    more: bool = False

    @property
    def free(self) -> int:
        most = self.kind.bounds.running
        # What is being recorded is bounded too: it has a lease to keep, and is in memory.
        return min(most - len(self.runs), 3 * most - len(self.tasks))

    def begin(self, job: Job) -> None:
        """Count one that runs from now on."""
        self.runs.add((job.job_id, job.fence))
        self.parts.update(words(job.lane))

    def end(self, job: Job) -> None:
        """Count one no more, once."""
        if (job.job_id, job.fence) not in self.runs:
            return
        self.runs.remove((job.job_id, job.fence))
        self.parts.subtract(words(job.lane))
        for part in words(job.lane):
            if not self.parts[part]:
                del self.parts[part]

    def has_room(self, lane: str) -> bool:
        """Whether there is more, and enough of this lane has ended: each look costs the database a transaction."""
        bounds = self.kind.bounds
        if not self.more or 4 * self.free < bounds.running:
            return False
        return all(4 * (most - self.parts[part]) >= most for most, part in zip(bounds.lanes, words(lane), strict=False))


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
        self._running = {kind.name: _Running(kind, Recorder(database)) for kind in kinds}
        self._owner = owner
        self._world = world
        self._lease_ms = lease_ms
        self._count = count
        self._awake = asyncio.Event()
        # What is looked for when awake.
        self._wanted: set[_Running] = set()
        database.on_commit(store.INSERT, self.wake)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The names of the kinds that run here."""
        return tuple(self._running)

    def wake(self) -> None:
        """Look for due jobs now."""
        self._wanted.update(self._running.values())
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
            loop, looked = asyncio.get_running_loop(), -POLL_SECONDS
            while True:
                self._awake.clear()
                # A kind that is always busy must not keep the others from being looked at.
                if loop.time() - looked >= POLL_SECONDS:
                    looked = loop.time()
                    self._wanted.update(self._running.values())
                wanted, self._wanted = self._wanted, set()
                try:
                    await self._look(wanted)
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
        return await self._look(self._running.values())

    async def _look(self, wanted: Iterable[_Running]) -> int:
        return sum([await self._fill(each) for each in wanted if each.free > 0])

    async def until_idle(self) -> None:
        """Run everything that is due, and what that brings about, to its end."""
        while True:
            self._awake.clear()
            if not await self.look() and not self._tasks():
                return
            if self._tasks():
                await self._awake.wait()

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [task for each in self._running.values() for task in each.tasks]

    async def _fill(self, each: _Running) -> int:
        bounds, name, now = each.kind.bounds, each.kind.name, self._world.now()
        due = await self._database.read(partial(queue.due_lanes, name, now, _PAGE))
        lanes = choose(due, each.parts, each.free, bounds)
        if not lanes and sum(number for _, number in due) == _PAGE:
            due = await self._database.read(partial(queue.all_due_lanes, name, now))
            lanes = choose(due, each.parts, each.free, bounds)
        each.more = sum(number for _, number in due) > sum(lanes.values())
        if not lanes:
            return 0
        taken = await self._database.write(partial(queue.take, name, lanes, self._owner, now, self._lease_ms))
        for job in taken:
            self._start(each, job)
        return len(taken)

    def _start(self, each: _Running, job: Job) -> None:
        each.begin(job)
        task = asyncio.create_task(self._work(each, job))
        each.tasks[task] = job
        task.add_done_callback(partial(self._ended, each))

    def _ended(self, each: _Running, task: asyncio.Task[None]) -> None:
        job = each.tasks.pop(task)
        # Again: one may have been cancelled before its first step, and what is recorded made room as well.
        self._free(each, job)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the outcome of a job was not recorded", kind=job.kind, job=job.job_id, error=repr(error))
        if not each.tasks:
            self._awake.set()

    def _free(self, each: _Running, job: Job) -> None:
        each.end(job)
        if each.has_room(job.lane):
            self._wanted.add(each)
            self._awake.set()

    async def _work(self, each: _Running, job: Job) -> None:
        """Run it and record the outcome. Nobody else has the job as long as the lease lasts."""
        kind = each.kind
        # This taking is one of the lost as long as it has no outcome.
        given = given_up(job.lost - 1)
        try:
            outcome = Failed(given) if given is not None else await self._outcome(kind, job)
        finally:
            self._free(each, job)
        why = outcome.reason if isinstance(outcome, Failed) else None
        chance = random.random()  # noqa: S311 - spreads retries, no secret

        def settled() -> Transaction[str | None]:
            now = self._world.now()
            if given is not None:
                return queue.bury(kind, job, given, now)
            return queue.settle(kind, job, outcome, now, chance)

        # The end of a job alone, too, locks no row but its own.
        together = kind.together or (isinstance(outcome, Done) and not outcome.writes)
        self._tell(job, await each.recorder.record(job, settled, together=together) or "lost", why)

    async def _outcome(self, kind: Kind, job: Job) -> Outcome:
        try:
            return await kind.run(job)
        except StorageUnavailable as error:
            return Failed(f"the database was away: {error.reason}")
        except Exception as error:
            # A defect of one kind must not stop the others; the job is kept, with the name of the defect.
            log.exception("a job failed in an unforeseen way", kind=job.kind, job=job.job_id)
            return Failed(f"unforeseen: {type(error).__name__}")

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
        for each in self._running.values():
            await each.recorder.stop()
        if jobs:
            with contextlib.suppress(StorageUnavailable):
                await self._database.write(lambda: queue.release(jobs, self._world.now()))
