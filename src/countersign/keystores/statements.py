"""What a signer states about a key that came to its end, under a key of its own; kept in the audit log."""

from __future__ import annotations

from typing import Final

import msgspec

VERSION: Final = "countersign.statement.v1"


class Statement(msgspec.Struct, array_like=True, frozen=True):
    """What the signer states about a key that came to its end; ``at`` in milliseconds by its clock.

    ``records`` and ``head`` say where in the roster the end stands.
    """

    version: str
    store_id: str
    org_id: str
    key_id: str
    public_key: bytes
    op: str
    at: int
    evidence_sha256: bytes
    records: int
    head: bytes


class SignedStatement(msgspec.Struct, array_like=True, frozen=True):
    """Data of the reply to ``archive`` and ``destroy``: msgpack of a Statement, its Ed25519 signature and the key."""

    statement: bytes
    signature: bytes
    public_key: bytes


decode_statement = msgspec.msgpack.Decoder(Statement).decode
"""The statement in the bytes that were signed; raises ``msgspec.MsgspecError``."""
