"""The connections to PostgreSQL, handed out one at a time.

asyncpg's own pool resets, proxies and times every use, which costs more CPU than a read by key
(measured: 20 us against 13). Our connections hold no session state, so a list is enough.
"""

from __future__ import annotations

import asyncio

import asyncpg

from countersign.storage.database import StorageUnavailable
from countersign.storage.postgresql_schema import CONNECT_TIMEOUT_S, LOST, check_version, unavailable

CONNECTIONS = 16
"""Open at most, for each process; the server's ``max_connections`` must allow for all of them."""

WAIT_S = 10
"""How long a caller waits for a connection before it is told to come back later."""


class Connections:
    """Opens connections as they are needed and keeps them; the one used last is used next."""

    def __init__(self, url: str, settings: dict[str, str], *, limit: int = CONNECTIONS) -> None:
        self._url = url
        self._settings = settings
        self._slots = asyncio.Semaphore(limit)
        self._limit = limit
        self._idle: list[asyncpg.Connection] = []
        self._closed = False

    async def take(self) -> asyncpg.Connection:
        """A connection nobody else uses, to be given back. Raises ``StorageUnavailable``."""
        if self._slots.locked():
            try:
                async with asyncio.timeout(WAIT_S):
                    await self._slots.acquire()
            except TimeoutError as error:
                raise StorageUnavailable("every connection to PostgreSQL is in use; try again later") from error
        else:
            await self._slots.acquire()
        try:
            return await self._open_one()
        except BaseException:
            self._slots.release()
            raise

    def give_back(self, connection: asyncpg.Connection) -> None:
        """End the use of a connection; a closed one is forgotten."""
        if not connection.is_closed():
            self._idle.append(connection)
        self._slots.release()

    async def close(self) -> None:
        """Wait for every use to end, then close all."""
        self._closed = True
        for _ in range(self._limit):
            await self._slots.acquire()
        for connection in self._idle:
            await connection.close()
        self._idle.clear()
        for _ in range(self._limit):
            self._slots.release()

    async def _open_one(self) -> asyncpg.Connection:
        if self._closed:
            raise StorageUnavailable("the database is closed")
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        try:
            connection = await asyncpg.connect(
                self._url,
                timeout=CONNECT_TIMEOUT_S,
                statement_cache_size=1024,
                max_cached_statement_lifetime=0,
                server_settings=self._settings,
            )
        except (asyncpg.PostgresError, *LOST) as error:
            raise unavailable(error) from error
        check_version(connection)
        return connection
