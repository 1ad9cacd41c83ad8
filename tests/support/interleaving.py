"""Two transactions of which one waits for the other (PostgreSQL)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from countersign.storage import Database, Statement, Transaction

_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of its own, beside those of the server."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def waiting(connection: asyncpg.Connection, count: int) -> bool:
    """Whether so many transactions wait for another."""
    return int(await connection.fetchval(_WAITING)) >= count


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for it."""
    async with asyncio.timeout(20):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.01)


async def before_it_commits(
    database: Database, url: str, first: Callable[[], Transaction[Any]], second: Callable[[], Transaction[Any]]
) -> list[Any]:
    """Run the second transaction when the first has done everything but commit; what each came to, errors among them.

    The first is held up by a table that nothing else changes.
    """
    lock = "UPDATE installation SET value = value"

    def held_up() -> Transaction[Any]:
        value = yield from first()
        yield Statement("hold_up_in_a_test", lock), ()
        return value

    async with connected(url) as in_the_way, connected(url) as watching:
        await in_the_way.execute("BEGIN")
        await in_the_way.execute(lock)
        begun = asyncio.create_task(database.write(held_up))
        await until(lambda: waiting(watching, 1))
        other = asyncio.create_task(database.write(second))

        async def ended_or_waits() -> bool:
            return other.done() or await waiting(watching, 2)

        await until(ended_or_waits)
        await in_the_way.execute("ROLLBACK")
        return await asyncio.gather(begun, other, return_exceptions=True)
