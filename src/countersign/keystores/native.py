"""Signing straight from the locked page, through the libraries inside the coincurve and PyNaCl wheels.

The two modules below are private API of those packages, whose versions are therefore pinned; a known-answer test runs
at import, so that a signer with a changed or broken library does not start.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT
from nacl._sodium import ffi as sodium_ffi
from nacl._sodium import lib as sodium

from countersign.keystores.memory import LockedPage
from countersign.keystores.protocol import Buffer

Secret = memoryview | bytearray

_CTX = GLOBAL_CONTEXT.ctx
_COMPRESSED: Final = 258
_TAPTWEAK: Final = hashlib.sha256(b"TapTweak").digest() * 2


def is_scalar(secret: Secret) -> bool:
    """Whether 32 big-endian bytes are a secp256k1 private key: not zero and below the group order."""
    return bool(lib.secp256k1_ec_seckey_verify(_CTX, ffi.from_buffer("unsigned char[]", secret)))


def negate_scalar(secret: Secret) -> None:
    """Replace a secp256k1 private key by its negative, in place."""
    if not lib.secp256k1_ec_seckey_negate(_CTX, ffi.from_buffer("unsigned char[]", secret)):
        raise ValueError("not a secp256k1 private key")


def secp256k1_public_key(secret: Secret) -> bytes:
    """Compressed SEC1 point (33 bytes) of a private key. Raises ValueError for a scalar out of range."""
    point = ffi.new("secp256k1_pubkey *")
    if not lib.secp256k1_ec_pubkey_create(_CTX, point, ffi.from_buffer("unsigned char[]", secret)):
        raise ValueError("not a secp256k1 private key")
    return _compressed(point)


def add_scalar(secret: Secret, shift: bytes) -> None:
    """Replace a private key by its sum with ``shift`` (32 bytes big-endian) modulo the group order, in place.

    Raises ValueError if the shift is not below the order or the sum is zero; the secret is zero then.
    """
    if not lib.secp256k1_ec_seckey_tweak_add(_CTX, ffi.from_buffer("unsigned char[]", secret), shift):
        raise ValueError("no private key by this shift")


def add_base(public_key: bytes, shift: bytes) -> bytes | None:
    """The point ``public_key`` plus ``shift`` times the base point (33 bytes), or None where ``add_scalar`` fails."""
    point = _parsed(public_key)
    if not lib.secp256k1_ec_pubkey_tweak_add(_CTX, point, shift):
        return None
    return _compressed(point)


def combine(points: list[bytes]) -> bytes:
    """Sum of SEC1 points, compressed. Raises ValueError for bytes that are no point, and for the identity."""
    parsed, total = [_parsed(point) for point in points], ffi.new("secp256k1_pubkey *")
    if not lib.secp256k1_ec_pubkey_combine(_CTX, total, parsed, len(parsed)):
        raise ValueError("the points add up to the identity")
    return _compressed(total)


def ecdh(secret: Secret, public_key: bytes) -> bytes:
    """SHA-256 of the compressed product (33 bytes) of a private key and a SEC1 point, in constant time."""
    output = ffi.new("unsigned char[32]")
    key = ffi.from_buffer("unsigned char[]", secret)
    if not lib.secp256k1_ecdh(_CTX, output, _parsed(public_key), key, ffi.NULL, ffi.NULL):
        raise ValueError("not a secp256k1 private key")
    return bytes(ffi.buffer(output))


def ecdsa_sign(secret: Secret, digest: Buffer, extra_entropy: bytes | None) -> bytes:
    """``r || s || recid`` (65 bytes), always low-S, of a 32-byte digest.

    The nonce is that of RFC 6979 with ``extra_entropy`` (32 bytes) as additional data (section 3.6): a repeated or
    predictable generator can't repeat a nonce for two messages, and fresh entropy defends against fault attacks.
    None leaves the additional data out, which only known answers need.
    """
    if len(digest) != 32 or (extra_entropy is not None and len(extra_entropy) != 32):
        raise ValueError("ECDSA signs a 32-byte digest with 32 bytes of extra entropy")
    signature = ffi.new("secp256k1_ecdsa_recoverable_signature *")
    message = ffi.from_buffer("unsigned char[]", digest)
    key = ffi.from_buffer("unsigned char[]", secret)
    nonce = lib.secp256k1_nonce_function_rfc6979
    extra = ffi.NULL if extra_entropy is None else extra_entropy
    if not lib.secp256k1_ecdsa_sign_recoverable(_CTX, signature, message, key, nonce, extra):
        raise ValueError("not a secp256k1 private key")
    compact, recid = ffi.new("unsigned char[64]"), ffi.new("int *")
    lib.secp256k1_ecdsa_recoverable_signature_serialize_compact(_CTX, compact, recid, signature)
    return bytes(ffi.buffer(compact)) + bytes((recid[0],))


def ecdsa_recovers(public_key: bytes, digest: Buffer, signature: bytes) -> bool:
    """Whether ``r || s || recid`` is valid for the digest and recovers exactly ``public_key`` (33 bytes)."""
    parsed, point = ffi.new("secp256k1_ecdsa_recoverable_signature *"), ffi.new("secp256k1_pubkey *")
    message = ffi.from_buffer("unsigned char[]", digest)
    return bool(
        lib.secp256k1_ecdsa_recoverable_signature_parse_compact(_CTX, parsed, signature[:64], signature[64])
        and lib.secp256k1_ecdsa_recover(_CTX, point, parsed, message)
        and _compressed(point) == public_key
    )


def bip340_sign(
    secret: Secret, keypair: Secret, public_key: bytes, message: Buffer, tweak: bytes | None, aux: bytes
) -> bytes:
    """64-byte BIP340 signature of 32 bytes, by the key itself or by its BIP341 output key.

    ``keypair`` is 96 bytes of scratch and must be wiped by the caller. ``tweak``: None = none, empty = the taproot
    tweak without a script tree, 32 bytes = merkle root. ``aux`` is 32 bytes of fresh randomness.
    """
    if len(message) != 32 or len(aux) != 32:
        raise ValueError("BIP340 signs 32 bytes with 32 bytes of auxiliary randomness")
    pair = ffi.from_buffer("secp256k1_keypair *", keypair)
    if not lib.secp256k1_keypair_create(_CTX, pair, ffi.from_buffer("unsigned char[]", secret)):
        raise ValueError("not a secp256k1 private key")
    if tweak is not None and not lib.secp256k1_keypair_xonly_tweak_add(_CTX, pair, _taproot_tweak(public_key, tweak)):
        raise ValueError("taproot tweak out of range")
    signature = ffi.new("unsigned char[64]")
    if not lib.secp256k1_schnorrsig_sign32(_CTX, signature, ffi.from_buffer("unsigned char[]", message), pair, aux):
        raise ValueError("BIP340 signing failed")
    return bytes(ffi.buffer(signature))


def bip340_verify(public_key: bytes, message: Buffer, tweak: bytes | None, signature: bytes) -> bool:
    """Whether a BIP340 signature is by ``public_key`` (33 bytes, even y), tweaked as in ``bip340_sign``."""
    key = ffi.new("secp256k1_xonly_pubkey *")
    if not lib.secp256k1_xonly_pubkey_parse(_CTX, key, public_key[1:]):
        return False
    if tweak is not None:
        point = ffi.new("secp256k1_pubkey *")
        if not lib.secp256k1_xonly_pubkey_tweak_add(_CTX, point, key, _taproot_tweak(public_key, tweak)):
            return False
        lib.secp256k1_xonly_pubkey_from_pubkey(_CTX, key, ffi.NULL, point)
    body = ffi.from_buffer("unsigned char[]", message)
    return bool(lib.secp256k1_schnorrsig_verify(_CTX, signature, body, len(message), key))


def ed25519_public_key(seed: Secret, scratch: Secret) -> bytes:
    """Public key (32 bytes, RFC 8032) of a 32-byte seed. ``scratch`` is 64 bytes that the caller must wipe."""
    public_key = sodium_ffi.new("unsigned char[32]")
    pair = sodium_ffi.from_buffer("unsigned char[]", scratch)
    # The pair is no place for the seed itself: libsodium writes the hash of the seed there before it reads it again.
    if sodium.crypto_sign_seed_keypair(public_key, pair, sodium_ffi.from_buffer("unsigned char[]", seed)) != 0:
        raise ValueError("no Ed25519 key from this seed")
    return bytes(sodium_ffi.buffer(public_key))


def ed25519_sign(secret_pair: Secret, message: Buffer) -> bytes:
    """64-byte signature of the whole message (RFC 8032, no pre-hash) by seed and public key, 32 bytes each."""
    signed = sodium_ffi.new("unsigned char[]", 64 + len(message))
    pair = sodium_ffi.from_buffer("unsigned char[]", secret_pair)
    body = sodium_ffi.from_buffer("unsigned char[]", message)
    if sodium.crypto_sign(signed, sodium_ffi.NULL, body, len(message), pair) != 0:
        raise ValueError("Ed25519 signing failed")
    return bytes(sodium_ffi.buffer(signed, 64))


def ed25519_verify(public_key: bytes, message: Buffer, signature: bytes) -> bool:
    """Whether a 64-byte signature over the whole message is by ``public_key``."""
    signed = signature + bytes(message)
    opened = sodium_ffi.new("unsigned char[]", len(signed))
    length = sodium_ffi.new("unsigned long long *")
    return bool(sodium.crypto_sign_open(opened, length, signed, len(signed), public_key) == 0)


def _parsed(public_key: bytes) -> Any:
    point = ffi.new("secp256k1_pubkey *")
    if not lib.secp256k1_ec_pubkey_parse(_CTX, point, public_key, len(public_key)):
        raise ValueError("not a point of secp256k1")
    return point


def _compressed(point: object) -> bytes:
    out, size = ffi.new("unsigned char[33]"), ffi.new("size_t *", 33)
    lib.secp256k1_ec_pubkey_serialize(_CTX, out, size, point, _COMPRESSED)
    return bytes(ffi.buffer(out))


def _taproot_tweak(public_key: bytes, merkle_root: bytes) -> bytes:
    """BIP341: tagged hash ``TapTweak`` over the x-only internal key and the merkle root, if there is one."""
    return hashlib.sha256(_TAPTWEAK + public_key[1:] + merkle_root).digest()


def _known_answers() -> None:
    """BIP340 vector 0, RFC 8032 test 1, an ECDSA signature that recovers its key, 3·3G; all from the locked page."""
    page = LockedPage()
    try:
        page.secret[:] = (3).to_bytes(32, "big")
        public_key = secp256k1_public_key(page.secret)
        digest = bytes(32)
        recoverable = ecdsa_sign(page.secret, digest, digest)
        schnorr = bip340_sign(page.secret, page.keypair, public_key, digest, None, digest)
        shared = ecdh(page.secret, public_key)
        page.secret[:] = (9).to_bytes(32, "big")
        nine = secp256k1_public_key(page.secret)
        page.secret[:] = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
        edwards = ed25519_public_key(page.secret, page.keypair)
        page.secret_pair[32:] = edwards
        good = (
            public_key.hex() == "02f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9"
            and ecdsa_recovers(public_key, digest, recoverable)
            and schnorr.hex().startswith("e907831f80848d1069a5371b402410364bdf1c5f8307b0084c55f1ce2dca8215")
            and bip340_verify(public_key, digest, None, schnorr)
            and shared == hashlib.sha256(nine).digest()
            and edwards.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
            and ed25519_sign(page.secret_pair, b"").hex().startswith("e5564300c360ac729086e2cc806e828a")
            and not ed25519_verify(edwards, b"", bytes(64))
        )
    finally:
        page.wipe_all()
    if not good:
        raise RuntimeError("a signing library fails its known-answer test; check the coincurve and pynacl versions")


_known_answers()
