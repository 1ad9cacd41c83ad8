"""What a signature request asks a key to sign. Pure.

One function for both sides: the API makes its order with it, and the signer compares the order with what the request
asks for that somebody countersigned. So the two can't read one request in two ways.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

_HEX: Final = re.compile(r"(?:0x)?((?:[0-9a-fA-F]{2})*)", re.ASCII)
_SIGNS: Final = frozenset({"ECDSA", "EdDSA", "Schnorr"})
_DIGEST_BYTES: Final = 32


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


def read_hex(value: object) -> bytes | None:
    """Bytes of a hexadecimal text with or without ``0x``, in either case; ``None`` for anything else."""
    found = _HEX.fullmatch(value) if isinstance(value, str) else None
    return None if found is None else bytes.fromhex(found[1])


def to_sign(body: Mapping[str, Any], scheme: str) -> ToSign | Unsupported:
    """The signer's input for the body of a signature request (JSON as parsed) on a key of this scheme.

    ECDSA signs the 32 bytes as a digest, Schnorr as a BIP-340 message under the tweaked key; an EdDSA key takes the
    bytes as its message, never hashed before.
    """
    if scheme not in _SIGNS:
        return Unsupported(f"a key of scheme {scheme} signs nothing")
    if "network" in body or "blockchainKind" in body:
        return Unsupported("network and blockchainKind are not supported for this kind yet; leave them out")
    kind = body.get("kind")
    if kind == "Message":
        return _message(body, scheme)
    if kind != "Hash":
        return Unsupported("kind is neither Hash nor Message")
    digest = read_hex(body.get("hash"))
    if digest is None or len(digest) != _DIGEST_BYTES:
        return Unsupported("hash is not 32 bytes in hexadecimal")
    if scheme == "Schnorr":
        return _taproot(body, digest)
    if "taprootMerkleRoot" in body:
        return Unsupported(f"taprootMerkleRoot is for Schnorr keys, this one is {scheme}")
    return ToSign("message" if scheme == "EdDSA" else "digest32", digest, None)


def _message(body: Mapping[str, Any], scheme: str) -> ToSign | Unsupported:
    if scheme != "EdDSA":
        return Unsupported(f"kind Message needs an EdDSA key, this one is {scheme}: hash the message and use kind Hash")
    message = read_hex(body.get("message"))
    return Unsupported("message is not hexadecimal") if message is None else ToSign("message", message, None)


def _taproot(body: Mapping[str, Any], digest: bytes) -> ToSign | Unsupported:
    if "taprootMerkleRoot" not in body:
        return Unsupported('taprootMerkleRoot is required with a Schnorr key; "" stands for no script tree')
    tweak = read_hex(body["taprootMerkleRoot"])
    if tweak is None or len(tweak) not in (0, _DIGEST_BYTES):
        return Unsupported("taprootMerkleRoot is neither empty nor 32 bytes in hexadecimal")
    return ToSign("digest32", digest, tweak)
