"""ECDSA on the STARK curve, y² = x³ + x + β over the prime 2²⁵¹ + 17·2¹⁹² + 1 (StarkWare).

Points are added with one formula that has no exceptions (Renes, Costello, Batina, "Complete addition formulas for
prime order elliptic curves", algorithm 1), products with the base point are sums over a fixed table of windows, and
every scalar and coordinate that depends on a secret is blinded with fresh randomness first.

Limits: this is integer arithmetic of Python, or of GMP where ``gmpy2`` is installed (extra ``stark``), and neither runs
in constant time. The scalar, the nonce and what is between them are immutable integers that can't be wiped. Both is
why this runs in the signer process only. libsecp256k1 and libsodium, which serve the other curves, have no such limits.

Rules of this curve (StarkWare's signature module): what is signed is a number below 2²⁵¹, and so are r, which is not
reduced by the group order, and the inverse of s. A nonce that leads elsewhere is passed over.
"""

from __future__ import annotations

import functools
import hmac
import importlib
import os
from collections.abc import Callable, Iterator
from typing import Any, Final

from countersign.keystores.memory import wipe
from countersign.keystores.protocol import Buffer

Secret = memoryview | bytearray
_Affine = tuple[int, int]
_Projective = tuple[int, int, int]


def _integers() -> Callable[[int], int]:
    """GMP's integers where they are installed: three times as fast as Python's, and used in the same way."""
    try:
        gmp: Any = importlib.import_module("gmpy2")
    except ImportError:
        return int
    integer: Callable[[int], int] = gmp.mpz
    return integer


_int = _integers()

ORDER: Final = _int(0x0800000000000010FFFFFFFFFFFFFFFFB781126DCAE7B2321E66A241ADC64D2F)
"""Order of the group, a prime of 252 bits."""

LIMIT: Final = 2**251
"""What is signed is below this, and so are r and the inverse of s."""

_P: Final = _int(2**251 + 17 * 2**192 + 1)
_B: Final = _int(0x06F21413EFBE40DE150E596D72F7A8C5609AD26C15C915C1F4CDFCB99CEE9E89)
_B3: Final = 3 * _B % _P
_G: Final = (
    _int(0x01EF15C18599971B7BECED415A40F0C7DEACFD9B0D1819E03D723D8BC943CFCA),
    _int(0x005668060AA49730B7BE4801DF46EC62DE53ECD11ABE43A32873000C36E8DC1F),
)

_WINDOW: Final = 6
_WINDOWS: Final = 53
_MASK: Final = (1 << _WINDOW) - 1
# Digits run from 1 to 64 instead of 0 to 63, so that the table holds no identity: one of each is taken off first.
_ONES: Final = sum(1 << _WINDOW * place for place in range(_WINDOWS))


def is_scalar(secret: Secret) -> bool:
    """Whether 32 big-endian bytes are a private key: above zero and below the group order."""
    return 0 < int.from_bytes(secret, "big") < ORDER


def is_signable(digest: Buffer) -> bool:
    """Whether 32 big-endian bytes are a number below 2²⁵¹."""
    return len(digest) == 32 and digest[0] < 8


def public_key(secret: Secret) -> bytes:
    """Compressed SEC1 point (33 bytes) of a private key. Raises ValueError for a scalar out of range."""
    if not is_scalar(secret):
        raise ValueError("not a STARK private key")
    return _compress(_affine(_times_base(_int(int.from_bytes(secret, "big")))))


def uncompressed(public: bytes) -> bytes:
    """Uncompressed SEC1 point (65 bytes) of a compressed one. Raises ValueError for bytes that are none."""
    x, y = _decompress(public)
    return b"\4" + int(x).to_bytes(32, "big") + int(y).to_bytes(32, "big")


def add_scalar(secret: Secret, shift: int) -> None:
    """Replace a private key by its sum with ``shift`` modulo the group order, in place; the sum may be zero."""
    total = (int.from_bytes(secret, "big") + shift) % ORDER
    secret[:] = int(total).to_bytes(32, "big")


def add_base(public: bytes, shift: int) -> bytes | None:
    """The point ``public`` (33 bytes) plus ``shift`` times the base point, or None if that is the identity.

    Raises ValueError for bytes that are no point of the curve.
    """
    total = _add_affine(_times_base(_int(shift)), _decompress(public))
    return _compress(_affine(total)) if total[2] else None


def sign(secret: Secret, digest: Buffer, extra_entropy: bytes) -> bytes:
    """``r || s || recid`` (65 bytes), always low-S, of 32 bytes below 2²⁵¹.

    The nonce is that of RFC 6979 with ``extra_entropy`` as additional data (section 3.6); without any it is the one of
    StarkWare's library. Raises ValueError for a key or digest out of range.
    """
    if not (is_scalar(secret) and is_signable(digest)):
        raise ValueError("the STARK curve signs 32 bytes below 2**251 with a private key of its own")
    key, number = _int(int.from_bytes(secret, "big")), _int(int.from_bytes(digest, "big"))
    for nonce in _nonces(secret, digest, extra_entropy):
        x, y = _affine(_times_base(_int(nonce)))
        blind = _int(1 + int.from_bytes(os.urandom(40), "big") % (ORDER - 1))
        s = pow(nonce * blind % ORDER, -1, ORDER) * (number * blind + x * (key * blind % ORDER)) % ORDER
        odd = int(y) & 1
        if 2 * s > ORDER:
            s, odd = ORDER - s, odd ^ 1
        if 0 < x < LIMIT and s and pow(s, -1, ORDER) < LIMIT:
            return int(x).to_bytes(32, "big") + int(s).to_bytes(32, "big") + bytes((odd,))
    raise AssertionError("nonces do not end")


def recovers(public: bytes, digest: Buffer, signature: bytes) -> bool:
    """Whether ``r || s || recid`` is valid for the digest and recovers exactly ``public`` (33 bytes)."""
    r, s = (_int(int.from_bytes(signature[start : start + 32], "big")) for start in (0, 32))
    if len(signature) != 65 or signature[64] > 1 or not is_signable(digest):
        return False
    if not (0 < r < LIMIT and 0 < s < ORDER and pow(s, -1, ORDER) < LIMIT):
        return False
    try:
        commitment = _decompress(bytes((2 + signature[64],)) + signature[:32])
    except ValueError:
        return False
    # The key is the one point Q with s·R = h·G + r·Q.
    inverse = pow(r, -1, ORDER)
    of_base = _times_base(-int.from_bytes(digest, "big") * inverse % ORDER)
    total = _add(of_base, _times(s * inverse % ORDER, commitment))
    return bool(total[2]) and _compress(_affine(total)) == public


def _nonces(secret: Secret, digest: Buffer, extra_entropy: bytes) -> Iterator[int]:
    """The candidates of RFC 6979 section 3.2 with SHA-256, in their order.

    The digest is a number below the order already and enters as it is; a candidate is the first 252 bits.
    """
    seed = bytearray(64 + len(extra_entropy))
    try:
        seed[:32], seed[32:64], seed[64:] = secret, digest, extra_entropy
        key, value = bytes(32), b"\1" * 32
        for step in (b"\0", b"\1"):
            # One buffer, so that the secret is copied into nothing that stays.
            body = bytearray(value + step) + seed
            key = hmac.digest(key, body, "sha256")
            wipe(body)
            value = hmac.digest(key, value, "sha256")
    finally:
        wipe(seed)
    while True:
        value = hmac.digest(key, value, "sha256")
        nonce = int.from_bytes(value, "big") >> 4
        if 0 < nonce < ORDER:
            yield nonce
        key = hmac.digest(key, value + b"\0", "sha256")
        value = hmac.digest(key, value, "sha256")


def _add(p: _Projective, q: _Projective) -> _Projective:
    """P + Q for any two points, the identity (0 : y : 0) and P = Q included."""
    x1, y1, z1 = p
    x2, y2, z2 = q
    xx, yy, zz = x1 * x2 % _P, y1 * y2 % _P, z1 * z2 % _P
    xy = ((x1 + y1) * (x2 + y2) - xx - yy) % _P
    xz = ((x1 + z1) * (x2 + z2) - xx - zz) % _P
    yz = ((y1 + z1) * (y2 + z2) - yy - zz) % _P
    return _combine(xx, yy, zz, xy, xz, yz)


def _add_affine(p: _Projective, q: _Affine) -> _Projective:
    """P + Q for any point P and any Q but the identity."""
    x1, y1, z1 = p
    x2, y2 = q
    return _combine(x1 * x2, y1 * y2, z1, x1 * y2 + x2 * y1, x1 + x2 * z1, y1 + y2 * z1)


def _double(p: _Projective) -> _Projective:
    x, y, z = p
    return _combine(x * x, y * y, z * z, 2 * x * y, 2 * x * z, 2 * y * z)


def _combine(xx: int, yy: int, zz: int, xy: int, xz: int, yz: int) -> _Projective:
    """The sum from the products of its two points: ``xy`` stands for x1·y2 + x2·y1, and so on."""
    below = (xz + _B3 * zz) % _P
    low, high = yy - below, yy + below
    tangent = (3 * xx + zz) % _P
    slope = (_B3 * xz + xx - zz) % _P
    return (xy * low - yz * slope) % _P, (low * high + tangent * slope) % _P, (yz * high + xy * tangent) % _P


def _times_base(scalar: int) -> _Projective:
    """``scalar`` times the base point, by a blinded scalar from a blinded start."""
    table = _table()
    rest = int(scalar + (1 << 63 | int.from_bytes(os.urandom(8), "big")) * ORDER) - _ONES
    total: _Projective = (_int(0), _int(1 + int.from_bytes(os.urandom(31), "big")), _int(0))
    for place in range(_WINDOWS):
        total = _add_affine(total, table[place][rest >> _WINDOW * place & _MASK])
    return total


def _times(scalar: int, point: _Affine) -> _Projective:
    """``scalar`` times any point, for what is public anyway."""
    multiples: list[_Projective] = [(_int(0), _int(1), _int(0))]
    for _ in range(15):
        multiples.append(_add_affine(multiples[-1], point))
    total = multiples[0]
    for shift in range(252, -4, -4):
        for _ in range(4):
            total = _double(total)
        total = _add(total, multiples[int(scalar >> shift) & 15])
    return total


@functools.cache
def _table() -> tuple[tuple[_Affine, ...], ...]:
    """For each window, 1 to 64 times its power of the base point; made once, at the first use."""
    rows: list[tuple[_Affine, ...]] = []
    base = _G
    for _ in range(_WINDOWS):
        row = [(base[0], base[1], _int(1))]
        for _ in range(_MASK):
            row.append(_add_affine(row[-1], base))
        affine = _all_affine(row)
        rows.append(affine)
        base = affine[-1]
    return tuple(rows)


def _all_affine(points: list[_Projective]) -> tuple[_Affine, ...]:
    """Affine coordinates of points that are not the identity, with one inversion for all."""
    products = [_int(1)]
    for _, _, z in points:
        products.append(products[-1] * z % _P)
    inverse = pow(products[-1], -1, _P)
    affine: list[_Affine] = []
    for (x, y, z), before in zip(reversed(points), reversed(products[:-1]), strict=True):
        own = inverse * before % _P
        affine.append((x * own % _P, y * own % _P))
        inverse = inverse * z % _P
    return tuple(reversed(affine))


def _affine(point: _Projective) -> _Affine:
    inverse = pow(point[2], -1, _P)
    return point[0] * inverse % _P, point[1] * inverse % _P


def _compress(point: _Affine) -> bytes:
    return bytes((2 + (int(point[1]) & 1),)) + int(point[0]).to_bytes(32, "big")


def _decompress(public: bytes) -> _Affine:
    x = _int(int.from_bytes(public[1:], "big"))
    if len(public) != 33 or public[0] not in (2, 3) or x >= _P:
        raise ValueError("not a compressed point of the STARK curve")
    y = _square_root(((x * x + 1) * x + _B) % _P)
    return x, (y if int(y) & 1 == public[0] & 1 else _P - y)


def _square_root(square: int) -> int:
    """A root of ``square`` modulo the field prime, by Cipolla's method. Raises ValueError if there is none.

    The prime is 1 modulo 2¹⁹², for which the method of Tonelli and Shanks is slow.
    """
    if not square or pow(square, (_P - 1) // 2, _P) != 1:
        # The group has prime order, so no point has y = 0.
        raise ValueError("not a point of the STARK curve")
    real = 1
    while pow((real * real - square) % _P, (_P - 1) // 2, _P) == 1:
        real += 1
    square_of_i = (real * real - square) % _P
    root, base = (_int(1), _int(0)), (_int(real), _int(1))
    exponent = int((_P + 1) // 2)
    while exponent:
        if exponent & 1:
            root = _times_complex(root, base, square_of_i)
        base = _times_complex(base, base, square_of_i)
        exponent >>= 1
    return root[0]


def _times_complex(p: _Affine, q: _Affine, square_of_i: int) -> _Affine:
    return (p[0] * q[0] + p[1] * q[1] % _P * square_of_i) % _P, (p[0] * q[1] + p[1] * q[0]) % _P
