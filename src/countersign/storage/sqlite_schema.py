"""The connection that migrates a SQLite database, and how every SQLite connection is opened."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from countersign.storage.database import StorageUnavailable
from countersign.storage.transaction import Row

BUSY_TIMEOUT_MS = 5000
"""How long to wait for another process that holds the write lock."""


def connect(path: str, *pragmas: str) -> sqlite3.Connection:
    """Open an existing database file in autocommit mode. Raises ``StorageUnavailable``.

    Autocommit, because transactions are begun and ended by us alone. The connection may move between
    threads (the caller sees to it that one at a time uses it).
    """
    try:
        connection = sqlite3.connect(
            f"{Path(path).as_uri()}?mode=rw",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=1024,
        )
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").fetchall()
    except sqlite3.Error as error:
        raise unavailable(error, "cannot be opened") from error
    return connection


# Primary result codes that mean "not now" and no defect of the statement (https://sqlite.org/rescode.html).
_CANNOT = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "the database is read-only",
    sqlite3.SQLITE_IOERR: "the disk answers with an I/O error",
    sqlite3.SQLITE_CANTOPEN: "the database file, or one beside it, cannot be opened or made",
    sqlite3.SQLITE_PERM: "the database file may not be accessed",
    sqlite3.SQLITE_BUSY: "another process holds the database",
    sqlite3.SQLITE_LOCKED: "another connection holds the database",
    sqlite3.SQLITE_PROTOCOL: "another process holds the database",
    sqlite3.SQLITE_NOMEM: "out of memory",
    sqlite3.SQLITE_CORRUPT: "the database file is damaged",
    sqlite3.SQLITE_NOTADB: "the file is not a database",
}


def cannot(error: sqlite3.Error) -> str | None:
    """Why the engine cannot work now, or None if the statement itself is at fault."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else _CANNOT.get(code & 0xFF)


def unavailable(error: sqlite3.Error, doing: str, *, unknown_outcome: bool = False) -> StorageUnavailable:
    """The error as a ``StorageUnavailable`` that says what could not be done and why."""
    reason = cannot(error) or "the database failed"
    return StorageUnavailable(f"the database {doing}: {reason}", unknown_outcome=unknown_outcome)


def in_use(path: str) -> bool:
    """Whether another process has the database file open; one that was killed has not."""
    if not Path(path).exists():
        return False
    # Whoever has a database in WAL mode open holds a shared lock on its file, which this one would have to be without.
    try:
        connection = connect(path, "busy_timeout=0", "locking_mode=EXCLUSIVE")
        try:
            connection.execute("BEGIN IMMEDIATE")
        finally:
            connection.close()
    except sqlite3.Error as error:
        return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
    return False


# What a migration says to this engine alone; to others it is a comment.
_ONLY_HERE = re.compile(r"/\* SQLite: (.*?) \*/")


class SqliteSchemaSession:
    """A ``SchemaSession`` over one connection.

    ``create`` makes a missing file, readable by its owner alone; without it a missing file is read
    as an empty database, and nothing is made.
    """

    def __init__(self, path: str, *, create: bool) -> None:
        if create:
            self._create(path)
        if not create and not Path(path).exists():
            self._connection = sqlite3.connect(":memory:", isolation_level=None)
            return
        pragmas = [f"busy_timeout={BUSY_TIMEOUT_MS}"]
        # Only one that may write can turn WAL on; it is a property of the file from then on.
        if create:
            pragmas += ["journal_mode=WAL", "synchronous=FULL"]
        self._connection = connect(path, *pragmas)

    @staticmethod
    def _create(path: str) -> None:
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise StorageUnavailable(f"the database file {path} cannot be made: {error.strerror}") from error

    async def has_table(self, name: str) -> bool:
        """Whether the table exists."""
        return bool(await self.fetch("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", (name,)))

    async def create_if_missing(self, sql: str) -> None:
        """Run the statement; SQLite itself makes simultaneous ones wait."""
        await self.fetch(sql)

    async def begin(self) -> None:
        """Take the write lock, waiting for the process that holds it."""
        await self.fetch("BEGIN IMMEDIATE")

    async def fetch(self, sql: str, arguments: Sequence[Any] = ()) -> Sequence[Row]:
        """Run one statement. Raises ``StorageUnavailable``."""
        try:
            return self._connection.execute(sql, arguments).fetchall()
        except sqlite3.Error as error:
            if cannot(error) is None:
                raise
            raise unavailable(error, "cannot be migrated") from error

    async def script(self, sql: str) -> None:
        """Run the statements one by one: ``executescript`` would commit first.

        A comment ``/* SQLite: TEXT */`` is run as ``TEXT``.
        """
        statement = ""
        for line in _ONLY_HERE.sub(r"\1", sql).splitlines(keepends=True):
            statement += line
            if sqlite3.complete_statement(statement):
                await self.fetch(statement)
                statement = ""
        await self.fetch(statement)

    async def commit(self) -> None:
        """Make it durable."""
        await self.fetch("COMMIT")

    async def rollback(self) -> None:
        """Undo the open transaction, unless the engine has done so already."""
        if self._connection.in_transaction:
            await self.fetch("ROLLBACK")

    async def close(self) -> None:
        """Close the connection."""
        self._connection.close()
