"""Bring a database to the schema of this version: numbered SQL files, checksummed, forward only.

Each file of ``migrations/`` is applied in one transaction, together with its row in
``schema_migrations``. The row is inserted first: its primary key is what makes a second process that
migrates at the same time wait, and then find the work done; neither engine needs a lock of its own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal, Protocol

from countersign.encoding.counted import counted
from countersign.storage.database import StorageUnavailable
from countersign.storage.transaction import Row
from countersign.world import World

_FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")


class SchemaError(Exception):
    """The schema of the database is not one that this version can work with."""


class SchemaOutdated(SchemaError):
    """Migrations are missing; ``names`` in the order in which they will be applied."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"the database lacks {counted(len(names), 'migration')}; run `countersign migrate`")
        self.names = names


class SchemaNewer(SchemaError):
    """The database was migrated by a later version of the program."""

    def __init__(self, version: int) -> None:
        super().__init__(
            f"the database has migration {version:04d}, which this version does not know; install the later version"
            " again, or restore the backup that was made before the upgrade"
        )
        self.version = version


class SchemaChanged(SchemaError):
    """An applied migration differs from the file of the same number."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"migration {name} was applied in another form than this version has it: the database is of a development"
            " version that no later one takes up, or the program's files were changed"
        )
        self.name = name


class SchemaInUse(SchemaError):
    """A server of the version before works on the database; it does not know the schema to come."""

    def __init__(self) -> None:
        super().__init__("a server has this database open; stop every server that works on it first")


class MigrationFailed(SchemaError):
    """The database refused a migration; nothing of that one was kept."""

    def __init__(self, name: str, error: Exception) -> None:
        # The first line alone: PostgreSQL's further ones hold values of rows.
        why = (str(error).splitlines() or [type(error).__name__])[0]
        super().__init__(f"migration {name} failed and was undone: {why}")
        self.name = name


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file; ``checksum`` is the SHA-256 of its bytes, lower-case hex."""

    version: int
    name: str
    sql: str
    checksum: str


Tell = Callable[[str, Literal["applying", "applied", "applied elsewhere"]], None]
"""Told the name of each migration twice: before it is applied, and after. ``applied elsewhere``: another process has
done it in the meantime."""


class SchemaSession(Protocol):
    """One connection of an engine, for DDL only."""

    async def has_table(self, name: str) -> bool:
        """Whether the table exists in this database."""
        ...

    async def create_if_missing(self, sql: str) -> None:
        """Run a ``CREATE TABLE IF NOT EXISTS`` that others may run at the same moment."""
        ...

    async def begin(self) -> None:
        """Begin a write transaction."""
        ...

    async def fetch(self, sql: str, arguments: Sequence[Any] = ()) -> Sequence[Row]:
        """Run one statement with ``?`` placeholders."""
        ...

    async def script(self, sql: str) -> None:
        """Run several statements inside the open transaction."""
        ...

    async def commit(self) -> None:
        """Make it durable."""
        ...

    async def rollback(self) -> None:
        """Undo the open transaction."""
        ...

    async def close(self) -> None:
        """Close the connection."""
        ...


_CREATE = """CREATE TABLE IF NOT EXISTS schema_migrations (
    version BIGINT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at BIGINT NOT NULL
)"""
_CLAIM = (
    "INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (version) DO NOTHING RETURNING version"
)


@cache
def shipped() -> tuple[Migration, ...]:
    """The migrations of this version in order of their numbers."""
    found = []
    for entry in resources.files("countersign.storage").joinpath("migrations").iterdir():
        if match := _FILE_NAME.fullmatch(entry.name):
            found.append(migration(int(match[1]), match[2], entry.read_bytes()))
    return tuple(sorted(found, key=lambda each: each.version))


def migration(version: int, name: str, content: bytes) -> Migration:
    """A migration from the bytes of its file."""
    return Migration(version, name, content.decode(), hashlib.sha256(content).hexdigest())


async def pending(session: SchemaSession, known: Sequence[Migration] | None = None) -> list[str]:
    """Names (``0001_initial``) of what is not applied. Raises ``SchemaNewer``, ``SchemaChanged``."""
    return [_label(each) for each in await _missing(session, shipped() if known is None else known)]


async def apply(
    session: SchemaSession, known: Sequence[Migration] | None = None, tell: Tell = lambda name, stage: None
) -> list[str]:
    """Apply what is missing, each file in one transaction; answers what this call applied.

    Raises ``SchemaNewer`` and ``SchemaChanged`` before anything is changed, and ``MigrationFailed`` and
    ``StorageUnavailable`` for a migration that was undone; those before it stay.
    """
    known = shipped() if known is None else known
    applied: list[str] = []
    if not await _missing(session, known):
        return applied
    await session.create_if_missing(_CREATE)
    while missing := await _missing(session, known):
        name = _label(missing[0])
        tell(name, "applying")
        if await _apply_one(session, missing[0]):
            applied.append(name)
            tell(name, "applied")
        else:
            tell(name, "applied elsewhere")
    return applied


async def _apply_one(session: SchemaSession, one: Migration) -> bool:
    await session.begin()
    try:
        claimed = await session.fetch(_CLAIM, (one.version, one.name, one.checksum, World().now()))
        if claimed:
            await session.script(one.sql)
    except BaseException as error:
        await session.rollback()
        if isinstance(error, Exception) and not isinstance(error, StorageUnavailable):
            raise MigrationFailed(_label(one), error) from error
        raise
    await session.commit()
    return bool(claimed)


async def _missing(session: SchemaSession, known: Sequence[Migration]) -> list[Migration]:
    if not await session.has_table("schema_migrations"):
        return list(known)
    by_version = {each.version: each for each in known}
    rows = await session.fetch("SELECT version, checksum FROM schema_migrations ORDER BY version")
    for version, checksum in rows:
        if version not in by_version:
            raise SchemaNewer(version)
        if by_version[version].checksum != checksum:
            raise SchemaChanged(_label(by_version[version]))
    done = {row[0] for row in rows}
    return [each for each in known if each.version not in done]


def _label(one: Migration) -> str:
    return f"{one.version:04d}_{one.name}"
