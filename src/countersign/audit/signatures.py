"""Whether a key signed what was consented to: its signature against the request's body."""

from __future__ import annotations

import hashlib
from typing import Any

from coincurve import PublicKey, PublicKeyXOnly
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from countersign.audit.entry import Signature
from countersign.credentials import ed25519
from countersign.encoding import strictjson
from countersign.keystores import stark

_SIGNATURE_BYTES = 64
_PUBLIC_KEY_BYTES = {"EdDSA": 32, "ECDSA": 33, "Schnorr": 33}
# BIP-340: a tagged hash begins with the hash of its tag, twice.
_TAPTWEAK = hashlib.sha256(b"TapTweak").digest() * 2


def check_signature(said: Signature, payload: str) -> str | None:
    """Why the entry's signature is not one of its key over what ``payload`` asks for; ``None`` when it is.

    ``payload``: the canonical body of the action, of kind ``Hash`` (32 bytes) or ``Message``. ECDSA and Schnorr
    (BIP-340, under the key tweaked as in BIP-341) sign the 32 bytes, on the STARK curve numbers below 2^251; Ed25519
    signs the bytes as its message.
    """
    if said.signature is None:
        return None
    try:
        body = strictjson.parse_object(payload)
        asked, root = _asked(body)
        signature, public_key = bytes.fromhex(said.signature), bytes.fromhex(said.public_key)
        tweak = None if said.taproot_tweak is None else bytes.fromhex(said.taproot_tweak)
    except ValueError:
        return "the signature or what it is of cannot be read"
    if tweak != root:
        return "the key was tweaked otherwise than was consented to"
    lengths = (len(signature), len(public_key))
    if lengths != (_SIGNATURE_BYTES, _PUBLIC_KEY_BYTES.get(said.scheme)):
        return f"no signature or key of the scheme {said.scheme}"
    if not _holds(said.scheme, said.curve, public_key, asked, tweak, signature):
        return "the key's signature is not one of what was consented to"
    return None


def _asked(body: dict[str, Any]) -> tuple[bytes, bytes | None]:
    """What is to be signed, and the root of the script tree for a taproot tweak."""
    member, root = ("message" if body.get("kind") == "Message" else "hash"), body.get("taprootMerkleRoot")
    return _bytes(body.get(member)), None if root is None else _bytes(root)


def _bytes(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("expected hex")  # noqa: TRY004 - as bytes.fromhex says it of other texts
    return bytes.fromhex(text.removeprefix("0x"))


def _holds(scheme: str, curve: str, public_key: bytes, asked: bytes, tweak: bytes | None, signature: bytes) -> bool:
    try:
        if curve == "stark":
            # The log has no recovery id; that of a low-S signature is 0 or 1.
            return any(stark.recovers(public_key, asked, signature + bytes((recid,))) for recid in (0, 1))
        if scheme == "EdDSA":
            return ed25519.holds(public_key, asked, signature)
        if len(asked) != 32:
            return False
        if scheme == "Schnorr":
            return _output_key(public_key, tweak).verify(signature, asked)
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        return PublicKey(public_key).verify(encode_dss_signature(r, s), asked, hasher=None)
    except ValueError:
        return False


def _output_key(public_key: bytes, tweak: bytes | None) -> PublicKeyXOnly:
    key = PublicKeyXOnly(public_key[1:])
    if tweak is not None:
        key.tweak_add(hashlib.sha256(_TAPTWEAK + public_key[1:] + tweak).digest())
    return key
