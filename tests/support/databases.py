"""Fresh databases for tests, on either engine, each a copy of one that was migrated once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from countersign import storage
from countersign.storage import migrate, migrate_database
from tests.support import aio
from tests.support.postgres import PostgresMissing, PostgresServer

ENGINES = ("sqlite", "postgresql")
REQUIRE = "COUNTERSIGN_REQUIRE_POSTGRES"


class PostgresForTests:
    """The session's PostgreSQL server, started at its first use; one failed start is enough."""

    def __init__(self) -> None:
        self.missing: str | None = None
        self._server: PostgresServer | None = None

    def server(self) -> PostgresServer:
        """The running server; skips the test if there is none, or fails it where one is required."""
        if self._server is None and self.missing is None:
            try:
                self._server = PostgresServer.start(in_memory=True)
            except PostgresMissing as error:
                self.missing = str(error)
        if self._server is None:
            if os.environ.get(REQUIRE) == "1":
                pytest.fail(f"PostgreSQL is required here and cannot be had: {self.missing}", pytrace=False)
            pytest.skip(f"no PostgreSQL: {self.missing}")
        return self._server

    def stop(self) -> None:
        """Stop what was started."""
        if self._server is not None:
            self._server.stop()


def sqlite_template(directory: Path) -> Path:
    """A migrated SQLite file to copy."""
    path = directory / "template.db"
    aio.run(migrate_database(f"sqlite://{path}"))
    return path


def fresh_sqlite(template: Path, directory: Path) -> str:
    """The URL of a copy of the template."""
    path = directory / "countersign.db"
    shutil.copy(template, path)
    return f"sqlite://{path}"


def fresh_postgresql(server: PostgresServer) -> Iterator[str]:
    """The URL of a database that is dropped afterwards."""
    url = server.new_database()
    try:
        yield url
    finally:
        server.drop_database(url)


def as_left_by_an_earlier_version(url: str, *statements: str) -> str:
    """The same URL, of an empty database before, which now lacks the newest migration; with these statements run."""

    async def fill() -> None:
        session = await storage._schema_session(url, create=True)
        await migrate.apply(session, migrate.shipped()[:-1])
        for statement in statements:
            await session.begin()
            await session.script(statement)
            await session.commit()
        await session.close()

    aio.run(fill())
    return url
