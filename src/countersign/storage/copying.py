"""A whole database read as one snapshot, and written into an empty one of either engine: backup and restore.

These run in commands, not in the server, so they are synchronous. Rows travel in batches: memory does not grow with
the database.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from countersign.storage.database import StorageUnavailable
from countersign.storage.migrate import Migration, SchemaSession, apply, shipped
from countersign.storage.sqlite_schema import BUSY_TIMEOUT_MS, SqliteSchemaSession, connect, unavailable
from countersign.storage.transaction import Row, Statement

BATCH = 1000
_NOT_COPIED = ("schema_migrations", "leases")
_SQLITE = "sqlite://"
_NOT_EMPTY = "the database to restore into is not empty; name a new one"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the schema; ``binary`` are the positions of the columns that hold bytes."""

    name: str
    columns: tuple[str, ...]
    binary: tuple[int, ...]


class Source(Protocol):
    """One snapshot of a database: what is committed later is not seen."""

    engine: str
    migrations: tuple[str, ...]
    """Names of the migrations that were applied, such as ``0001``: ``version:checksum``, in order."""

    def tables(self) -> list[Table]:
        """The tables that are copied, by name."""
        ...

    def count(self, table: Table) -> int:
        """How many rows it has."""
        ...

    def rows(self, table: Table) -> Iterator[Sequence[Row]]:
        """Its rows in batches, in no particular order."""
        ...

    def close(self) -> None:
        """Let the snapshot go."""
        ...


class Target(Protocol):
    """An empty database being filled, in one transaction: nothing is there before ``commit``."""

    def tables(self) -> list[Table]:
        """The tables that can be filled, by name."""
        ...

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Add rows, in the order of ``table.columns``."""
        ...

    def commit(self) -> None:
        """Make it durable and close."""
        ...

    def abandon(self) -> None:
        """Undo everything and close."""
        ...


class NotEmpty(Exception):
    """The database to restore into holds something already."""


def open_source(url: str) -> Source:
    """Take a snapshot of a database. Raises ``StorageUnavailable`` and ``ValueError`` for another kind of URL."""
    return _SqliteSource(url.removeprefix(_SQLITE)) if url.startswith(_SQLITE) else _PostgresqlSource(url)


def open_target(url: str, migrations: Sequence[str]) -> Target:
    """Make the schema that ``migrations`` (of the source) gives, in a database without one.

    Raises ``NotEmpty``, ``StorageUnavailable``, and ``ValueError`` when this version does not know that schema.
    """
    known = _same_schema(migrations)
    if url.startswith(_SQLITE):
        return _SqliteTarget(url.removeprefix(_SQLITE), known)
    return _PostgresqlTarget(url, known)


def _same_schema(migrations: Sequence[str]) -> tuple[Migration, ...]:
    known = shipped()[: len(migrations)]
    if [_label(each.version, each.checksum) for each in known] != list(migrations):
        raise ValueError("the backup's schema is not one this version knows; restore with the version that made it")
    return known


def _label(version: int, checksum: str) -> str:
    return f"{version:04d}:{checksum}"


def _insert(table: Table) -> str:
    columns, places = ", ".join(table.columns), ", ".join("?" * len(table.columns))
    return f"INSERT INTO {table.name} ({columns}) VALUES ({places})"  # noqa: S608 - names of our own schema


def _select(table: Table) -> str:
    return f"SELECT {', '.join(table.columns)} FROM {table.name}"  # noqa: S608 - names of our own schema


_LIST_MIGRATIONS = "SELECT version, checksum FROM schema_migrations ORDER BY version"


def _sqlite_tables(connection: sqlite3.Connection) -> list[Table]:
    names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
    found = []
    for (name,) in names:
        if name in _NOT_COPIED or name.startswith("sqlite_"):
            continue
        columns = connection.execute("SELECT name, type FROM pragma_table_info(?) ORDER BY cid", (name,)).fetchall()
        binary = tuple(index for index, (_, kind) in enumerate(columns) if kind == "BYTEA")
        found.append(Table(name, tuple(column for column, _ in columns), binary))
    return found


class _SqliteSource:
    engine = "sqlite"

    def __init__(self, path: str) -> None:
        # Not query_only from the start of the file: a WAL database that nobody has open needs its index made.
        self._connection = connect(path, f"busy_timeout={BUSY_TIMEOUT_MS}", "query_only=ON")
        try:
            self._connection.execute("BEGIN")
            rows = self._connection.execute(_LIST_MIGRATIONS).fetchall()
        except sqlite3.Error as error:
            self._connection.close()
            raise unavailable(error, "cannot be read") from error
        self.migrations = tuple(_label(*row) for row in rows)

    def tables(self) -> list[Table]:
        return _sqlite_tables(self._connection)

    def count(self, table: Table) -> int:
        return int(self._connection.execute(f"SELECT COUNT(*) FROM {table.name}").fetchone()[0])  # noqa: S608

    def rows(self, table: Table) -> Iterator[Sequence[Row]]:
        try:
            cursor = self._connection.execute(_select(table))
            while rows := cursor.fetchmany(BATCH):
                yield rows
        except sqlite3.Error as error:
            raise unavailable(error, "cannot be read") from error

    def close(self) -> None:
        self._connection.close()


class _SqliteTarget:
    def __init__(self, path: str, known: Sequence[Migration]) -> None:
        session = SqliteSchemaSession(path, create=True)
        asyncio.run(_prepare(session, known))
        # The file is worth nothing before it is whole, so nothing is synchronised before the end.
        self._connection = connect(path, f"busy_timeout={BUSY_TIMEOUT_MS}")
        self._run("BEGIN IMMEDIATE")
        if self._connection.execute("SELECT name FROM installation").fetchone() is not None:
            # Somebody else was faster since it was looked at.
            self.abandon()
            raise NotEmpty(_NOT_EMPTY)
        _empty_tables(self._connection)

    def tables(self) -> list[Table]:
        return _sqlite_tables(self._connection)

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        try:
            self._connection.executemany(_insert(table), rows)
        except sqlite3.Error as error:
            raise unavailable(error, "cannot be written") from error

    def commit(self) -> None:
        self._run("COMMIT")
        self._run("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()

    def abandon(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._connection.close()

    def _run(self, sql: str) -> None:
        try:
            self._connection.execute(sql)
        except sqlite3.Error as error:
            raise unavailable(error, "cannot be written") from error


def _empty_tables(connection: sqlite3.Connection) -> None:
    """What a migration itself inserts comes from the backup instead."""
    for table in _sqlite_tables(connection):
        connection.execute(f"DELETE FROM {table.name}")  # noqa: S608 - names of our own schema


async def _prepare(session: SchemaSession, known: Sequence[Migration]) -> None:
    try:
        # An attempt that was abandoned may have left its empty tables.
        if await session.has_table("installation") and await session.fetch("SELECT name FROM installation"):
            raise NotEmpty(_NOT_EMPTY)
        await apply(session, known)
    finally:
        await session.close()


class _Postgresql:
    """A connection driven from synchronous code."""

    def __init__(self, url: str) -> None:
        import asyncpg

        from countersign.storage.postgresql_schema import CONNECT_TIMEOUT_S, LOST
        from countersign.storage.postgresql_schema import unavailable as postgresql_unavailable

        self._runner = asyncio.Runner()
        self._failures: tuple[type[BaseException], ...] = (asyncpg.PostgresError, *LOST)
        self._unavailable = postgresql_unavailable
        try:
            # A cached FETCH would answer the next cursor of that name with the columns of the one before.
            connecting = asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S, statement_cache_size=0)
            self._connection = self.wait(connecting)
        except StorageUnavailable:
            self._runner.close()
            raise

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        async def run() -> T:
            return await work

        try:
            return self._runner.run(run())
        except self._failures as error:
            raise self._unavailable(error) from error

    def fetch(self, sql: str, *arguments: Any) -> Sequence[Row]:
        return self.wait(self._connection.fetch(sql, *arguments))

    def execute(self, sql: str) -> None:
        self.wait(self._connection.execute(sql))

    def tables(self) -> list[Table]:
        rows = self.fetch(
            "SELECT table_name, column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = current_schema() ORDER BY table_name, ordinal_position"
        )
        columns: dict[str, list[tuple[str, str]]] = {}
        for table, column, kind in rows:
            if table not in _NOT_COPIED:
                columns.setdefault(table, []).append((column, kind))
        return [
            Table(
                name,
                tuple(column for column, _ in found),
                tuple(index for index, (_, kind) in enumerate(found) if kind == "bytea"),
            )
            for name, found in sorted(columns.items())
        ]

    def close(self) -> None:
        self.wait(self._connection.close())
        self._runner.close()


class _PostgresqlSource(_Postgresql):
    engine = "postgresql"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        self.migrations = tuple(_label(*row) for row in self.fetch(_LIST_MIGRATIONS))

    def count(self, table: Table) -> int:
        return int(self.fetch(f"SELECT COUNT(*) FROM {table.name}")[0][0])  # noqa: S608 - names of our own schema

    def rows(self, table: Table) -> Iterator[Sequence[Row]]:
        self.execute(f"DECLARE copied NO SCROLL CURSOR FOR {_select(table)}")
        while rows := self.fetch(f"FETCH {BATCH} FROM copied"):
            yield [tuple(row) for row in rows]
        self.execute("CLOSE copied")


class _PostgresqlTarget(_Postgresql):
    def __init__(self, url: str, known: Sequence[Migration]) -> None:
        super().__init__(url)
        from countersign.storage.postgresql_schema import PostgresqlSchemaSession

        try:
            session = self.wait(PostgresqlSchemaSession.connect(url))
            self.wait(_prepare(session, known))
            # One snapshot: what somebody else puts in from here on is not deleted below, and has our rows refused.
            self.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            if self.fetch("SELECT name FROM installation"):
                raise NotEmpty(_NOT_EMPTY)
            for table in self.tables():
                self.execute(f"DELETE FROM {table.name}")  # noqa: S608 - names of our own schema
        except BaseException:
            self.close()
            raise

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        sql = Statement("restore", _insert(table)).numbered
        self.wait(self._connection.executemany(sql, rows))

    def commit(self) -> None:
        self.execute("COMMIT")
        self.close()

    def abandon(self) -> None:
        self.execute("ROLLBACK")
        self.close()
