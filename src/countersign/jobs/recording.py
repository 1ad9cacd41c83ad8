"""Recording how jobs ended: what ends at about the same time in one transaction, where that locks nobody out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from countersign.jobs.queue import place
from countersign.jobs.work import Job, T
from countersign.storage import Database, StorageUnavailable, Transaction

log = structlog.get_logger("countersign.jobs")

#: An outcome is recorded again that often while the database is away, until the lease has ended anyway.
_PAUSE_SECONDS = 1.0
#: Outcomes in one transaction at most.
_TOGETHER = 64

#: The transaction of an outcome; what it answers is for the worker.
Make = Callable[[], Transaction[str | None]]


@dataclass(frozen=True, slots=True, eq=False)
class _Ended:
    job: Job
    make: Make
    future: asyncio.Future[str | None]


class Recorder:
    """Of one kind. A transaction at a time: what ends while it is under way forms the next."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Ended] = []
        self._task: asyncio.Task[None] | None = None

    async def record(self, job: Job, make: Make, *, together: bool) -> str | None:
        """Write, again while the database is away: the work is done, and would be done twice. The fence keeps order.

        ``together``: with others.
        """
        if not together:
            # The taking of what follows may join the same commit.
            await asyncio.sleep(0)
            return await self._write(make)
        ended = _Ended(job, make, asyncio.get_running_loop().create_future())
        self._waiting.append(ended)
        if self._task is None:
            self._task = asyncio.create_task(self._empty())
        return await ended.future

    async def stop(self) -> None:
        """End what is under way, for whoever waits no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _empty(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_TOGETHER], self._waiting[_TOGETHER:]
                # Everywhere in one order, so that no two processes wait for each other's rows.
                batch.sort(key=lambda each: place(each.job))
                if wanted := [each for each in batch if not each.future.done()]:
                    await self._settle(wanted)
        finally:
            self._task = None

    async def _settle(self, batch: Sequence[_Ended]) -> None:
        try:
            answers = await self._write(partial(_all, batch))
        except Exception as error:
            if len(batch) == 1:
                _fail(batch[0], error)
                return
            # One of them cannot be written; the others must not suffer for it.
            for each in batch:
                await self._settle([each])
            return
        for each, answer in zip(batch, answers, strict=True):
            if not each.future.done():
                each.future.set_result(answer)

    async def _write(self, make: Callable[[], Transaction[T]]) -> T:
        while True:
            try:
                return await self._database.write(make)
            except StorageUnavailable as error:
                log.warning("the outcome of a job waits for the database", reason=error.reason)
                await asyncio.sleep(_PAUSE_SECONDS)


def _all(batch: Sequence[_Ended]) -> Transaction[list[str | None]]:
    answers = []
    for each in batch:
        answers.append((yield from each.make()))
    return answers


def _fail(ended: _Ended, error: Exception) -> None:
    if not ended.future.done():
        ended.future.set_exception(error)
