"""Run coroutines in tests on the event loop that the server uses.

A test is written ``async def``; ``tests/conftest.py`` runs it with ``asyncio.Runner`` on a uvloop
loop. A fixture that needs the same loop (to open a database, say) asks for the fixture ``runner`` and
calls ``runner.run(...)`` itself, before and after its ``yield``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")


def new_runner() -> asyncio.Runner:
    """A runner with a fresh uvloop loop; use as a context manager."""
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run one coroutine on a loop of its own; not for use inside a running loop."""
    with new_runner() as runner:
        return runner.run(coroutine)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, at most 20 seconds."""
    async with asyncio.timeout(20):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)
