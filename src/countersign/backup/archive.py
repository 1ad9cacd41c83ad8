"""The form of a backup: a tar file (POSIX ustar) inside one age file, written and read as a stream.

Members, in this order:

``manifest.json``
    what the backup is of (``Manifest``);
``tables/NAME/000001.jsonl`` and so on
    rows, one JSON array a line; columns that hold bytes are standard base64;
``files/NAME/000001`` and so on
    the pieces of a file that lies beside the database;
``summary.json``
    how many rows each table has and the SHA-256 over its members' bytes (``Summary``).

So ``age -d -i IDENTITY BACKUP | tar x`` opens it without this program. age authenticates what it decrypts in pieces of
64 KiB as they come; that the whole is there is known at its end only, so a reader keeps nothing before.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import BytesIO
from typing import Any, BinaryIO

import msgspec
import pyrage
from pyrage import x25519

FORMAT = "countersign-backup-1"
MAX_MEMBER = 64 << 20
"""Bytes; rows travel in batches, so that only a single huge row can make a member this long."""

_BLOCK = tarfile.BLOCKSIZE


class BadBackup(Exception):
    """The file is no backup, is damaged or cut short, or the identity does not open it; the text says which."""


class SavedTable(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A table as it was; ``binary``: positions of the columns that are base64."""

    name: str
    columns: tuple[str, ...]
    binary: tuple[int, ...]


class Head(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The last checkpoint of an organisation's audit log; ``root_hash`` is lower-case hex."""

    org_id: str
    size: int
    root_hash: str


class Manifest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """What a backup is of. ``migrations``: the schema, as ``version:checksum``; ``rows``: how many it will hold."""

    format: str = FORMAT
    program: str
    created_at: str
    installation_id: str
    engine: str
    migrations: tuple[str, ...]
    tables: tuple[SavedTable, ...]
    rows: int
    audit_heads: tuple[Head, ...]


class Content(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Rows of a table or bytes of a file, and SHA-256 (hex) over its members."""

    count: int
    sha256: str


class Summary(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Ends a backup."""

    tables: dict[str, Content]
    files: dict[str, Content]


def recipient(text: str) -> x25519.Recipient:
    """An age recipient (``age1...``). Raises ``ValueError``."""
    try:
        return x25519.Recipient.from_str(text.strip())
    except pyrage.RecipientError:
        raise ValueError(f"not an age recipient: {text.strip()!r}; 'age-keygen' makes them") from None


def identities(text: str) -> list[x25519.Identity]:
    """The identities of an age key file: lines ``AGE-SECRET-KEY-...``, comments with ``#``. Raises ``ValueError``."""
    found = []
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            try:
                found.append(x25519.Identity.from_str(line.strip()))
            except pyrage.IdentityError:
                raise ValueError("a line of the identity file is no age identity (AGE-SECRET-KEY-...)") from None
    if not found:
        raise ValueError("the identity file holds no age identity")
    return found


def member(name: str, data: bytes, mtime: int) -> bytes:
    """A tar member, padded; ``mtime`` in seconds since the epoch."""
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = len(data), mtime, 0o600
    header = info.tobuf(tarfile.USTAR_FORMAT)
    return header + data + bytes(-len(data) % _BLOCK)


def end() -> bytes:
    """What ends a tar file."""
    return bytes(2 * _BLOCK)


class _Reader:
    """What age pulls the plain text from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")
        self.failure: BaseException | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            while not self._rest:
                self._rest = memoryview(next(self._pieces))
        except StopIteration:
            return b""
        except BaseException as error:
            self.failure = error
            raise
        taken = self._rest if size < 0 else self._rest[:size]
        self._rest = self._rest[len(taken) :]
        return bytes(taken)


def write(output: BinaryIO, recipients: Sequence[x25519.Recipient], pieces: Iterable[bytes]) -> None:
    """Encrypt what ``pieces`` gives, as it comes; whatever they raise reaches the caller as it is."""
    reader = _Reader(iter(pieces))
    try:
        pyrage.encrypt_io(reader, output, list(recipients))
    except Exception:
        if reader.failure is not None:
            raise reader.failure from None
        raise


class _Writer:
    """Where age pushes the plain text: cuts it into members."""

    def __init__(self, take: Callable[[str, bytes], None]) -> None:
        self._take = take
        self._buffer = bytearray()
        self._current: tarfile.TarInfo | None = None
        self.ended = False
        self.failure: BaseException | None = None

    def write(self, data: bytes) -> int:
        if self.failure is not None:
            raise self.failure  # age may push what it had in hand all the same
        try:
            self._buffer += data
            while not self.ended and self._step():
                pass
        except BaseException as error:
            self.failure = error
            raise
        return len(data)

    def flush(self) -> None:
        """Nothing is kept back."""

    def _step(self) -> bool:
        if self._current is None:
            if len(self._buffer) < _BLOCK:
                return False
            header = bytes(self._buffer[:_BLOCK])
            del self._buffer[:_BLOCK]
            if header == bytes(_BLOCK):
                self.ended = True
                return False
            try:
                self._current = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
            except (tarfile.HeaderError, UnicodeError):
                raise BadBackup("the backup does not hold what a backup holds") from None
            if not self._current.isreg() or self._current.size > MAX_MEMBER:
                raise BadBackup("the backup does not hold what a backup holds")
        padded = -(-self._current.size // _BLOCK) * _BLOCK
        if len(self._buffer) < padded:
            return False
        data = bytes(self._buffer[: self._current.size])
        del self._buffer[:padded]
        name, self._current = self._current.name, None
        self._take(name, data)
        return True


def read(source: BinaryIO, keys: Sequence[x25519.Identity], take: Callable[[str, bytes], None]) -> None:
    """Decrypt, and give each member's name and bytes to ``take`` in turn.

    What ``take`` raises reaches the caller as it is. Raises ``BadBackup``; until this returns, nothing is known to be
    whole.
    """
    writer = _Writer(take)
    try:
        pyrage.decrypt_io(source, writer, list(keys))
    except Exception as error:
        if writer.failure is not None:
            raise writer.failure from None
        if isinstance(error, pyrage.DecryptError | OSError | ValueError):
            raise BadBackup(_why(str(error))) from None
        raise
    if not writer.ended:
        raise BadBackup("the backup is cut short")


def _why(text: str) -> str:
    if "No matching keys" in text:
        return "the identity is not one that the backup was made for"
    return f"the backup is damaged, cut short or no backup at all ({text})"


_encode = msgspec.json.Encoder().encode


def encode_rows(rows: Sequence[Sequence[Any]]) -> bytes:
    """Rows as JSON lines; bytes become base64."""
    output = BytesIO()
    for row in rows:
        output.write(_encode(row))
        output.write(b"\n")
    return output.getvalue()


_decode_row = msgspec.json.Decoder(list[str | int | None]).decode


def decode_rows(data: bytes, table: SavedTable) -> list[list[Any]]:
    """Inverse of ``encode_rows``. Raises ``BadBackup``."""
    rows: list[list[Any]] = []
    try:
        for line in data.split(b"\n")[:-1]:
            row: list[Any] = list(_decode_row(line))
            for index in table.binary:
                if row[index] is not None:
                    row[index] = msgspec.convert(row[index], bytes)
            if len(row) != len(table.columns):
                raise BadBackup(f"a row of {table.name} has the wrong number of columns")
            rows.append(row)
    except (msgspec.MsgspecError, IndexError):
        raise BadBackup(f"a row of {table.name} is malformed") from None
    return rows
