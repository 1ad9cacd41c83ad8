"""What a signature request asks the signer for, and how its answer is written down. Pure."""

from __future__ import annotations

import msgspec

from countersign.api import UNSET
from countersign.keys.types import CreateSignature, Hash, Message, SignatureParts
from countersign.keystores import requested
from countersign.keystores.requested import ToSign, Unsupported

#: Pairs of scheme and curve that keys are made of.
SUPPORTED: frozenset[tuple[str, str]] = frozenset(
    {("ECDSA", "secp256k1"), ("ECDSA", "stark"), ("EdDSA", "ed25519"), ("Schnorr", "secp256k1"), ("DH", "secp256k1")}
)


def to_sign(body: CreateSignature, scheme: str, curve: str) -> ToSign | Unsupported:
    """The signer's input for a request on such a key; the signer itself reads the request with the same.

    On the stark curve digests are below 2^251, as its signatures are defined.
    """
    wanted = requested.to_sign(msgspec.to_builtins(body), scheme)
    if curve == "stark" and isinstance(wanted, ToSign) and int.from_bytes(wanted.payload) >> 251:
        return Unsupported("hash must be below 2^251 with a key on the stark curve")
    return wanted


def parts(scheme: str, signature: bytes, recid: int | None) -> SignatureParts:
    """64 bytes r || s as the wire shows them. EdDSA and Schnorr also carry the whole as ``encoded``."""
    r, s = f"0x{signature[:32].hex()}", f"0x{signature[32:].hex()}"
    if scheme == "ECDSA":
        return SignatureParts(r=r, s=s, recid=UNSET if recid is None else recid)
    return SignatureParts(r=r, s=s, encoded=f"0x{signature.hex()}")


__all__ = ["SUPPORTED", "Hash", "Message", "ToSign", "Unsupported", "parts", "to_sign"]
