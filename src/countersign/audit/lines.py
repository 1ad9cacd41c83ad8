"""The lines of an audit export: JSON, one object a line, ``type`` first.

A header; then the entries in order of their positions, each checkpoint right behind the last entry that
it covers; then the entries without a position; then a trailer. ``entry`` is the exact text of the
entry, as a JSON string. ``payload`` is the canonical payload of an action, ``null`` if it has none or
is redacted.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from countersign.audit.checkpoint import PublishedKey
from countersign.encoding import base64url

EXPORT_FORMAT = "countersign-audit-export-1"
CHECKPOINT_FORMAT = "countersign-audit-checkpoint-1"


class ExportedKey(msgspec.Struct, rename="camel", frozen=True, forbid_unknown_fields=True):
    """A checkpoint key. ``public_key``: 32 bytes, base64url; ``created_at``: milliseconds since the epoch."""

    kid: str
    public_key: str
    created_at: int
    handover: str | None

    def published(self) -> PublishedKey:
        """The key with its bytes; ``ValueError`` if they are not base64url."""
        return PublishedKey(self.kid, base64url.decode(self.public_key), self.created_at, self.handover)


class _Line(msgspec.Struct, tag_field="type", rename="camel", frozen=True, forbid_unknown_fields=True, gc=False):
    pass


class Header(_Line, tag="header", frozen=True):
    """Whose log this is, and the keys that sign its checkpoints, oldest first."""

    format: str
    installation_id: str
    org_id: str
    exported_at: str
    redacted: bool
    keys: tuple[ExportedKey, ...]


class EntryLine(_Line, tag="entry", frozen=True):
    """An entry at its position. ``leaf_hash``: lower-case hex."""

    position: int
    entry: str
    leaf_hash: str
    payload: str | None


class CheckpointLine(_Line, tag="checkpoint", frozen=True):
    """A checkpoint's signed text and the signature, base64url."""

    note: str
    kid: str
    signature: str


class UnsequencedLine(_Line, tag="unsequenced", frozen=True):
    """An entry that had no position yet when the log was exported: no checkpoint covers it."""

    entry: str
    payload: str | None


class Trailer(_Line, tag="trailer", frozen=True):
    """Ends the file. ``sha256``: of every byte before this line, lower-case hex."""

    entries: int
    checkpoints: int
    unsequenced: int
    sha256: str


Line: TypeAlias = Header | EntryLine | CheckpointLine | UnsequencedLine | Trailer


class SavedCheckpoint(msgspec.Struct, rename="camel", frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A checkpoint that an auditor keeps, to hold later exports against."""

    format: str = CHECKPOINT_FORMAT
    note: str
    kid: str
    public_key: str
    signature: str


_ENCODER = msgspec.json.Encoder()
_DECODER: msgspec.json.Decoder[Line] = msgspec.json.Decoder(
    Header | EntryLine | CheckpointLine | UnsequencedLine | Trailer
)


def encode_line(line: Line) -> bytes:
    """The line's bytes with its line feed."""
    return _ENCODER.encode(line) + b"\n"


def decode_line(data: bytes) -> Line:
    """Read one line; ``ValueError`` for anything else."""
    try:
        return _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from None
