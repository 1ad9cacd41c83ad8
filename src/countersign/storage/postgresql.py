"""The production engine: PostgreSQL 15 or newer through asyncpg.

Transactions run at READ COMMITTED and are run again from the start after a serialization failure or
a deadlock. Connections hold no session state, so none is reset when it goes back to the pool.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import asyncpg

from countersign.storage.database import ConstraintViolated, Statistics, StorageUnavailable
from countersign.storage.postgresql_schema import CONNECT_TIMEOUT_S, LOST, cannot, check_version, unavailable
from countersign.storage.transaction import T, Transaction

ATTEMPTS = 8
"""How often a transaction is run before its conflict is given back to the caller."""

POOL_MIN, POOL_MAX = 2, 16
ACQUIRE_TIMEOUT_S = 10
_FIRST_PAUSE_S = 0.002

_CONFLICTS = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)


class _Stateless(asyncpg.Connection):
    """A connection that needs no reset: nobody sets, listens, locks or leaves a transaction open."""

    async def reset(self, *, timeout: float | None = None) -> None:
        """Do nothing; the inherited one costs a round trip for every use of the pool."""


class PostgresqlDatabase:
    """A ``Database`` over a pool of connections; made by ``open``."""

    engine: str = "postgresql"

    def __init__(self, pool: asyncpg.Pool, *, readonly: bool) -> None:
        self.statistics = Statistics()
        self._pool = pool
        self._readonly = readonly

    @classmethod
    async def open(cls, url: str, *, readonly: bool = False) -> PostgresqlDatabase:
        """Connect to a migrated database. Raises ``StorageUnavailable``, ``SchemaError`` (old server)."""
        settings = {"application_name": "countersign", "default_transaction_isolation": "read committed"}
        if readonly:
            settings["default_transaction_read_only"] = "on"
        try:
            pool = await asyncpg.create_pool(
                url,
                connection_class=_Stateless,
                min_size=POOL_MIN,
                max_size=POOL_MAX,
                max_queries=2**62,
                timeout=CONNECT_TIMEOUT_S,
                statement_cache_size=1024,
                max_cached_statement_lifetime=0,
                server_settings=settings,
            )
            async with pool.acquire() as connection:
                check_version(connection)
        except (asyncpg.PostgresError, *LOST) as error:
            raise unavailable(error) from error
        return cls(pool, readonly=readonly)

    async def read(self, make: Callable[[], Transaction[T]]) -> T:
        """Run statements that change nothing (``Database.read``), each on its own."""
        connection = await self._acquire()
        try:
            return await self._run(connection, make())
        except _CONFLICTS as error:
            raise unavailable(error) from error
        finally:
            await self._release(connection)

    async def write(self, make: Callable[[], Transaction[T]]) -> T:
        """Run a transaction, again after a conflict (``Database.write``)."""
        if self._readonly:
            raise StorageUnavailable("the database was opened for reading only")
        self.statistics.write_transactions += 1
        for attempt in range(ATTEMPTS):
            try:
                return await self._attempt(make)
            except _CONFLICTS:
                # The pause grows and differs between the rivals, so that they do not meet again.
                await asyncio.sleep(random.random() * _FIRST_PAUSE_S * 2**attempt)  # noqa: S311  # no secret
        raise StorageUnavailable("too many transactions want the same rows; try again later")

    async def close(self) -> None:
        """Wait for what is under way and close every connection."""
        await self._pool.close()

    async def _attempt(self, make: Callable[[], Transaction[T]]) -> T:
        connection = await self._acquire()
        try:
            return await self._transact(connection, make())
        except asyncio.CancelledError:
            # What the server is doing at this moment is unknown; it rolls back when the connection ends.
            connection.terminate()
            raise
        finally:
            await self._release(connection)

    async def _transact(self, connection: asyncpg.Connection, transaction: Transaction[T]) -> T:
        try:
            await connection.execute("BEGIN")
        except (asyncpg.PostgresError, *LOST) as error:
            raise unavailable(error) from error
        try:
            value = await self._run(connection, transaction)
        except Exception:
            await self._roll_back(connection)
            raise
        try:
            await connection.execute("COMMIT")
        except _CONFLICTS:
            raise
        except (asyncpg.PostgresError, *LOST) as error:
            # Without an answer to COMMIT nobody knows; a refused one leaves nothing behind.
            connection.terminate()
            raise unavailable(error, unknown_outcome=cannot(error) is not None) from error
        self.statistics.commits += 1
        return value

    async def _run(self, connection: asyncpg.Connection, transaction: Transaction[T]) -> T:
        statistics = self.statistics
        try:
            statement, arguments = next(transaction)
            while True:
                statistics.statements += 1
                rows = await connection.fetch(statement.numbered, *arguments)
                statement, arguments = transaction.send(rows)
        except StopIteration as end:
            value: T = end.value
            return value
        except asyncpg.IntegrityConstraintViolationError as error:
            raise ConstraintViolated(statement.name) from error
        except _CONFLICTS:
            raise
        except (asyncpg.PostgresError, *LOST) as error:
            if cannot(error) is None:
                raise
            raise unavailable(error) from error

    async def _roll_back(self, connection: asyncpg.Connection) -> None:
        try:
            await connection.execute("ROLLBACK")
        except (asyncpg.PostgresError, *LOST):
            # The connection is gone, and the transaction with it.
            connection.terminate()

    async def _acquire(self) -> asyncpg.Connection:
        try:
            return await self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S)
        except (asyncpg.PostgresError, *LOST) as error:
            raise unavailable(error) from error

    async def _release(self, connection: asyncpg.Connection) -> None:
        await self._pool.release(connection)
