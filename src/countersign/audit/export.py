"""Writing an organisation's log to a file that proves itself. Memory doesn't grow with the log."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from countersign.audit import lines, store
from countersign.audit.checkpoint import Checkpoint
from countersign.audit.entry import unpack_payload
from countersign.encoding import base64url, dates
from countersign.storage import Database, Row, Statement, Transaction

PAGE = 500
# A member of that name (canonical JSON has no other spelling of it) holds somebody's key behind a password, to be
# guessed by whoever has the file; it is for its owner alone, and its payload is left out of every export.
_WRAPPED_KEY = b'"encryptedPrivateKey":'

#: Opens a sealed payload: ``(sealed bytes, entry id) -> bytes``; raises ``ValueError`` when it can't.
OpenPayload = Callable[[bytes, str], bytes]
#: Told the entries written so far and how many there are to write.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: entries with a position, checkpoints, entries without a position."""

    entries: int
    checkpoints: int
    unsequenced: int


class _Writer:
    """Counts, hashes and writes lines."""

    def __init__(self, output: BinaryIO) -> None:
        self._output = output
        self._hash = hashlib.sha256()
        self.entries = 0
        self.checkpoints = 0
        self.unsequenced = 0

    def write(self, line: lines.Line) -> None:
        data = lines.encode_line(line)
        self._hash.update(data)
        self._output.write(data)

    def end(self) -> Exported:
        trailer = lines.Trailer(self.entries, self.checkpoints, self.unsequenced, self._hash.hexdigest())
        self._output.write(lines.encode_line(trailer))
        return Exported(self.entries, self.checkpoints, self.unsequenced)


def _rows(statement: Statement, *arguments: str | int) -> Transaction[tuple[Row, ...]]:
    rows = yield statement, arguments
    return tuple(rows)


def read_installation_id() -> Transaction[str | None]:
    """The id of the installation whose database this is."""
    rows = yield store.GET_INSTALLATION_ID, ()
    return rows[0][0] if rows else None


def read_checkpoint_keys() -> Transaction[tuple[lines.ExportedKey, ...]]:
    """Every checkpoint key there ever was, oldest first."""
    rows = yield store.LIST_CHECKPOINT_KEYS, ()
    return tuple(lines.ExportedKey(*row) for row in rows)


async def export(
    database: Database,
    installation_id: str,
    org_id: str,
    output: BinaryIO,
    *,
    now: int,
    open_payload: OpenPayload | None,
    progress: Progress = lambda done, total: None,
) -> Exported:
    """Write the whole log of ``org_id`` as it stands; without ``open_payload`` every payload is redacted,
    and one with somebody's encrypted private key always.

    What the sequencer does meanwhile is included: an entry that is committed before the export ends is
    in the file once, either at its position or as unsequenced. ``now``: milliseconds since the epoch.
    Raises ``ValueError`` when a payload doesn't open.
    """
    keys = await database.read(read_checkpoint_keys)
    writer = _Writer(output)
    writer.write(
        lines.Header(
            lines.EXPORT_FORMAT,
            installation_id,
            org_id,
            dates.to_iso(now),
            open_payload is None,
            keys,
        )
    )
    while True:
        rows = await database.read(partial(_rows, store.SIZE_AND_UNSEQUENCED, org_id, org_id))
        size = rows[0][0] or 0
        waiting = [row[1] for row in rows if row[1] is not None]
        if size <= writer.entries:
            break
        await _write_sequenced(database, installation_id, org_id, size, writer, open_payload, progress)
    for entry_id in waiting:
        (row,) = await database.read(partial(_rows, store.GET_ENTRY, org_id, entry_id))
        writer.write(lines.UnsequencedLine(row[0], _payload(row[1], entry_id, open_payload)))
        writer.unsequenced += 1
    return writer.end()


async def _write_sequenced(
    database: Database,
    installation_id: str,
    org_id: str,
    size: int,
    writer: _Writer,
    open_payload: OpenPayload | None,
    progress: Progress,
) -> None:
    while writer.entries < size:
        start, end = writer.entries, min(writer.entries + PAGE, size)
        leaves = await database.read(partial(_rows, store.LIST_LEAVES, org_id, start, end))
        rows = await database.read(partial(_rows, store.LIST_CHECKPOINTS, org_id, start, end))
        checkpoints = {row[0]: row for row in rows}
        for position, entry_id, text, stored_hash, sealed in leaves:
            # What the database says is exported even if it doesn't hold together: the verifier judges it.
            payload = _payload(sealed, entry_id, open_payload)
            writer.write(lines.EntryLine(position, text, bytes(stored_hash).hex(), payload))
            covering = checkpoints.get(position + 1)
            if covering is not None:
                _, root, _, kid, signature, created_at = covering
                note = Checkpoint(installation_id, org_id, position + 1, bytes(root), created_at).note()
                writer.write(lines.CheckpointLine(note, kid, base64url.encode(bytes(signature))))
                writer.checkpoints += 1
        writer.entries = end
        progress(end, size)


def _payload(sealed: bytes | None, entry_id: str, open_payload: OpenPayload | None) -> str | None:
    if sealed is None or open_payload is None:
        return None
    payload = unpack_payload(open_payload(bytes(sealed), entry_id)).canonical
    return None if _WRAPPED_KEY in payload else payload.decode("utf-8")
