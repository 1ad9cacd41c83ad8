"""The production engine: PostgreSQL 15 or newer through asyncpg.

Transactions run at READ COMMITTED and are run again from the start after a serialization failure or
a deadlock.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import asyncpg

from countersign.storage.database import ConstraintViolated, Statistics, StorageUnavailable, Timeouts
from countersign.storage.postgresql_connections import Connections
from countersign.storage.postgresql_schema import APPLICATION_NAME, LOST, cannot, unavailable
from countersign.storage.transaction import Statement, T, Transaction

ATTEMPTS = 8
"""How often a transaction is run before its conflict is given back to the caller."""

_FIRST_PAUSE_S = 0.002

_USUAL_TIMEOUTS = Timeouts()

_CONFLICTS = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    # A migration changed what a prepared statement answers; asyncpg prepares it anew.
    asyncpg.InvalidCachedStatementError,
    asyncpg.OutdatedSchemaCacheError,
)


def _milliseconds(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


class PostgresqlDatabase:
    """A ``Database`` over several connections; made by ``open``."""

    engine: str = "postgresql"

    def __init__(self, connections: Connections, *, readonly: bool) -> None:
        self.statistics = Statistics()
        self._connections = connections
        self._readonly = readonly
        self._listeners: dict[Statement, Callable[[], None]] = {}

    @classmethod
    async def open(
        cls, url: str, *, readonly: bool = False, timeouts: Timeouts = _USUAL_TIMEOUTS
    ) -> PostgresqlDatabase:
        """Connect to a migrated database. Raises ``StorageUnavailable``, ``SchemaError`` (old server)."""
        settings = {
            "application_name": APPLICATION_NAME,
            "default_transaction_isolation": "read committed",
            "statement_timeout": _milliseconds(timeouts.statement),
            "lock_timeout": _milliseconds(timeouts.lock),
            "idle_in_transaction_session_timeout": _milliseconds(timeouts.idle_transaction),
            # A cancelled request may leave a statement running that nobody waits for, with its locks: that ends within
            # a second, as PostgreSQL then looks whether the connection is still there.
            "client_connection_check_interval": "1s",
        }
        if readonly:
            settings["default_transaction_read_only"] = "on"
        connections = Connections(url, settings)
        connections.give_back(await connections.take())
        return cls(connections, readonly=readonly)

    async def read(self, make: Callable[[], Transaction[T]]) -> T:
        """Run statements that change nothing (``Database.read``), each on its own."""
        return await self._repeat(lambda connection: self._run(connection, make(), set()))

    async def write(self, make: Callable[[], Transaction[T]]) -> T:
        """Run a transaction, again after a conflict (``Database.write``)."""
        if self._readonly:
            raise StorageUnavailable("the database was opened for reading only")
        self.statistics.write_transactions += 1
        return await self._repeat(lambda connection: self._transact(connection, make()))

    def on_commit(self, statement: Statement, tell: Callable[[], None]) -> None:
        """Be told of commits (``Database.on_commit``); one listener for each statement."""
        self._listeners[statement] = tell

    async def close(self) -> None:
        """Wait for what is under way and close every connection."""
        await self._connections.close()

    async def _repeat(self, work: Callable[[asyncpg.Connection], Coroutine[Any, Any, T]]) -> T:
        for attempt in range(ATTEMPTS):
            connection = await self._connections.take()
            try:
                return await work(connection)
            except _CONFLICTS:
                conflict_pause = random.random() * _FIRST_PAUSE_S * 2**attempt  # noqa: S311 - no secret
            except asyncio.CancelledError:
                # Whatever the server is doing is rolled back when its connection ends.
                connection.terminate()
                raise
            finally:
                self._connections.give_back(connection)
            # The pause grows and differs between the rivals, so that they do not meet again.
            await asyncio.sleep(conflict_pause)
        raise StorageUnavailable("too many transactions want the same rows; try again later")

    async def _transact(self, connection: asyncpg.Connection, transaction: Transaction[T]) -> T:
        try:
            await connection.execute("BEGIN")
        except (asyncpg.PostgresError, *LOST) as error:
            raise unavailable(error) from error
        concerned: set[Callable[[], None]] = set()
        try:
            value = await self._run(connection, transaction, concerned)
        except Exception:
            await self._roll_back(connection)
            raise
        try:
            await connection.execute("COMMIT")
        except _CONFLICTS:
            raise
        except (asyncpg.PostgresError, *LOST) as error:
            # Without an answer nobody knows what became of it.
            connection.terminate()
            raise unavailable(error, unknown_outcome=True) from error
        self.statistics.commits += 1
        for tell in concerned:
            tell()
        return value

    async def _run(
        self, connection: asyncpg.Connection, transaction: Transaction[T], concerned: set[Callable[[], None]]
    ) -> T:
        statistics = self.statistics
        try:
            statement, arguments = next(transaction)
            while True:
                statistics.statements += 1
                try:
                    rows = await connection.fetch(statement.numbered, *arguments)
                except _CONFLICTS:
                    raise
                except asyncpg.IntegrityConstraintViolationError as error:
                    raise ConstraintViolated(statement.name) from error
                except (asyncpg.PostgresError, *LOST) as error:
                    if cannot(error) is None:
                        raise
                    raise unavailable(error) from error
                if statement in self._listeners:
                    concerned.add(self._listeners[statement])
                statement, arguments = transaction.send(rows)
        except StopIteration as end:
            value: T = end.value
            return value

    async def _roll_back(self, connection: asyncpg.Connection) -> None:
        try:
            await connection.execute("ROLLBACK")
        except (asyncpg.PostgresError, *LOST):
            # The connection is gone, and the transaction with it.
            connection.terminate()
