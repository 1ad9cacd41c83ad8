"""Storage: one schema on two engines, SQLite (embedded) and PostgreSQL.

A domain writes its statements in ``store.py`` as ``Statement`` values and its transactions as plain
generators (``countersign.storage.transaction``); ``open_database`` gives the engine that runs them.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from countersign.storage.database import ConstraintViolated, Database, Statistics, StorageUnavailable, Timeouts
from countersign.storage.migrate import (
    SchemaChanged,
    SchemaError,
    SchemaInUse,
    SchemaNewer,
    SchemaOutdated,
    SchemaSession,
    Tell,
    apply,
    pending,
)
from countersign.storage.transaction import Row, Statement, T, Transaction

__all__ = [
    "ConstraintViolated",
    "Database",
    "Row",
    "SchemaChanged",
    "SchemaError",
    "SchemaInUse",
    "SchemaNewer",
    "SchemaOutdated",
    "Statement",
    "Statistics",
    "StorageUnavailable",
    "Tell",
    "Timeouts",
    "Transaction",
    "migrate_database",
    "open_database",
    "pending_migrations",
    "read_unmigrated",
]

_SQLITE = "sqlite://"
_POSTGRESQL = ("postgresql://", "postgres://")


async def open_database(
    url: str,
    *,
    migrate: bool,
    readonly: bool = False,
    timeouts: Timeouts | None = None,
    tell: Tell = lambda name, stage: None,
) -> Database:
    """Open ``sqlite:///absolute/path.db`` or ``postgresql://user@host:port/name``.

    ``migrate`` brings the schema up to date first (and creates a missing SQLite file, mode 0600), and ``tell`` hears of
    it; without it an outdated schema raises ``SchemaOutdated``. ``readonly`` refuses every write. ``timeouts`` are
    PostgreSQL's, the usual ones where none are given; migrations have none.
    Raises ``StorageUnavailable`` if the database cannot be reached or its file is missing, ``SchemaError``
    if its schema is not one this version can use, ``ValueError`` for another kind of URL.
    """
    if migrate:
        await migrate_database(url, tell)
    else:
        _require_file(url)
        if missing := await pending_migrations(url):
            raise SchemaOutdated(missing)
    if url.startswith(_SQLITE):
        from countersign.storage.sqlite import SqliteDatabase

        return SqliteDatabase.open(_sqlite_path(url), readonly=readonly)
    from countersign.storage.postgresql import PostgresqlDatabase

    return await PostgresqlDatabase.open(url, readonly=readonly, timeouts=timeouts or Timeouts())


async def migrate_database(
    url: str, tell: Tell = lambda name, stage: None, *, unless_in_use: bool = False
) -> list[str]:
    """Apply what is missing; answers the names of the migrations applied by this call.

    ``unless_in_use`` raises ``SchemaInUse`` where something is missing and a server has the database open.
    """
    if unless_in_use and await pending_migrations(url) and await _in_use(url):
        raise SchemaInUse
    session = await _schema_session(url, create=True)
    try:
        return await apply(session, tell=tell)
    finally:
        await session.close()


async def pending_migrations(url: str) -> list[str]:
    """The names of the migrations not yet applied; changes nothing."""
    session = await _schema_session(url, create=False)
    try:
        return await pending(session)
    finally:
        await session.close()


async def read_unmigrated(url: str, table: str, make: Callable[[], Transaction[T]]) -> T | None:
    """Run statements that read ``table``, whatever the schema is; ``None`` where there is no such table or no database.

    For what has to be known before anything is migrated. Changes nothing.
    """
    session = await _schema_session(url, create=False)
    try:
        if not await session.has_table(table):
            return None
        transaction = make()
        statement, arguments = next(transaction)
        while True:
            statement, arguments = transaction.send(await session.fetch(statement.sql, arguments))
    except StopIteration as end:
        value: T = end.value
        return value
    finally:
        await session.close()


async def _in_use(url: str) -> bool:
    if url.startswith(_SQLITE):
        from countersign.storage import sqlite_schema

        return sqlite_schema.in_use(_sqlite_path(url))
    from countersign.storage import postgresql_schema

    return await postgresql_schema.in_use(url)


async def _schema_session(url: str, *, create: bool) -> SchemaSession:
    # Each engine's driver is loaded only where it is used: a cold start with SQLite needs no asyncpg.
    if url.startswith(_SQLITE):
        from countersign.storage.sqlite_schema import SqliteSchemaSession

        return SqliteSchemaSession(_sqlite_path(url), create=create)
    if url.startswith(_POSTGRESQL):
        from countersign.storage.postgresql_schema import PostgresqlSchemaSession

        return await PostgresqlSchemaSession.connect(url)
    raise ValueError("a database URL starts with sqlite:/// or postgresql://")


def _require_file(url: str) -> None:
    if url.startswith(_SQLITE) and not os.path.lexists(path := _sqlite_path(url)):
        raise StorageUnavailable(
            f"there is no database file {path}: name the settings with --config, a sandbox with --data, or run"
            " 'countersign init' first"
        )


def _sqlite_path(url: str) -> str:
    path = url.removeprefix(_SQLITE)
    if not path.startswith("/"):
        raise ValueError("a SQLite URL holds an absolute path: sqlite:///path/to/file.db")
    # With four slashes, as others write it, the same path.
    return f"/{path.lstrip('/')}"
