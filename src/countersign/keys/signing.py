"""What a signature request asks the signer for, and how its answer is written down. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from countersign.api import UNSET
from countersign.keys.types import CreateSignature, Hash, Message, SignatureParts

#: Pairs of scheme and curve that keys are made of.
SUPPORTED: frozenset[tuple[str, str]] = frozenset(
    {("ECDSA", "secp256k1"), ("EdDSA", "ed25519"), ("Schnorr", "secp256k1")}
)


@dataclass(frozen=True, slots=True)
class ToSign:
    """``payload``: 32 bytes for ``digest32``, else the whole message; ``tweak`` as in BIP-341, ``None`` for none.

    An empty ``tweak`` commits to the key alone, 32 bytes are the root of a script tree.
    """

    payload_kind: Literal["digest32", "message"]
    payload: bytes
    tweak: bytes | None


@dataclass(frozen=True, slots=True)
class Unsupported:
    """The key cannot sign this; ``reason`` is for the caller."""

    reason: str


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def to_sign(body: CreateSignature, scheme: str) -> ToSign | Unsupported:
    """The signer's input for a request on a key of this scheme.

    ECDSA signs the 32 bytes as a digest, Schnorr as a BIP-340 message under the tweaked key; an EdDSA
    key takes the bytes as its message, never hashed before.
    """
    if body.network is not UNSET or body.blockchain_kind is not UNSET:
        return Unsupported("network and blockchainKind are not supported for this kind yet; leave them out")
    if isinstance(body, Message):
        if scheme != "EdDSA":
            return Unsupported(
                f"kind Message needs an EdDSA key, this one is {scheme}: hash the message and use kind Hash"
            )
        return ToSign("message", _bytes(body.message), None)
    digest = _bytes(body.hash)
    if scheme == "Schnorr":
        if body.taproot_merkle_root is UNSET:
            return Unsupported('taprootMerkleRoot is required with a Schnorr key; "" stands for no script tree')
        return ToSign("digest32", digest, _bytes(body.taproot_merkle_root))
    if body.taproot_merkle_root is not UNSET:
        return Unsupported(f"taprootMerkleRoot is for Schnorr keys, this one is {scheme}")
    if scheme == "EdDSA":
        return ToSign("message", digest, None)
    return ToSign("digest32", digest, None)


def parts(scheme: str, signature: bytes, recid: int | None) -> SignatureParts:
    """64 bytes r || s as the wire shows them. EdDSA and Schnorr also carry the whole as ``encoded``."""
    r, s = f"0x{signature[:32].hex()}", f"0x{signature[32:].hex()}"
    if scheme == "ECDSA":
        return SignatureParts(r=r, s=s, recid=UNSET if recid is None else recid)
    return SignatureParts(r=r, s=s, encoded=f"0x{signature.hex()}")


__all__ = ["SUPPORTED", "Hash", "Message", "ToSign", "Unsupported", "parts", "to_sign"]
