"""What orders to import and export say; apart from the work itself, so that the API process needs no more than this."""

from __future__ import annotations

import msgspec


class SealedSigner(msgspec.Struct, array_like=True, frozen=True):
    """One listed signer: its id (32 random bytes), its point (33 bytes), and its sealed decryption key."""

    signer_id: bytes
    public_key: bytes
    root_version: int
    record: bytes


class ImportPayload(msgspec.Struct, array_like=True, frozen=True):
    """Payload of an order to import; ``shares`` are pairs of signer id and envelope."""

    protocol: str
    curve: str
    min_signers: int
    shares: tuple[tuple[bytes, bytes], ...]


class ExportPayload(msgspec.Struct, array_like=True, frozen=True):
    """Payload of an order to export: whom the shares are encrypted to (34 bytes), and the protocol they are for."""

    encryption_key: bytes
    protocol: str


SIGNERS_KIND = "signers"
"""Payload kind of an order for new signers; its payload is empty."""

encode = msgspec.msgpack.Encoder().encode
decode_import = msgspec.msgpack.Decoder(ImportPayload).decode
decode_export = msgspec.msgpack.Decoder(ExportPayload).decode
decode_signers = msgspec.msgpack.Decoder(tuple[SealedSigner, ...]).decode
decode_ids = msgspec.msgpack.Decoder(tuple[bytes, ...]).decode
decode_shares = msgspec.msgpack.Decoder(tuple[tuple[bytes, bytes], ...]).decode
