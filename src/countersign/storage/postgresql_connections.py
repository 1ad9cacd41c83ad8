"""The connections to PostgreSQL, handed out one at a time.

asyncpg's own pool resets, proxies and times every use, which costs more CPU than a read by key
(measured: 20 us against 13). Our connections hold no session state, so a list is enough.
"""

from __future__ import annotations

import asyncio
import socket

import asyncpg

from countersign.storage.database import StorageUnavailable
from countersign.storage.postgresql_schema import CONNECT_TIMEOUT_S, LOST, check_version, unavailable

CONNECTIONS = 16
"""Open at most, for each process; the server's ``max_connections`` must allow for all of them."""

WAIT_S = 10
"""How long a caller waits for a connection before it is told to come back later."""

SILENCE_S = 30
"""After how long a server that answers nothing at all, not even packets, counts as gone.

The system's own patience is a quarter of an hour for what was sent, and hours for an answer that is waited for; every
request that met a host which vanished, and its connection, would be held for as long.
"""

_PROBE_AFTER_S, _PROBE_EVERY_S = 15, 5


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
        _notice_silence(connection)
        return connection


def _notice_silence(connection: asyncpg.Connection) -> None:
    """Have the system look whether the server is still there, and end the connection when it is not."""
    # asyncpg has no setting for it, and shows its socket in no other way.
    peer = connection._transport.get_extra_info("socket")
    if peer is None or peer.family not in (socket.AF_INET, socket.AF_INET6):
        return
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", _PROBE_AFTER_S),
        ("TCP_KEEPINTVL", _PROBE_EVERY_S),
        ("TCP_KEEPCNT", (SILENCE_S - _PROBE_AFTER_S) // _PROBE_EVERY_S),
        ("TCP_USER_TIMEOUT", SILENCE_S * 1000),
    ):
        # Of Linux; other systems lack some.
        if hasattr(socket, name):
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
