"""The connection that migrates a PostgreSQL database, and how its errors are read."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import asyncpg

from countersign.storage.database import StorageUnavailable
from countersign.storage.migrate import SchemaError
from countersign.storage.transaction import Row, Statement

MINIMUM_VERSION = 15
CONNECT_TIMEOUT_S = 10

_NO_RIGHT = "42501"

# SQLSTATE classes and codes that mean "not now" (PostgreSQL manual, appendix A).
_CANNOT = {
    "08": "the connection to it failed",
    "53": "it is out of disk space, memory or connections",
    "57": "it is stopping, starting or cancelled the work",
    "58": "it met an I/O error",
    "57014": "a statement took too long and was ended",
    "25006": "it is read-only",
    "25P03": "a transaction stood still for too long and was ended",
    "55P03": "a lock could not be had in time",
}
# What only an attempt to connect, or to change the schema, meets.
_REFUSED = {
    "28": "it refused the user or the password",
    "3D": "it has no such database",
    _NO_RIGHT: "its user may not make tables in the schema, or change those that are there: whoever made them can",
}
LOST = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError, asyncpg.PostgresConnectionError)
"""What asyncpg raises when the connection itself is gone."""


def cannot(error: BaseException) -> str | None:
    """Why the engine cannot work now, or None if the statement itself is at fault."""
    # An InterfaceError that is a ValueError as well tells of a wrong argument, not of the connection.
    if isinstance(error, LOST) and not isinstance(error, ValueError):
        return _CANNOT["08"]
    code = getattr(error, "sqlstate", None) or ""
    return _CANNOT.get(code) or _CANNOT.get(code[:2])


def unavailable(error: BaseException, *, unknown_outcome: bool = False) -> StorageUnavailable:
    """The error as a ``StorageUnavailable``; its text names no host, user or value."""
    code = getattr(error, "sqlstate", None) or ""
    reason = cannot(error) or _REFUSED.get(code) or _REFUSED.get(code[:2], "it refused the connection")
    # Python takes these two for lost connections as well; who set the address up is helped by the difference.
    if isinstance(error, (ConnectionRefusedError, FileNotFoundError)):  # the latter of a socket
        reason = "nothing listens at its address"
    elif isinstance(error, socket.gaierror):
        reason = "its host name is not known"
    return StorageUnavailable(f"PostgreSQL cannot be used: {reason}", unknown_outcome=unknown_outcome)


def check_version(connection: asyncpg.Connection) -> None:
    """Refuse servers older than the oldest that is tested. Raises ``SchemaError``."""
    version = connection.get_server_version()
    if version.major < MINIMUM_VERSION:
        raise SchemaError(f"PostgreSQL {version.major} is too old; Countersign needs {MINIMUM_VERSION} or newer")


APPLICATION_NAME = "countersign"
"""What a server's connections, and no others, call themselves."""


async def in_use(url: str) -> bool:
    """Whether a server is connected to this database, as far as our user may see. Raises as ``connect`` does."""
    session = await PostgresqlSchemaSession.connect(url)
    try:
        sql = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = ?"
        return bool(await session.fetch(sql, (APPLICATION_NAME,)))
    finally:
        await session.close()


class PostgresqlSchemaSession:
    """A ``SchemaSession`` over one connection."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    @classmethod
    async def connect(cls, url: str) -> PostgresqlSchemaSession:
        """Connect. Raises ``StorageUnavailable``, and ``SchemaError`` for an old server."""
        try:
            # Statements of a migration run once, so none is prepared for later.
            connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S, statement_cache_size=0)
        except (asyncpg.PostgresError, *LOST) as error:
            raise unavailable(error) from error
        check_version(connection)
        return cls(connection)

    async def has_table(self, name: str) -> bool:
        """Whether the table exists on the search path of this database."""
        sql = "SELECT 1 FROM information_schema.tables WHERE table_schema = current_schema() AND table_name = ?"
        return bool(await self.fetch(sql, (name,)))

    async def create_if_missing(self, sql: str) -> None:
        """Run the statement again when another process creates the table in the same moment.

        ``IF NOT EXISTS`` looks before it creates, so the loser of the race meets the unique keys of
        the catalogue.
        """
        while True:
            try:
                await self.script(sql)
            except (asyncpg.UniqueViolationError, asyncpg.DuplicateTableError, asyncpg.DuplicateObjectError):
                await asyncio.sleep(0)
            else:
                return

    async def begin(self) -> None:
        """Begin a transaction."""
        await self.script("BEGIN")

    async def fetch(self, sql: str, arguments: Sequence[Any] = ()) -> Sequence[Row]:
        """Run one statement with ``?`` placeholders. Raises ``StorageUnavailable``."""
        with _told():
            rows: Sequence[Row] = await self._connection.fetch(Statement("migrate", sql).numbered, *arguments)
            return rows

    async def script(self, sql: str) -> None:
        """Run the statements in one message. Raises ``StorageUnavailable``."""
        with _told():
            await self._connection.execute(sql)

    async def commit(self) -> None:
        """Make it durable."""
        await self.script("COMMIT")

    async def rollback(self) -> None:
        """Undo the open transaction; where the connection is lost, the server does."""
        with suppress(asyncpg.PostgresError, *LOST):
            await self._connection.execute("ROLLBACK")

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()


@contextmanager
def _told() -> Iterator[None]:
    """What is not the statement's own fault, as a ``StorageUnavailable``."""
    try:
        yield
    except (asyncpg.PostgresError, *LOST) as error:
        if cannot(error) is None and getattr(error, "sqlstate", None) != _NO_RIGHT:
            raise
        raise unavailable(error) from error
