"""Rows by the million, put straight into a database that no server has open."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import asyncpg

from bench.scale import bulk

Row = Sequence[Any]


class Filling(Protocol):
    """An open database. Texts of statements hold no placeholders."""

    def one(self, sql: str) -> Row:
        """The first row of a query."""
        ...

    def run(self, sql: str) -> None:
        """Run a statement."""
        ...

    def insert(self, table: str, columns: str, rows: list[tuple[Any, ...]]) -> None:
        """Add rows; ``columns`` separated by blanks."""
        ...


@contextmanager
def filling(url: str) -> Iterator[Filling]:
    """Open a database; what was put in is there for good, and the engine knows how much it is, when this ends."""
    if url.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite://"))
        with bulk(path) as connection:
            connection.execute("BEGIN")
            yield _Sqlite(connection)
            connection.execute("COMMIT")
        _settle(path)
        return
    runner = asyncio.Runner()
    connection = runner.run(asyncpg.connect(url))
    postgresql = _Postgresql(connection, runner)
    postgresql.run("SET synchronous_commit = off")
    yield postgresql
    postgresql.run("VACUUM ANALYZE")
    postgresql.run("CHECKPOINT")
    runner.run(connection.close())
    runner.close()


def _settle(path: Path) -> None:
    """Have what was put in on the disk, so that no commit waits for it, and in the memory of the system."""
    os.sync()
    with path.open("rb") as file:
        while file.read(1 << 24):
            pass


class _Sqlite:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def one(self, sql: str) -> Row:
        row: Row = self._connection.execute(sql).fetchone()
        return row

    def run(self, sql: str) -> None:
        self._connection.execute(sql)

    def insert(self, table: str, columns: str, rows: list[tuple[Any, ...]]) -> None:
        names = columns.split()
        places = ", ".join("?" * len(names))
        self._connection.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})", rows)


class _Postgresql:
    def __init__(self, connection: asyncpg.Connection, runner: asyncio.Runner) -> None:
        self._connection = connection
        self._runner = runner

    def one(self, sql: str) -> Row:
        row: Row = self._runner.run(self._connection.fetchrow(sql))
        return row

    def run(self, sql: str) -> None:
        self._runner.run(self._connection.execute(sql))

    def insert(self, table: str, columns: str, rows: list[tuple[Any, ...]]) -> None:
        self._runner.run(self._connection.copy_records_to_table(table, records=rows, columns=columns.split()))
