"""Signatures checked with libraries that the server does not sign with, and by the texts of the standards."""

from __future__ import annotations

import hashlib
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256

# secp256k1 (SEC 2): field, order, generator.
P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)

Point = tuple[int, int] | None


def _add(a: Point, b: Point) -> Point:
    if a is None or b is None:
        return a if b is None else b
    if a[0] == b[0] and (a[1] + b[1]) % P == 0:
        return None
    slope = 3 * a[0] * a[0] * pow(2 * a[1], -1, P) if a == b else (b[1] - a[1]) * pow(b[0] - a[0], -1, P)
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def _times(scalar: int, point: Point) -> Point:
    result: Point = None
    while scalar:
        if scalar & 1:
            result = _add(result, point)
        point, scalar = _add(point, point), scalar >> 1
    return result


def _lift_x(x: int) -> tuple[int, int]:
    """The point with this x and even y (BIP-340)."""
    square = (pow(x, 3, P) + 7) % P
    y = pow(square, (P + 1) // 4, P)
    assert y * y % P == square, "no point has this x"
    return x, y if y % 2 == 0 else P - y


def _tagged(tag: str, data: bytes) -> int:
    name = hashlib.sha256(tag.encode()).digest()
    return int.from_bytes(hashlib.sha256(name + name + data).digest(), "big")


def taproot_output_key(public_key: str, merkle_root: bytes) -> bytes:
    """The 32-byte output key of BIP-341 for an internal key (hex, SEC1) and a script tree's root, or ``b""``."""
    x = bytes.fromhex(public_key)[1:]
    tweak = _tagged("TapTweak", x + merkle_root)
    output = _add(_lift_x(int.from_bytes(x, "big")), _times(tweak, G))
    assert output is not None
    return output[0].to_bytes(32, "big")


def check_schnorr(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Verify as BIP-340 says, under a 32-byte x-only key."""
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    assert len(signature) == 64
    assert r < P
    assert s < N
    challenge = _tagged("BIP0340/challenge", signature[:32] + public_key + message) % N
    found = _add(_times(s, G), _times(N - challenge, _lift_x(int.from_bytes(public_key, "big"))))
    assert found is not None
    assert found[1] % 2 == 0
    assert found[0] == r


def raw(signature: dict[str, Any]) -> bytes:
    """The 64 bytes r and s of a signature as the API shows it."""
    r, s = signature["r"], signature["s"]
    assert len(r) == len(s) == 66
    assert r.startswith("0x")
    assert s.startswith("0x")
    return bytes.fromhex(r[2:] + s[2:])


def check_ecdsa(public_key: str, digest: bytes, signature: dict[str, Any]) -> None:
    """Verify a signature over a 32-byte digest; s is low, and ``recid`` leads back to the key (SEC 1, 4.1.6)."""
    both = raw(signature)
    r, s = int.from_bytes(both[:32], "big"), int.from_bytes(both[32:], "big")
    assert s <= N // 2
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), bytes.fromhex(public_key))
    key.verify(utils.encode_dss_signature(r, s), digest, ec.ECDSA(utils.Prehashed(SHA256())))
    x, y = _lift_x(r)
    point = (x, y if y % 2 == signature["recid"] else P - y)
    inverse = pow(r, -1, N)
    recovered = _add(_times(s * inverse % N, point), _times(-int.from_bytes(digest, "big") * inverse % N, G))
    assert recovered is not None
    assert f"{2 + recovered[1] % 2:02x}{recovered[0]:064x}" == public_key


def check_eddsa(public_key: str, message: bytes, signature: dict[str, Any]) -> None:
    """Verify as RFC 8032 says."""
    assert signature["encoded"] == "0x" + raw(signature).hex()
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(raw(signature), message)
