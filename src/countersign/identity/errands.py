"""Work done behind an answer: whoever asks learns nothing from how long it takes, or whether there was any."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger("countersign.errands")

#: Errands under way; more are dropped, and whoever needs one asks again.
_MOST = 500


class Errands:
    """Runs errands in the background, in order of coming and few at a time; what is left is finished at the end."""

    def __init__(self, at_once: int = 4) -> None:
        self._turn = asyncio.Semaphore(at_once)
        self._under_way: set[asyncio.Task[None]] = set()

    def send(self, work: Callable[[], Awaitable[object]]) -> None:
        """Have it done; an errand that fails is logged, and is not tried again."""
        if len(self._under_way) >= _MOST:
            log.warning("an errand was dropped: too many are under way")
            return
        task = asyncio.create_task(self._do(work))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _do(self, work: Callable[[], Awaitable[object]]) -> None:
        async with self._turn:
            try:
                await work()
            except Exception:
                log.exception("an errand failed")

    async def done(self) -> None:
        """Wait until none is under way."""
        while self._under_way:
            await asyncio.wait(tuple(self._under_way))
