"""What a key share says, and which protocol stands for which kind of key.

A share is compact JSON in UTF-8, in an envelope of its own for each signer. On the way in:
``{"version":1,"secret_share":SCALAR,"public_shares":[POINT,...]}``, the public shares of all signers by position; a
master key may have ``"chain_code"`` (hex of 32 bytes) beside them. On the way out:
``{"version":1,"index":SCALAR,"secret_share":SCALAR}``.

``SCALAR`` is ``{"curve":C,"scalar":HEX}``, 32 bytes big-endian on every curve; ``POINT`` is
``{"curve":C,"point":HEX}``, uncompressed (SEC1, 65 bytes) for secp256k1 and stark, 32 bytes (RFC 8032) for ed25519.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from countersign.keystores.outcome import Refusal
from countersign.keystores.protocol import MALFORMED, Buffer
from countersign.keystores.sharing import ORDERS

VERSION: Final = 1
SCALAR_BYTES: Final = 32
CHAIN_CODE_BYTES: Final = 32

PROTOCOLS: Final[Mapping[tuple[str, str], str]] = {
    ("CGGMP21", "secp256k1"): "ECDSA",
    ("CGGMP24", "secp256k1"): "ECDSA",
    ("KU23", "secp256k1"): "ECDSA",
    ("CGGMP21", "stark"): "ECDSA",
    ("CGGMP24", "stark"): "ECDSA",
    ("FROST", "ed25519"): "EdDSA",
    ("FROST_BITCOIN", "secp256k1"): "Schnorr",
    ("GLOW20_DH", "secp256k1"): "DH",
}
"""Scheme of the key that a protocol's shares make, by protocol and curve."""

_POINT_BYTES: Final = {"secp256k1": 65, "stark": 65, "ed25519": 32}


@dataclass(frozen=True, slots=True)
class ImportShare:
    """``scalar``: this signer's share, above zero and below the order; ``public_shares``: of all signers."""

    scalar: int
    public_shares: tuple[bytes, ...]
    chain_code: bytes | None


@dataclass(frozen=True, slots=True)
class ExportShare:
    """``index``: the position that the share is for."""

    index: int
    scalar: int


class _Scalar(msgspec.Struct, frozen=True):
    curve: str
    scalar: str


class _Point(msgspec.Struct, frozen=True):
    curve: str
    point: str


class _Import(msgspec.Struct, frozen=True, omit_defaults=True):
    version: int
    secret_share: _Scalar
    public_shares: tuple[_Point, ...]
    chain_code: str | None = None


class _Export(msgspec.Struct, frozen=True):
    version: int
    index: _Scalar
    secret_share: _Scalar


class _Version(msgspec.Struct, frozen=True):
    version: int


_decode_version = msgspec.json.Decoder(_Version).decode
_decode_import = msgspec.json.Decoder(_Import).decode
_decode_export = msgspec.json.Decoder(_Export).decode
_encoder = msgspec.json.Encoder()


def choose_protocol(scheme: str, curve: str, supported: Sequence[tuple[str, str]]) -> str | None:
    """The first of the caller's pairs of protocol and curve that fits the key; None when none does."""
    return next((name for name, on in supported if on == curve and PROTOCOLS.get((name, on)) == scheme), None)


def encode_import(curve: str, scalar: int, public_shares: Sequence[bytes], chain_code: bytes | None) -> bytearray:
    """One signer's share of a key on its way in."""
    points = tuple(_Point(curve, point.hex()) for point in public_shares)
    share = _Import(VERSION, _scalar_text(curve, scalar), points, chain_code.hex() if chain_code else None)
    return _encoded(share)


def encode_export(curve: str, index: int, scalar: int) -> bytearray:
    """One signer's share of a key on its way out."""
    return _encoded(_Export(VERSION, _scalar_text(curve, index), _scalar_text(curve, scalar)))


def decode_import(content: Buffer, curve: str, signers: int) -> ImportShare | Refusal:
    """Read a share on its way in, for a key on ``curve`` that is shared by so many signers."""
    if (refusal := _of_known_version(content)) is not None:
        return refusal
    try:
        share = _decode_import(content)
    except MALFORMED:
        return Refusal("Unsupported", "the key share has not the form of one that is imported")
    scalar = _scalar(share.secret_share, curve)
    if isinstance(scalar, Refusal):
        return scalar
    if len(share.public_shares) != signers:
        return Refusal("Unsupported", f"{signers} public shares were expected, not {len(share.public_shares)}")
    points = []
    for point in share.public_shares:
        if point.curve != curve:
            return _another_curve(point.curve, curve)
        value = _bytes(point.point, _POINT_BYTES[curve])
        if value is None:
            return Refusal("Unsupported", f"a public share is not {_POINT_BYTES[curve]} bytes in hexadecimal")
        points.append(value)
    chain_code = None if share.chain_code is None else _bytes(share.chain_code, CHAIN_CODE_BYTES)
    if share.chain_code is not None and chain_code is None:
        return Refusal("Unsupported", f"the chain code is not {CHAIN_CODE_BYTES} bytes in hexadecimal")
    return ImportShare(scalar, tuple(points), chain_code)


def decode_export(content: Buffer, curve: str) -> ExportShare | Refusal:
    """Read a share on its way out, of a key on ``curve``."""
    if (refusal := _of_known_version(content)) is not None:
        return refusal
    try:
        share = _decode_export(content)
    except MALFORMED:
        return Refusal("Unsupported", "the key share has not the form of one that was exported")
    index, scalar = _scalar(share.index, curve), _scalar(share.secret_share, curve)
    if isinstance(index, Refusal):
        return index
    return scalar if isinstance(scalar, Refusal) else ExportShare(index, scalar)


def _of_known_version(content: Buffer) -> Refusal | None:
    try:
        version = _decode_version(content).version
    except MALFORMED:
        return Refusal("Unsupported", "the key share is not JSON with a version")
    if version != VERSION:
        return Refusal("Unsupported", f"key shares of version {version} are not supported")
    return None


def _scalar(value: _Scalar, curve: str) -> int | Refusal:
    if value.curve != curve:
        return _another_curve(value.curve, curve)
    raw = _bytes(value.scalar, SCALAR_BYTES)
    if raw is None:
        return Refusal("Unsupported", f"a scalar is not {SCALAR_BYTES} bytes in hexadecimal")
    scalar = int.from_bytes(raw, "big")
    if not 0 < scalar < ORDERS[curve]:
        return Refusal("Unsupported", f"a scalar is out of range for {curve}")
    return scalar


def _another_curve(found: str, curve: str) -> Refusal:
    return Refusal("Unsupported", f"the key share is of curve {found[:32]!r}, not {curve!r}")


def _bytes(text: str, length: int) -> bytes | None:
    try:
        value = binascii.a2b_hex(text)
    except ValueError:
        return None
    return value if len(value) == length else None


def _scalar_text(curve: str, scalar: int) -> _Scalar:
    return _Scalar(curve, scalar.to_bytes(SCALAR_BYTES, "big").hex())


def _encoded(share: _Import | _Export) -> bytearray:
    content = bytearray()
    _encoder.encode_into(share, content)
    return content
