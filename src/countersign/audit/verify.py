"""Checking an export offline: no server, no database, nothing believed but a fingerprint (and an earlier checkpoint).

Two passes. The first is cheap and sees every line: format, positions, leaf hashes, roots, checkpoint
signatures, what has to hold between entries. The second checks each consent's evidence, on all cores.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import msgspec

from countersign.audit import lines
from countersign.audit.checkpoint import (
    PublishedKey,
    fingerprint,
    parse_note,
    trusted_keys,
)
from countersign.audit.entry import Entry, EntryError, decode
from countersign.audit.evidence import MAX_LINE, Chunk, check_chunks, check_lines
from countersign.audit.facts import Facts, Ids
from countersign.audit.merkle import Builder, leaf_hash
from countersign.audit.report import Broken, Finding, Sound, Summary, Unreadable
from countersign.credentials import ed25519
from countersign.encoding import base64url
from countersign.encoding.counted import counted

LINES_PER_CHUNK = 1000

#: Told the stage ("structure", "consent"), how much of it is done and how much there is.
Progress = Callable[[str, int, int], None]


class _DefectError(Exception):
    """Ends the first pass; carries the finding."""

    def __init__(self, finding: Broken | Unreadable) -> None:
        super().__init__(finding.reason)
        self.finding = finding


@dataclass(slots=True)
class _Pass:
    """State of the first pass over the lines."""

    header: lines.Header
    keys: dict[str, PublishedKey]
    saved: tuple[int, bytes] | None
    summary: Summary
    facts: Facts
    tree: Builder = field(default_factory=Builder)
    chunks: list[Chunk] = field(default_factory=list)
    #: Where the entries since the last checkpoint begin.
    uncovered: Chunk | None = None
    last: lines.CheckpointLine | None = None
    last_size: int = 0
    tail: bool = False
    trailer: lines.Trailer | None = None
    altered: Broken | None = None


def read_saved(data: bytes) -> lines.SavedCheckpoint:
    """Read a saved checkpoint and check its own signature; ``ValueError`` says what is wrong with it."""
    try:
        saved = msgspec.json.decode(data, type=lines.SavedCheckpoint)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a saved checkpoint: {error}") from None
    if saved.format != lines.CHECKPOINT_FORMAT:
        raise ValueError(f"not a saved checkpoint of format {lines.CHECKPOINT_FORMAT}")
    parse_note(saved.note)
    key, signature = base64url.decode(saved.public_key), base64url.decode(saved.signature)
    if not ed25519.holds(key, saved.note.encode("utf-8"), signature):
        raise ValueError("the saved checkpoint's signature doesn't hold")
    return saved


def verify_file(
    path: Path,
    *,
    trusted_fingerprint: str | None,
    saved: lines.SavedCheckpoint | None = None,
    processes: int | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> Finding:
    """Check the export at ``path``.

    ``trusted_fingerprint``: of the server's checkpoint key, learnt out of band; ``None`` leaves the result
    self-consistent only. ``saved``: a checkpoint of the same log kept earlier (from :func:`read_saved`).
    ``processes``: workers of the second pass, by default one for each processor.
    """
    try:
        total = path.stat().st_size
        with path.open("rb") as file:
            state = _first_pass(file, total, saved, progress)
        return _second_pass(state, path, trusted_fingerprint, processes, progress)
    except _DefectError as bad:
        return bad.finding
    except OSError as error:
        return Unreadable(f"{path}: {error.strerror}")


def _first_pass(file: BinaryIO, total: int, saved: lines.SavedCheckpoint | None, progress: Progress) -> _Pass:
    raw = file.readline(MAX_LINE)
    state = _begin(raw, saved)
    digest = hashlib.sha256(raw)
    offset, number = len(raw), 1
    while raw := file.readline(MAX_LINE):
        number += 1
        if state.trailer is not None:
            raise _DefectError(Broken("there is something behind the trailer", number))
        if not raw.endswith(b"\n"):
            raise _DefectError(Broken("the file is cut off in the middle of a line", number, _next(state)))
        if number % LINES_PER_CHUNK == 2:
            state.chunks.append(Chunk(offset, number))
        state.chunks[-1].count += 1
        _take(state, raw, offset, number, file)
        if state.trailer is None:
            digest.update(raw)
        offset += len(raw)
        if number % LINES_PER_CHUNK == 0:
            progress("structure", offset, total)
    progress("structure", total, total)
    _end(state, number, digest.hexdigest())
    return state


def _begin(raw: bytes, saved: lines.SavedCheckpoint | None) -> _Pass:
    try:
        header = lines.decode_line(raw)
        if not isinstance(header, lines.Header):
            raise _DefectError(Unreadable("not an audit export: the first line is no header"))
        keys = [key.published() for key in header.keys]
    except ValueError as error:
        raise _DefectError(Unreadable(f"not an audit export: {error}")) from None
    if header.format != lines.EXPORT_FORMAT:
        raise _DefectError(
            Unreadable(f"an audit export of format {header.format}; this program reads {lines.EXPORT_FORMAT}")
        )
    if len({key.kid for key in keys}) != len(keys):
        raise _DefectError(Broken("the header names a checkpoint key twice", 1))
    expected = None
    if saved is not None:
        note = parse_note(saved.note)
        if (note.installation_id, note.org_id) != (header.installation_id, header.org_id):
            raise _DefectError(Broken("the saved checkpoint is of another installation or organisation", 1))
        expected = note.size, note.root
    summary = Summary(header.installation_id, header.org_id)
    return _Pass(header, {key.kid: key for key in keys}, expected, summary, Facts(summary))


def _next(state: _Pass) -> int | None:
    """The position where an entry is expected next, while there can be one."""
    return None if state.tail else state.tree.size


def _take(state: _Pass, raw: bytes, offset: int, number: int, file: BinaryIO) -> None:
    try:
        line = lines.decode_line(raw)
    except ValueError as error:
        raise _DefectError(Broken(f"not a line of an audit export: {error}", number, _next(state))) from None
    if isinstance(line, lines.EntryLine):
        _take_entry(state, line, offset, number)
    elif isinstance(line, lines.CheckpointLine):
        _take_checkpoint(state, line, number, file)
    elif isinstance(line, lines.UnsequencedLine):
        state.tail = True
        entry = _decode(state, line.entry, number, None)
        state.summary.unsequenced += 1
        state.facts.add(entry, line.payload, number, None)
    elif isinstance(line, lines.Trailer):
        state.trailer = line
    else:
        raise _DefectError(Broken("a second header", number))


def _take_entry(state: _Pass, line: lines.EntryLine, offset: int, number: int) -> None:
    position = state.tree.size
    if state.tail or line.position != position:
        found = _id_of(line.entry)
        raise _DefectError(
            Broken(
                f"position {position} was expected here, found {line.position}: an entry was removed, added or moved",
                number,
                position,
                found,
            )
        )
    leaf = leaf_hash(line.entry.encode("utf-8"))
    if leaf.hex() != line.leaf_hash:
        raise _DefectError(
            Broken("the entry doesn't have its leaf hash: it was changed", number, position, _id_of(line.entry))
        )
    entry = _decode(state, line.entry, number, position)
    state.tree.append(leaf)
    state.summary.entries += 1
    state.facts.add(entry, line.payload, number, position)
    if state.uncovered is None:
        state.uncovered = Chunk(offset, number)
    state.uncovered.count += 1
    if state.saved is not None and state.saved[0] == state.tree.size and state.saved[1] != state.tree.root():
        raise _DefectError(
            Broken("up to here the log is not the one that the saved checkpoint was made of", number, position)
        )


def _take_checkpoint(state: _Pass, line: lines.CheckpointLine, number: int, file: BinaryIO) -> None:
    try:
        checkpoint = parse_note(line.note)
        signature = base64url.decode(line.signature)
    except ValueError as error:
        raise _DefectError(Broken(str(error), number)) from None
    if (checkpoint.installation_id, checkpoint.org_id) != (state.header.installation_id, state.header.org_id):
        raise _DefectError(Broken("a checkpoint of another installation or organisation", number))
    if state.tail or checkpoint.size != state.tree.size or state.uncovered is None:
        raise _DefectError(
            Broken(f"a checkpoint over {counted(checkpoint.size, 'entry')} stands behind {state.tree.size}", number)
        )
    key = state.keys.get(line.kid)
    if key is None:
        raise _DefectError(
            Broken(f"the checkpoint is signed with key {line.kid}, which the header doesn't name", number)
        )
    if not ed25519.holds(key.public_key, line.note.encode("utf-8"), signature):
        raise _DefectError(
            Broken(f"the signature of the checkpoint over {counted(checkpoint.size, 'entry')} doesn't hold", number)
        )
    if checkpoint.root != state.tree.root():
        raise _DefectError(_locate(state.uncovered, state.tree.size, file))
    state.uncovered = None
    state.last, state.last_size = line, checkpoint.size
    state.summary.checkpoints += 1


def _locate(uncovered: Chunk, size: int, file: BinaryIO) -> Broken:
    """Name the entry to blame when the leaves since the last checkpoint don't give the signed root."""
    file.seek(uncovered.offset)
    bad = check_lines(file, uncovered)
    if bad is not None:
        return bad
    file.seek(uncovered.offset)
    previous = ""
    for number in range(uncovered.line, uncovered.line + uncovered.count):
        line = lines.decode_line(file.readline(MAX_LINE))
        assert isinstance(line, lines.EntryLine)
        entry_id = decode(line.entry).id
        # The sequencer gives the positions of one batch in order of the ids.
        if entry_id < previous:
            reason = "the entry was moved or exchanged: the checkpoint behind it has another root"
            return Broken(reason, number, line.position, entry_id)
        previous = entry_id
    last = size - 1
    first = size - uncovered.count
    which = f"entry {first}" if first == last else f"one of the entries {first} to {last}"
    reason = f"{which} was changed, removed or exchanged: the checkpoint behind has another root"
    return Broken(reason, uncovered.line, first, entry_id if first == last else None)


def _decode(state: _Pass, text: str, number: int, position: int | None) -> Entry:
    try:
        entry = decode(text)
    except EntryError as error:
        raise _DefectError(Broken(str(error), number, position, _id_of(text))) from None
    if (entry.installation_id, entry.org_id) != (state.header.installation_id, state.header.org_id):
        raise _DefectError(Broken("an entry of another installation or organisation", number, position, entry.id))
    return entry


class _Id(msgspec.Struct):
    id: str


def _id_of(text: str) -> str | None:
    """The id that a perhaps damaged entry claims."""
    try:
        return msgspec.json.decode(text, type=_Id).id
    except msgspec.MsgspecError:
        return None


def _end(state: _Pass, number: int, digest: str) -> None:
    trailer, summary = state.trailer, state.summary
    if trailer is None:
        raise _DefectError(Broken("the file is cut off: the trailer is missing", number, _next(state)))
    if state.saved is not None and state.saved[0] > state.tree.size:
        reason = (
            f"the log was rolled back: the saved checkpoint covers {counted(state.saved[0], 'entry')}, this log has"
        )
        raise _DefectError(Broken(f"{reason} {state.tree.size}", number))
    if state.uncovered is not None:
        raise _DefectError(
            Broken("no checkpoint covers the entries from here on", state.uncovered.line, state.last_size)
        )
    counts = (trailer.entries, trailer.checkpoints, trailer.unsequenced)
    if counts != (summary.entries, summary.checkpoints, summary.unsequenced):
        raise _DefectError(Broken("the trailer counts other entries than the file holds", number))
    if state.last is None:
        raise _DefectError(Broken("the log has no checkpoint: nothing vouches for its entries", number))
    if trailer.sha256 != digest:
        # Told last: an entry that was changed is the better answer.
        state.altered = Broken("the file is not the one that was written: its checksum differs", number)


def _second_pass(
    state: _Pass,
    path: Path,
    trusted_fingerprint: str | None,
    processes: int | None,
    progress: Progress,
) -> Finding:
    line = state.last
    assert line is not None
    trusted = trusted_fingerprint is not None
    if trusted_fingerprint is not None and line.kid not in trusted_keys(state.keys.values(), trusted_fingerprint):
        reason = "the last checkpoint is not signed under the trusted key, nor under one that it handed over to"
        return Broken(reason, 1)
    found = list(state.facts.contradictions())
    repeated = state.facts.ids.repeated()
    if repeated:
        found += _find_repeated(path, repeated)
    first = min(found, key=lambda bad: bad.line, default=None)
    bad = check_chunks(path, state.chunks, processes, lambda done, total: progress("consent", done, total))
    # Of two defects in one entry the evidence's is the one to tell.
    candidates = [item for item in (bad, first) if item is not None]
    if candidates:
        return min(candidates, key=lambda item: item.line)
    if state.altered is not None:
        return state.altered
    key = state.keys[line.kid]
    last = lines.SavedCheckpoint(
        note=line.note,
        kid=line.kid,
        public_key=base64url.encode(key.public_key),
        signature=line.signature,
    )
    return Sound(state.summary, trusted, state.saved[0] if state.saved else None, last, fingerprint(key.public_key))


def _find_repeated(path: Path, repeated: set[int]) -> list[Broken]:
    seen: set[str] = set()
    with path.open("rb") as file:
        for number, raw in enumerate(iter(lambda: file.readline(MAX_LINE), b""), start=1):
            line = lines.decode_line(raw)
            if isinstance(line, lines.EntryLine | lines.UnsequencedLine):
                entry_id = decode(line.entry).id
                if entry_id in seen:
                    position = line.position if isinstance(line, lines.EntryLine) else None
                    return [Broken("the entry stands in the log twice", number, position, entry_id)]
                if Ids.hash(entry_id) in repeated:
                    seen.add(entry_id)
    return []
