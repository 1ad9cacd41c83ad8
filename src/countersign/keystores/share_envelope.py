"""The envelope in which key shares travel, in both directions: ECIES over secp256k1, whatever the curve of the key.

The shared point is that of Diffie-Hellman between the recipient's key and a key made for this one envelope, in SEC1
compressed form (33 bytes). HKDF-SHA256 (RFC 5869) of it, with salt ``DFNS_KEY_IMPORT`` and info ``ENCRYPTION_KEY``,
gives the AES-256-GCM key; the nonce is 12 zero bytes, which is safe because no such key is ever used twice. An
envelope is ciphertext, tag (16 bytes) and the compressed ephemeral point (33 bytes).

An encryption key travels as the version byte ``0x01`` and the compressed point (34 bytes), a decryption key as the
version byte and the scalar, big-endian (33 bytes).
"""

from __future__ import annotations

from typing import Final

from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from countersign.keystores import native
from countersign.keystores.memory import fill_random, wipe
from countersign.keystores.native import Secret
from countersign.keystores.outcome import Refusal

VERSION: Final = 1
ENCRYPTION_KEY_BYTES: Final = 34
DECRYPTION_KEY_BYTES: Final = 33
OVERHEAD: Final = 16 + 33
"""By how many bytes an envelope is longer than its content."""

_SALT: Final = b"DFNS_KEY_IMPORT"
_INFO: Final = b"ENCRYPTION_KEY"
_NONCE: Final = bytes(12)
_POINT_BYTES: Final = 33
_COMPRESSED: Final = 258
_CTX = GLOBAL_CONTEXT.ctx


def encryption_key(scalar: Secret) -> bytes:
    """The encryption key (34 bytes) that belongs to a decryption scalar (32 bytes, big-endian)."""
    return bytes((VERSION,)) + native.secp256k1_public_key(scalar)


def encryption_point(key: bytes) -> bytes | Refusal:
    """The compressed point of a serialised encryption key (34 bytes)."""
    if len(key) != ENCRYPTION_KEY_BYTES:
        return Refusal("Unsupported", f"an encryption key has {ENCRYPTION_KEY_BYTES} bytes, not {len(key)}")
    if key[0] != VERSION:
        return Refusal("Unsupported", f"encryption keys of version {key[0]} are not supported")
    if _point(key[1:]) is None:
        return Refusal("Unsupported", "the encryption key is no point of secp256k1")
    return key[1:]


def decryption_scalar(key: Secret) -> Refusal | None:
    """Why a serialised decryption key (33 bytes) is none; its scalar is all but the first byte."""
    if len(key) != DECRYPTION_KEY_BYTES:
        return Refusal("Unsupported", f"a decryption key has {DECRYPTION_KEY_BYTES} bytes, not {len(key)}")
    if key[0] != VERSION:
        return Refusal("Unsupported", f"decryption keys of version {key[0]} are not supported")
    if not native.is_scalar(key[1:]):
        return Refusal("Unsupported", "the decryption key is out of range")
    return None


def encrypt(key: bytes, content: bytes | bytearray) -> bytes | Refusal:
    """The envelope of ``content`` for a serialised encryption key (34 bytes), under an ephemeral key of its own."""
    recipient = encryption_point(key)
    if isinstance(recipient, Refusal):
        return recipient
    ephemeral = _random_scalar()
    try:
        cipher = _cipher(ephemeral, recipient)
        if isinstance(cipher, Refusal):
            return cipher
        return cipher.encrypt(_NONCE, content, None) + native.secp256k1_public_key(ephemeral)
    finally:
        wipe(ephemeral)


def decrypt(scalar: Secret, envelope: bytes, into: memoryview) -> memoryview | Refusal:
    """Open an envelope with a decryption scalar (32 bytes) into ``into``; the part of it that was filled.

    The caller wipes ``into``, in any case.
    """
    room = len(envelope) - OVERHEAD
    if room <= 0:
        return Refusal("Unsupported", f"an envelope has more than {OVERHEAD} bytes, not {len(envelope)}")
    if room > len(into):
        return Refusal("Unsupported", f"the envelope is longer than any key share: {len(envelope)} bytes")
    cipher = _cipher(scalar, envelope[-_POINT_BYTES:])
    if isinstance(cipher, Refusal):
        return cipher
    target = into[:room]
    try:
        cipher.decrypt_into(_NONCE, envelope[:-_POINT_BYTES], None, target)
    except InvalidTag:
        wipe(target)  # decrypted before the tag was checked
        return Refusal("Unsupported", "the envelope does not open: it was changed, or made for another key")
    return target


def _cipher(scalar: Secret, point: bytes) -> AESGCM | Refusal:
    shared = _shared_point(scalar, point)
    if shared is None:
        return Refusal("Unsupported", "the envelope names no point of secp256k1")
    return AESGCM(HKDF(SHA256(), 32, _SALT, _INFO).derive(shared))


def _shared_point(scalar: Secret, point: bytes) -> bytes | None:
    """``scalar * point``, compressed; None when ``point`` is none.

    The library's multiplication of a point takes longer for some scalars than for others, so the scalar goes in as the
    sum of two that are random each time.
    """
    halves = _point(point), _point(point)
    if None in halves:
        return None
    first, second = _random_scalar(), bytearray(scalar)
    try:
        native.negate_scalar(first)
        good = lib.secp256k1_ec_seckey_tweak_add(_CTX, _view(second), _view(first))
        native.negate_scalar(first)
        for half, factor in zip(halves, (first, second), strict=True):
            good = good and lib.secp256k1_ec_pubkey_tweak_mul(_CTX, half, _view(factor))
        total = ffi.new("secp256k1_pubkey *")
        parts = ffi.new("secp256k1_pubkey *[2]", halves)
        if not (good and lib.secp256k1_ec_pubkey_combine(_CTX, total, parts, 2)):
            raise ValueError("not a secp256k1 private key")
        out, size = ffi.new("unsigned char[33]"), ffi.new("size_t *", _POINT_BYTES)
        lib.secp256k1_ec_pubkey_serialize(_CTX, out, size, total, _COMPRESSED)
        return bytes(ffi.buffer(out))
    finally:
        wipe(first)
        wipe(second)


def _random_scalar() -> bytearray:
    scalar = bytearray(32)
    fill_random(scalar)
    while not native.is_scalar(scalar):
        fill_random(scalar)
    return scalar


def _view(buffer: bytearray) -> object:
    return ffi.from_buffer("unsigned char[]", buffer)


def _point(compressed: bytes) -> object | None:
    parsed: object = ffi.new("secp256k1_pubkey *")
    if len(compressed) != _POINT_BYTES or not lib.secp256k1_ec_pubkey_parse(_CTX, parsed, compressed, len(compressed)):
        return None
    return parsed
