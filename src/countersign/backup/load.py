"""Restoring a backup into an empty database of either engine, all or nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
from pyrage import x25519

from countersign.backup import archive
from countersign.backup.archive import FORMAT, BadBackup, Content, Manifest, SavedTable, Summary
from countersign.storage.copying import Table, Target, open_target

Progress = Callable[[int, int], None]
"""Told how many rows are done, and of how many."""

BeforeCommit = Callable[["Restored"], None]
"""Told what is about to be committed; what it raises undoes everything."""

Change = Callable[[str, list[list[Any]]], list[list[Any]]]
"""May change rows of a table (its name first) on their way, or leave some out."""

_MAX_FILE = 1 << 30


class Restored(msgspec.Struct, frozen=True):
    """What was restored; ``files`` are in memory: the server secret, and the like."""

    manifest: Manifest
    summary: Summary
    files: dict[str, bytes]


def load(
    source: Path,
    keys: Sequence[x25519.Identity],
    database: str,
    *,
    change: Change = lambda name, rows: rows,
    before_commit: BeforeCommit = lambda restored: None,
    progress: Progress = lambda done, total: None,
) -> Restored:
    """Restore ``source`` into ``database`` (URL), which has to be new.

    Raises ``BadBackup``, ``NotEmpty``, ``OSError``, ``StorageUnavailable``, and ``ValueError`` when this version does
    not know the backup's schema; the database then holds nothing but, at the most, empty tables.
    """
    work = _Work(database, change, progress)
    try:
        with source.open("rb") as file:
            archive.read(file, keys, work.take)
        return work.finish(before_commit)
    except BaseException:
        work.abandon()
        raise


def read_manifest(source: Path, keys: Sequence[x25519.Identity]) -> Manifest:
    """The manifest alone. Raises ``BadBackup`` and ``OSError``."""

    class _Found(Exception):
        pass

    found: list[bytes] = []

    def take(_name: str, data: bytes) -> None:
        found.append(data)
        raise _Found

    try:
        with source.open("rb") as file:
            archive.read(file, keys, take)
    except _Found:
        return _manifest(found[0])
    raise BadBackup("the backup is empty")


def _manifest(data: bytes) -> Manifest:
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError:
        raise BadBackup("the backup's manifest is malformed, or of a later version") from None
    if manifest.format != FORMAT:
        raise BadBackup(f"the backup has the format {manifest.format!r}, this version reads {FORMAT!r}")
    return manifest


class _Running:
    """Digest and count of what came so far."""

    def __init__(self) -> None:
        self.count = 0
        self._digest = hashlib.sha256()

    def add(self, data: bytes, count: int) -> None:
        self._digest.update(data)
        self.count += count

    def content(self) -> Content:
        return Content(self.count, self._digest.hexdigest())


class _Work:
    """One restoration."""

    def __init__(self, database: str, change: Change, progress: Progress) -> None:
        self._database = database
        self._change = change
        self._progress = progress
        self._manifest: Manifest | None = None
        self._summary: Summary | None = None
        self._target: Target | None = None
        self._saved: dict[str, SavedTable] = {}
        self._tables: dict[str, _Running] = {}
        self._sums: dict[str, _Running] = {}
        self._files: dict[str, bytearray] = {}
        self._done = 0

    def take(self, name: str, data: bytes) -> None:
        """One member."""
        parts = PurePosixPath(name).parts
        if self._summary is not None:
            raise BadBackup("there is something behind the end of the backup")
        match parts:
            case ("manifest.json",) if self._manifest is None:
                self._begin(_manifest(data))
            case ("tables", table, _) if table in self._saved:
                self._rows(self._saved[table], data)
            case ("files", file, _) if self._manifest is not None:
                self._sums.setdefault(file, _Running()).add(data, len(data))
                if self._sums[file].count > _MAX_FILE:
                    raise BadBackup(f"the file {file} in the backup is too long")
                self._files.setdefault(file, bytearray()).extend(data)
            case ("summary.json",) if self._manifest is not None:
                try:
                    self._summary = msgspec.json.decode(data, type=Summary)
                except msgspec.MsgspecError:
                    raise BadBackup("the backup's summary is malformed") from None
            case _:
                raise BadBackup("the backup does not hold what a backup holds")

    def finish(self, before_commit: BeforeCommit) -> Restored:
        """Compare with the summary, and commit."""
        if self._manifest is None or self._summary is None or self._target is None:
            raise BadBackup("the backup is cut short")
        empty = _Running().content()
        tables = {name: self._tables[name].content() if name in self._tables else empty for name in self._saved}
        if tables != self._summary.tables:
            raise BadBackup("the rows of the backup are not those that were saved")
        files = {name: running.content() for name, running in self._sums.items()}
        if files != {name: content for name, content in self._summary.files.items() if content.count}:
            raise BadBackup("the files of the backup are not those that were saved")
        whole = {name: bytes(self._files.get(name, b"")) for name in self._summary.files}
        restored = Restored(self._manifest, self._summary, whole)
        before_commit(restored)
        target, self._target = self._target, None
        target.commit()
        return restored

    def abandon(self) -> None:
        """Undo what was written."""
        if self._target is not None:
            self._target.abandon()

    def _begin(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._target = open_target(self._database, manifest.migrations)
        known = {table.name: table for table in self._target.tables()}
        for saved in manifest.tables:
            table = known.get(saved.name)
            if table is None or not set(saved.columns) <= set(table.columns):
                raise BadBackup(f"the backup has a table or column that the schema has not: {saved.name}")
            self._saved[saved.name] = saved

    def _rows(self, saved: SavedTable, data: bytes) -> None:
        rows = archive.decode_rows(data, saved)
        self._tables.setdefault(saved.name, _Running()).add(data, len(rows))
        kept = self._change(saved.name, rows)
        if kept and self._target is not None:
            self._target.insert(Table(saved.name, saved.columns, saved.binary), kept)
        self._done += len(rows)
        if self._manifest is not None:
            self._progress(self._done, self._manifest.rows)
