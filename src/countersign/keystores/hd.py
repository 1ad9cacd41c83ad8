"""Child keys of master keys, by steps that anyone with the public key and the chain code can follow.

A step takes a point, its 32-byte chain code and an index, and gives a shift: the child's point is the parent's plus the
shift times the base point, the child's scalar the parent's plus the shift. Only such non-hardened steps exist here, so
that a key whose scalar is shared among several holders can take them too.

- secp256k1: public derivation of BIP-32, with the retry of SLIP-10 where BIP-32 gives up.
- stark: the same with the point and the group order of the STARK curve.
- ed25519: HMAC-SHA512 of the point, a zero byte and the index; the left half modulo L is the shift. SLIP-10 has no
  such steps for this curve.

A child's scalar and the chain code together give the scalar of the master, so chain codes stay with the private keys.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from countersign.keystores import ed25519_scalar, native, stark
from countersign.keystores.derivation_path import HARDENED
from countersign.keystores.protocol import Buffer

SECP256K1_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@dataclass(frozen=True, slots=True)
class ExtendedPublicKey:
    """A point in its canonical encoding (SEC1 compressed, or RFC 8032 for ed25519) and its chain code (32 bytes)."""

    public_key: bytes
    chain_code: bytes


def derive_public(curve: str, parent: ExtendedPublicKey, indices: Sequence[int]) -> ExtendedPublicKey:
    """The child of a public key along ``indices``. Raises ValueError for bytes that are no point of ``curve``.

    For a Schnorr key, whose public key always has an even y, take the child with its first byte as ``02``.
    """
    point, chain_code = parent.public_key, parent.chain_code
    for index in indices:
        _, point, chain_code = _step(curve, point, chain_code, index)
    return ExtendedPublicKey(point, chain_code)


def derive_scalar(
    curve: str, scalar: memoryview, public_key: bytes, chain_code: Buffer, indices: Sequence[int]
) -> ExtendedPublicKey:
    """Replace a private scalar (32 bytes, in the encoding of its curve) by its child's, in place.

    ``public_key`` is the scalar's own point, which the caller has checked. Gives the child's. Chain codes between the
    steps and the shifts pass through immutable bytes: with the child's scalar they would give the parent's.
    """
    point = public_key
    for index in indices:
        shift, point, chain_code = _step(curve, point, chain_code, index)
        if curve == "secp256k1":
            native.add_scalar(scalar, shift.to_bytes(32, "big"))
        elif curve == "stark":
            stark.add_scalar(scalar, shift)
        else:
            ed25519_scalar.add(scalar, shift.to_bytes(32, "little"))
    return ExtendedPublicKey(point, bytes(chain_code))


def _step(curve: str, point: bytes, chain_code: Buffer, index: int) -> tuple[int, bytes, bytes]:
    """The shift of one step, the child's point and its chain code."""
    if not 0 <= index < HARDENED:
        raise ValueError("only non-hardened steps")
    suffix = index.to_bytes(4, "big")
    if curve == "ed25519":
        digest = hmac.digest(chain_code, point + b"\0" + suffix, "sha512")
        shift = int.from_bytes(digest[:32], "big") % ed25519_scalar.ORDER
        child = _child(curve, point, shift)
        if child is None:
            raise ValueError("the child is the identity")
        return shift, child, digest[32:]
    order = stark.ORDER if curve == "stark" else SECP256K1_ORDER
    digest = hmac.digest(chain_code, point + suffix, "sha512")
    while True:
        shift = int.from_bytes(digest[:32], "big")
        if shift < order and (child := _child(curve, point, shift)) is not None:
            return shift, child, digest[32:]
        digest = hmac.digest(chain_code, b"\1" + digest[32:] + suffix, "sha512")


def _child(curve: str, point: bytes, shift: int) -> bytes | None:
    if curve == "secp256k1":
        return native.add_base(point, shift.to_bytes(32, "big"))
    if curve == "stark":
        return stark.add_base(point, shift)
    return ed25519_scalar.add_base(point, shift.to_bytes(32, "little"))
