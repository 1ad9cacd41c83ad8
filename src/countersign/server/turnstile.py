"""Strangers come in one after the other, a few at once to the database: many do not hold up those who are known."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeVar

from countersign.storage import Database, Transaction

T = TypeVar("T")

#: Connections that strangers hold at once, of the sixteen that a process has.
_FEW = 3


class Turnstile:
    """Lets one waiter through each time round the event loop, in order of coming.

    Between two of them the loop serves everybody else who has come meanwhile. Nobody is held while another works: what
    one waits for, such as a commit, all of them wait for together.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._turning = False

    async def turn(self) -> None:
        """Wait for one's turn; at once when nobody came in this round."""
        loop = asyncio.get_running_loop()
        if not self._turning:
            self._turning = True
            loop.call_soon(self._next, loop)
            return
        mine: asyncio.Future[None] = loop.create_future()
        self._waiting.append(mine)
        await mine

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting:
            following = self._waiting.popleft()
            # Who went away, because the client did, is passed over.
            if not following.done():
                following.set_result(None)
                loop.call_soon(self._next, loop)
                return
        self._turning = False


class Transactions(Protocol):
    """Where a call runs its transactions."""

    async def read(self, make: Callable[[], Transaction[T]]) -> T:
        """Run a reading transaction."""
        ...

    async def write(self, make: Callable[[], Transaction[T]]) -> T:
        """Run a transaction."""
        ...


class _AFewAtOnce:
    """The same database through a few of its connections: who is known finds the others free."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._room = asyncio.Semaphore(_FEW)

    async def read(self, make: Callable[[], Transaction[T]]) -> T:
        async with self._room:
            return await self._database.read(make)

    async def write(self, make: Callable[[], Transaction[T]]) -> T:
        async with self._room:
            return await self._database.write(make)


def for_strangers(database: Database) -> Transactions:
    """Where those run their transactions whom nobody knows yet. SQLite has no connections to keep for others."""
    return _AFewAtOnce(database) if database.engine == "postgresql" else database
