"""The point that belongs to a share, in the form in which shares name it."""

from __future__ import annotations

from coincurve import PublicKey

from countersign.keystores import ed25519_scalar, native, stark
from countersign.keystores.memory import wipe


def public_share(curve: str, scalar: int) -> bytes:
    """The generator times ``scalar``: uncompressed SEC1 (65 bytes), for ed25519 32 bytes (RFC 8032).

    ``scalar`` is above zero and below the order of the curve. Raises KeyError for a curve without shares.
    """
    raw = bytearray(scalar.to_bytes(32, "little" if curve == "ed25519" else "big"))
    try:
        return _POINTS[curve](raw)
    finally:
        wipe(raw)


def _secp256k1(scalar: bytearray) -> bytes:
    return PublicKey(native.secp256k1_public_key(scalar)).format(compressed=False)


def _ed25519(scalar: bytearray) -> bytes:
    return ed25519_scalar.public_key(memoryview(scalar))


def _stark(scalar: bytearray) -> bytes:
    return stark.uncompressed(stark.public_key(scalar))


_POINTS = {"secp256k1": _secp256k1, "ed25519": _ed25519, "stark": _stark}


def canonical(curve: str, point: bytes) -> bytes:
    """The public key as the API shows it, of a point as shares name it: SEC1 compressed (33 bytes), or as it is."""
    if curve == "ed25519":
        return point
    return bytes((2 + (point[64] & 1),)) + point[1:33]
