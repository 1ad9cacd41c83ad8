"""The append-only file of the signer: records chained by their hashes and authenticated under the store root.

Layout: magic ``CSROST1\\n``, then records: body length u32 | root version u32 | body | tag 32, integers big-endian.
Each record hashes the one before (``head = SHA-256(head before | length | root version | body)``, the first over
SHA-256 of the magic), and its tag is HMAC-SHA256 of the head under a key derived from the store root of that version.
So the last tag stands for the whole file, also for records whose root is gone by now.

A record is on disk before anyone is told of it. What is left of one whose writing was cut short is cut off when the
file is opened; any other defect is damage, and nothing of a damaged file is believed.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import logging
import os
import struct
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from countersign.keystores.outcome import Refusal
from countersign.private_files import sync_directory

log = logging.getLogger("countersign.signer")

MAGIC: Final = b"CSROST1\n"
FILE_NAME: Final = "roster.log"
_HEAD: Final = struct.Struct(">II")
_TAG_BYTES: Final = 32
_MAX_BODY: Final = 64 * 1024
_START: Final = hashlib.sha256(MAGIC).digest()
_READ: Final = 1 << 20

Tag = Callable[[int, bytes], bytes | None]
"""Takes a root version and a head, gives the tag; None where that root is not loaded."""

Take = Callable[[bytes], str | None]
"""Takes the body of an authentic record; gives what is wrong with it, if anything."""


def open_file(directory: Path) -> int:
    """The descriptor of the file in the signer's state directory, both made when missing.

    Raises ValueError where others may write there, OSError where it can't be had.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = directory.stat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise ValueError(f"state directory {directory} must belong to the signer's user and be closed to others (0700)")
    descriptor = os.open(directory / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    # The name of a file just made has to outlast a crash as well.
    sync_directory(directory)
    return descriptor


class Ledger:
    """The file behind ``descriptor``, which is closed with it; with ``None`` records are only remembered, as in tests.

    Several processes of one signer may use one file: each reads what the others appended.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._file = descriptor
        if descriptor is not None:
            weakref.finalize(self, os.close, descriptor)
        self._reset()

    def _reset(self) -> None:
        self._heads = [_START]
        self.root_version = 0
        self._end = 0
        self._damage: str | None = None

    @property
    def count(self) -> int:
        """How many records there are."""
        return len(self._heads) - 1

    @property
    def head(self) -> bytes:
        """The hash that stands for all of them."""
        return self._heads[-1]

    def head_at(self, count: int) -> bytes | None:
        """The head when there were ``count`` records, if there were."""
        return self._heads[count] if 0 <= count < len(self._heads) else None

    @property
    def lasting(self) -> bool:
        """Whether it is kept in a file."""
        return self._file is not None

    def load(self, tag: Tag, take: Take) -> Refusal | None:
        """Read the file from its start, and cut off what is left of a record whose writing was cut short."""
        if self._file is None:
            return None
        self._reset()
        file = self._file
        with self.exclusive():
            if (damaged := self._take_over(file, tag, take)) is not None:
                return damaged
            size = os.fstat(file).st_size
            if size > self._end:
                log.warning("cut off %d bytes of an unfinished record of the roster", size - self._end)
                os.ftruncate(file, self._end)
                os.fsync(file)
        return None

    def refresh(self, tag: Tag, take: Take) -> Refusal | None:
        """Read what another process appended since."""
        if self._file is None or (self._damage is None and os.fstat(self._file).st_size == self._end):
            return None
        return self._take_over(self._file, tag, take)

    def append(self, body: bytes, root_version: int, tag: Tag) -> Refusal | None:
        """Write one record and have it on disk before returning; inside ``exclusive``, and read up to date."""
        if not 0 < len(body) <= _MAX_BODY:
            # It would be read as damage, and nothing of the file be believed any more.
            return Refusal("Denied", f"a record of the roster has at most {_MAX_BODY} bytes")
        if self._file is None:
            self._step(body, root_version)
            return None
        return self._write(self._file, body, root_version, tag)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other processes from appending, from the decision to the record that follows from it."""
        if self._file is None:
            yield
            return
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def _write(self, file: int, body: bytes, root_version: int, tag: Tag) -> Refusal | None:
        made = tag(root_version, self._next_head(body, root_version))
        if made is None:
            return Refusal("Sealed", "the store root that authenticates the roster is not loaded")
        data = _HEAD.pack(len(body), root_version) + body + made
        if self._end == 0:
            data = MAGIC + data
        try:
            if os.pwrite(file, data, self._end) != len(data):
                raise OSError("written in part")
            os.fsync(file)
        except OSError as trouble:
            # Nobody was told of it: take back what there is, so that the next record stands where this one began.
            os.ftruncate(file, self._end)
            return Refusal("Unavailable", f"the signer's roster can't be written: {trouble.strerror or trouble}")
        self._end += len(data)
        self._step(body, root_version)
        return None

    def _take_over(self, file: int, tag: Tag, take: Take) -> Refusal | None:
        # What was taken over before the damage was seen may be part of it: nothing is believed until it is loaded anew.
        self._damage = self._damage or self._read(file, tag, take)
        return None if self._damage is None else Refusal("Integrity", f"the signer's roster is damaged: {self._damage}")

    def _read(self, file: int, tag: Tag, take: Take) -> str | None:
        """Take over all whole records from where reading ended; what is wrong with them, if anything."""
        position, last_checked = self._end, True
        if position == 0:
            start = os.pread(file, len(MAGIC), 0)
            if len(start) < len(MAGIC) and (MAGIC.startswith(start) or not any(start)):
                return None
            if start != MAGIC:
                return "it is no roster"
            position = len(MAGIC)
        reader = _Reader(file, position)
        while (found := reader.record()) is not None:
            if isinstance(found, str):
                return f"{found}, record {self.count + 1}"
            body, root_version, given = found
            expected = tag(root_version, self._next_head(body, root_version))
            last_checked = expected is not None
            if expected is not None and not hmac.compare_digest(given, expected):
                if not any(given) and reader.at_end():
                    # The file had grown, and the end of the record was not there yet.
                    return None
                return f"record {self.count + 1} is not authentic"
            self._step(body, root_version)
            self._end = reader.position
            if (defect := take(body)) is not None:
                return f"record {self.count}: {defect}"
        return None if last_checked else f"its last record needs store root {self.root_version}, which is not loaded"

    def _next_head(self, body: bytes, root_version: int) -> bytes:
        return hashlib.sha256(self.head + _HEAD.pack(len(body), root_version) + body).digest()

    def _step(self, body: bytes, root_version: int) -> None:
        self._heads.append(self._next_head(body, root_version))
        self.root_version = root_version


class _Reader:
    """Whole records from ``position`` on."""

    def __init__(self, file: int, position: int) -> None:
        self.position = position
        self._file = file
        self._data = b""
        self._at = 0

    def record(self) -> tuple[bytes, int, bytes] | str | None:
        """The next record; ``None`` at the end and before an unfinished one, a text for what can't be one."""
        header = self._peek(_HEAD.size)
        if len(header) < _HEAD.size:
            return None
        length, root_version = _HEAD.unpack(header)
        if length == 0:
            # A file may have grown before its content was there.
            return None if self._only_zeros() else "a record without content"
        if length > _MAX_BODY:
            return "a record too long"
        whole = self._peek(_HEAD.size + length + _TAG_BYTES)
        if len(whole) < _HEAD.size + length + _TAG_BYTES:
            return None
        self._at += len(whole)
        self.position += len(whole)
        return whole[_HEAD.size : _HEAD.size + length], root_version, whole[_HEAD.size + length :]

    def at_end(self) -> bool:
        """Whether nothing stands behind the last record that was read."""
        return not os.pread(self._file, 1, self.position)

    def _peek(self, size: int) -> bytes:
        if len(self._data) - self._at < size:
            self._data = os.pread(self._file, max(_READ, size), self.position)
            self._at = 0
        return self._data[self._at : self._at + size]

    def _only_zeros(self) -> bool:
        position = self.position
        while chunk := os.pread(self._file, _READ, position):
            if any(chunk):
                return False
            position += len(chunk)
        return True
