"""Hashing to secp256k1: the suite ``secp256k1_XMD:SHA-256_SSWU_RO_`` of RFC 9380.

Both inputs are public, so plain integers serve; the names are those of the RFC.
"""

from __future__ import annotations

import hashlib
from typing import Final

from countersign.keystores import native

_P: Final = 2**256 - 2**32 - 977
_HASH_BYTES: Final = 32
_BLOCK_BYTES: Final = 64
_FIELD_BYTES: Final = 48
_MAX_TAG: Final = 255

# The curve y² = x³ + A'·x + B' that is 3-isogenous to secp256k1 (section 8.7).
_A: Final = 0x3F8731ABDD661ADCA08A5558F0F5D272E953D363CB6F0E5D405447C01A444533
_B: Final = 1771
_Z: Final = _P - 11

# Coefficients of the isogeny, from the constant term up (appendix E.1).
_X_NUMERATOR: Final = (
    0x8E38E38E38E38E38E38E38E38E38E38E38E38E38E38E38E38E38E38DAAAAA8C7,
    0x07D3D4C80BC321D5B9F315CEA7FD44C5D595D2FC0BF63B92DFFF1044F17C6581,
    0x534C328D23F234E6E2A413DECA25CAECE4506144037C40314ECBD0B53D9DD262,
    0x8E38E38E38E38E38E38E38E38E38E38E38E38E38E38E38E38E38E38DAAAAA88C,
)
_X_DENOMINATOR: Final = (
    0xD35771193D94918A9CA34CCBB7B640DD86CD409542F8487D9FE6B745781EB49B,
    0xEDADC6F64383DC1DF7C4B2D51B54225406D36B641F5E41BBC52A56612A8C6D14,
    1,
)
_Y_NUMERATOR: Final = (
    0x4BDA12F684BDA12F684BDA12F684BDA12F684BDA12F684BDA12F684B8E38E23C,
    0xC75E0C32D5CB7C0FA9D0A54B12A0A6D5647AB046D686DA6FDFFC90FC201D71A3,
    0x29A6194691F91A73715209EF6512E576722830A201BE2018A765E85A9ECEE931,
    0x2F684BDA12F684BDA12F684BDA12F684BDA12F684BDA12F684BDA12F38E38D84,
)
_Y_DENOMINATOR: Final = (
    0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFF93B,
    0x7A06534BB8BDB49FD5E9E6632722C2989467C1BFC8E8D978DFB425D2685C2573,
    0x6484AA716545CA2CF3A70C3FA8FE337E0A3D21162F0D6299A7BF8192BFD2A76F,
    1,
)


def hash_to_curve(message: bytes, tag: bytes) -> bytes:
    """The point (33 bytes, compressed) that ``message`` hashes to under the domain separation tag ``tag``.

    Raises ValueError for an empty tag, which section 3.1 forbids.
    """
    if not tag:
        raise ValueError("the domain separation tag is empty")
    points = [
        b"\4" + b"".join(value.to_bytes(32, "big") for value in map_to_curve(u)) for u in hash_to_field(message, tag)
    ]
    return native.combine(points)


def hash_to_field(message: bytes, tag: bytes) -> tuple[int, int]:
    """Two field elements (section 5.2)."""
    uniform = expand_message(message, tag, 2 * _FIELD_BYTES)
    first, second = (int.from_bytes(uniform[start : start + _FIELD_BYTES], "big") % _P for start in (0, _FIELD_BYTES))
    return first, second


def expand_message(message: bytes, tag: bytes, length: int) -> bytes:
    """``expand_message_xmd`` with SHA-256 (section 5.3.1), for 1 to 8160 bytes; longer tags are hashed (5.3.3)."""
    if len(tag) > _MAX_TAG:
        tag = hashlib.sha256(b"H2C-OVERSIZE-DST-" + tag).digest()
    suffix = tag + bytes((len(tag),))
    first = hashlib.sha256(bytes(_BLOCK_BYTES) + message + length.to_bytes(2, "big") + b"\0" + suffix).digest()
    block, uniform = bytes(_HASH_BYTES), b""
    for number in range(1, -(-length // _HASH_BYTES) + 1):
        mixed = bytes(a ^ b for a, b in zip(first, block, strict=True))
        block = hashlib.sha256(mixed + bytes((number,)) + suffix).digest()
        uniform += block
    return uniform[:length]


def map_to_curve(u: int) -> tuple[int, int]:
    """Affine point of secp256k1 for a field element: simplified SWU, then the isogeny (sections 6.6.2 and 6.6.3)."""
    x, y = _simplified_swu(u)
    x_of, y_of = _at(_X_NUMERATOR, x), y * _at(_Y_NUMERATOR, x)
    below = _at(_X_DENOMINATOR, x) * _at(_Y_DENOMINATOR, x) % _P
    # Zero here would mean the identity (section 6.6.3): no hash is known to lead there, and it ends as a ValueError.
    inverse = pow(below, -1, _P)
    return x_of * inverse * _at(_Y_DENOMINATOR, x) % _P, y_of * inverse * _at(_X_DENOMINATOR, x) % _P


def _simplified_swu(u: int) -> tuple[int, int]:
    z_u2 = _Z * u * u % _P
    denominator = (z_u2 * z_u2 + z_u2) % _P
    minus_x, over = (_B * (denominator + 1), _A * denominator) if denominator else (-_B, _Z * _A)
    x = -minus_x * pow(over, -1, _P) % _P
    square = ((x * x + _A) * x + _B) % _P
    y = pow(square, (_P + 1) // 4, _P)
    if y * y % _P != square:
        x = z_u2 * x % _P
        y = pow(((x * x + _A) * x + _B) % _P, (_P + 1) // 4, _P)
    return x, (y if y & 1 == u & 1 else _P - y)


def _at(coefficients: tuple[int, ...], x: int) -> int:
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * x + coefficient) % _P
    return value
