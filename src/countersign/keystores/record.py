"""The sealed form of one private key.

Layout: magic ``CSK1`` (4) | algorithm u8 (1 = AES-256-GCM) | mode u8 (0 = a secret, 1 = a handle) | root version u32 |
generation u32 | nonce 12 | ciphertext | tag 16, integers big-endian. The wrapping key is derived per key:
HKDF-SHA256 (RFC 5869) of the store root key, salt = store id, info = ``csk/1/wrap`` and the key id.

The associated data is msgpack of everything the record belongs to, so that a record moved to another row or
organisation, or relabelled, does not open.
"""

from __future__ import annotations

import hashlib
import os
import struct
from dataclasses import dataclass
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from countersign.keystores.memory import LockedPage, wipe
from countersign.keystores.outcome import Refusal
from countersign.keystores.secret_kinds import SECRET_BYTES

_HEADER: Final = struct.Struct(">4sBBII12s")
_MAGIC: Final = b"CSK1"
_AES_256_GCM: Final = 1
_UNDER_ROOT: Final = 0
_HANDLE: Final = 1
_TAG_BYTES: Final = 16

_encode = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True)
class Binding:
    """What a record is bound to."""

    store_id: str
    org_id: str
    key_id: str
    scheme: str
    curve: str
    secret_kind: str
    public_key: bytes
    root_version: int
    generation: int

    def associated_data(self) -> bytes:
        """The authenticated, not encrypted part: a msgpack array that begins with the format's name."""
        return _encode(
            (
                "csk/1",
                self.store_id,
                self.org_id,
                self.key_id,
                self.scheme,
                self.curve,
                self.secret_kind,
                hashlib.sha256(self.public_key).digest(),
                self.root_version,
                self.generation,
            )
        )


def seal(page: LockedPage, root: memoryview, binding: Binding) -> bytes:
    """The record of the secret in the page, as long as its kind says. Raises KeyError for an unknown kind."""
    secret = page.secret_area[: SECRET_BYTES[binding.secret_kind]]
    nonce = os.urandom(12)
    header = _HEADER.pack(_MAGIC, _AES_256_GCM, _UNDER_ROOT, binding.root_version, binding.generation, nonce)
    cipher = _wrapping_cipher(page, root, binding)
    return header + cipher.encrypt(nonce, secret, binding.associated_data())


def unseal(page: LockedPage, root: memoryview, binding: Binding, record: bytes) -> Refusal | None:
    """Open a record into the page's secret area; the caller wipes it."""
    length = SECRET_BYTES.get(binding.secret_kind)
    if length is None:
        return Refusal("Integrity", f"no kind of secret is named {binding.secret_kind[:32]!r}")
    if len(record) != _HEADER.size + length + _TAG_BYTES:
        return Refusal("Integrity", "record has the wrong length")
    magic, algorithm, mode, root_version, generation, nonce = _HEADER.unpack_from(record)
    if (magic, algorithm, mode) != (_MAGIC, _AES_256_GCM, _UNDER_ROOT):
        return Refusal("Integrity", "record has an unknown format")
    if (root_version, generation) != (binding.root_version, binding.generation):
        return Refusal("Integrity", "record is of another root version or generation than its row")
    cipher, secret = _wrapping_cipher(page, root, binding), page.secret_area[:length]
    try:
        cipher.decrypt_into(nonce, memoryview(record)[_HEADER.size :], binding.associated_data(), secret)
    except InvalidTag:
        wipe(secret)  # decrypted before the tag was checked
        return Refusal("Integrity", "record does not belong to this key, organisation or store, or was changed")
    return None


def seal_handle(page: LockedPage, root: memoryview, binding: Binding, handle: bytes) -> bytes:
    """The record of a key that a hardware module keeps: ``handle`` says where it is, or is the key as wrapped there."""
    nonce = os.urandom(12)
    header = _HEADER.pack(_MAGIC, _AES_256_GCM, _HANDLE, binding.root_version, binding.generation, nonce)
    return header + _wrapping_cipher(page, root, binding).encrypt(nonce, handle, binding.associated_data())


def unseal_handle(page: LockedPage, root: memoryview, binding: Binding, record: bytes) -> bytes | Refusal:
    """The handle in a record that ``seal_handle`` made for the same binding."""
    if len(record) <= _HEADER.size + _TAG_BYTES:
        return Refusal("Integrity", "record has the wrong length")
    magic, algorithm, mode, root_version, generation, nonce = _HEADER.unpack_from(record)
    if (magic, algorithm, mode) != (_MAGIC, _AES_256_GCM, _HANDLE):
        return Refusal("Integrity", "record has an unknown format")
    if (root_version, generation) != (binding.root_version, binding.generation):
        return Refusal("Integrity", "record is of another root version or generation than its row")
    try:
        cipher = _wrapping_cipher(page, root, binding)
        return cipher.decrypt(nonce, record[_HEADER.size :], binding.associated_data())
    except InvalidTag:
        return Refusal("Integrity", "record does not belong to this key, organisation or store, or was changed")


def _wrapping_cipher(page: LockedPage, root: memoryview, binding: Binding) -> AESGCM:
    info = b"csk/1/wrap" + binding.key_id.encode()
    HKDF(SHA256(), 32, binding.store_id.encode(), info).derive_into(root, page.wrapping)
    return AESGCM(page.wrapping)
