"""Writing a backup: one snapshot of the database and the files beside it, encrypted as it is read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec
from pyrage import x25519

from countersign import __version__
from countersign.backup import archive
from countersign.backup.archive import Content, Head, Manifest, SavedTable, Summary
from countersign.encoding.dates import to_iso
from countersign.private_files import whole
from countersign.storage.copying import Source, Table, open_source

_PIECE = 1 << 20

Progress = Callable[[int, int], None]
"""Told how many rows are done, and of how many."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What a backup holds; ``size`` in bytes of the file."""

    manifest: Manifest
    summary: Summary
    size: int


class NothingToSave(Exception):
    """The database holds no installation."""


def save(
    database: str,
    files: Mapping[str, Path],
    recipients: Sequence[x25519.Recipient],
    output: Path,
    *,
    now: int,
    progress: Progress = lambda done, total: None,
) -> Saved:
    """Write a backup of ``database`` (URL) and ``files`` (those that exist) to ``output``, which must not exist.

    It appears under its name when it is whole and on disk, mode 0600; until then it is a ``.part`` file beside it, one
    for each run. ``now``: milliseconds since the epoch. Raises ``FileExistsError``, ``NothingToSave``, ``OSError``,
    ``StorageUnavailable``.
    """
    if output.exists():
        raise FileExistsError(17, os.strerror(17), str(output))
    if not output.parent.is_dir():
        raise FileNotFoundError(2, os.strerror(2), str(output.parent))
    with closing(open_source(database)) as source:
        work = _Work(source, files, now, progress)
        with whole(output, replace=False) as file:
            archive.write(file, recipients, work.pieces())
            size = file.tell()
    return Saved(work.manifest, work.summary, size)


class _Work:
    """One run; ``manifest`` and ``summary`` are there once ``pieces`` has ended."""

    def __init__(self, source: Source, files: Mapping[str, Path], now: int, progress: Progress) -> None:
        self._source = source
        self._files = files
        self._now = now
        self._progress = progress
        self._tables = source.tables()
        total = sum(source.count(table) for table in self._tables)
        self.manifest = _manifest(source, self._tables, total, now)
        self.summary = Summary({}, {})
        self._done = 0

    def pieces(self) -> Iterator[bytes]:
        """The tar file, a member at a time."""
        yield self._member("manifest.json", msgspec.json.encode(self.manifest))
        for table in self._tables:
            yield from self._table(table)
        for name, path in self._files.items():
            if path.exists():
                yield from self._file(name, path)
        yield self._member("summary.json", msgspec.json.encode(self.summary))
        yield archive.end()

    def _table(self, table: Table) -> Iterator[bytes]:
        digest, count = hashlib.sha256(), 0
        for number, rows in enumerate(self._source.rows(table), 1):
            data = archive.encode_rows(rows)
            digest.update(data)
            count += len(rows)
            yield self._member(f"tables/{table.name}/{number:06d}.jsonl", data)
            self._done += len(rows)
            self._progress(self._done, self.manifest.rows)
        self.summary.tables[table.name] = Content(count, digest.hexdigest())

    def _file(self, name: str, path: Path) -> Iterator[bytes]:
        digest, count, number = hashlib.sha256(), 0, 0
        with path.open("rb") as file:
            while data := file.read(_PIECE):
                number += 1
                digest.update(data)
                count += len(data)
                yield self._member(f"files/{name}/{number:06d}", data)
        self.summary.files[name] = Content(count, digest.hexdigest())

    def _member(self, name: str, data: bytes) -> bytes:
        return archive.member(name, data, self._now // 1000)


def _manifest(source: Source, tables: Sequence[Table], total: int, now: int) -> Manifest:
    by_name = {table.name: table for table in tables}
    installation: dict[str, str] = {}
    for rows in source.rows(_columns(by_name["installation"], "name", "value")):
        installation.update({row[0]: row[1] for row in rows})
    if "installation_id" not in installation:
        raise NothingToSave("the database holds no installation; there is nothing to back up")
    heads: dict[str, tuple[int, bytes]] = {}
    for rows in source.rows(_columns(by_name["audit_checkpoints"], "org_id", "size", "root_hash")):
        for org_id, size, root in rows:
            if size > heads.get(org_id, (-1, b""))[0]:
                heads[org_id] = size, bytes(root)
    return Manifest(
        program=__version__,
        created_at=to_iso(now),
        installation_id=installation["installation_id"],
        engine=source.engine,
        migrations=source.migrations,
        tables=tuple(SavedTable(table.name, table.columns, table.binary) for table in tables),
        rows=total,
        audit_heads=tuple(Head(org_id, size, root.hex()) for org_id, (size, root) in sorted(heads.items())),
    )


def _columns(table: Table, *names: str) -> Table:
    return Table(table.name, names, ())
