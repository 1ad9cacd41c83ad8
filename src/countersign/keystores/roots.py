"""The wrapped store root key, as it lies in the database.

Layout: magic ``CSR1`` | u16 header length | header | nonce 12 | AES-256-GCM under the key-encryption key, with all that
stands before the nonce as associated data. Header: msgpack ``[provider, parameters, store id, root version]``. Inside:
msgpack ``[1, store id, root version, root key (32 bytes), authoriser public keys]``.

The authoriser keys are inside, so that only who holds the key-encryption key can say whose grants the signer obeys; a
compromised API process can't put in its own.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from countersign.keystores.kek import KekProvider
from countersign.keystores.memory import ROOT_BYTES, fill_random, wipe
from countersign.keystores.outcome import Refusal
from countersign.keystores.protocol import MALFORMED, Buffer

_MAGIC: Final = b"CSR1"
_LENGTH: Final = struct.Struct(">H")
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16


class _Header(msgspec.Struct, array_like=True, frozen=True):
    provider: str
    parameters: list[Any]
    store_id: str
    root_version: int


class _Content(msgspec.Struct, array_like=True, frozen=True):
    version: int
    store_id: str
    root_version: int
    root_key: memoryview
    authorisers: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class WrappedRoot:
    """A root as read from the database, not yet opened."""

    provider: str
    parameters: list[Any]
    store_id: str
    root_version: int
    associated_data: bytes
    nonce: bytes
    ciphertext: bytes


@dataclass(frozen=True, slots=True)
class OpenedRoot:
    """What only the holder of the key-encryption key could have written, beside the root key itself."""

    store_id: str
    root_version: int
    authorisers: tuple[bytes, ...]


def create_root(
    kek: KekProvider,
    store_id: str,
    authoriser_public_key: bytes,
    secret: Buffer = b"",
    *,
    root_version: int = 1,
) -> bytes:
    """Make a new store root and give it wrapped, for table ``keystore_roots``.

    Runs where the key-encryption key is at hand (``countersign init``), never over the signer's socket. ``secret`` is
    the passphrase where the provider needs one. Raises ValueError when the key-encryption key can't be had.
    """
    header = msgspec.msgpack.encode(_Header(kek.name, kek.create(), store_id, root_version))
    parameters = msgspec.msgpack.decode(header, type=_Header).parameters
    key = kek.key(parameters, secret)
    if isinstance(key, Refusal):
        raise ValueError(key.reason)  # noqa: TRY004 - a condition of the host, not a wrong type
    root_key, content = bytearray(ROOT_BYTES), bytearray()
    try:
        fill_random(root_key)
        body = _Content(1, store_id, root_version, memoryview(root_key), (authoriser_public_key,))
        msgspec.msgpack.Encoder().encode_into(body, content)
        associated_data = _MAGIC + _LENGTH.pack(len(header)) + header
        nonce = os.urandom(_NONCE_BYTES)
        return associated_data + nonce + AESGCM(key).encrypt(nonce, content, associated_data)
    finally:
        for buffer in (key, root_key, content):
            wipe(buffer)


def parse_root(blob: bytes) -> WrappedRoot | Refusal:
    """Read the unencrypted part of a wrapped root."""
    start = len(_MAGIC) + _LENGTH.size
    if len(blob) < start or blob[: len(_MAGIC)] != _MAGIC:
        return Refusal("Integrity", "the wrapped root has an unknown format")
    stop = start + _LENGTH.unpack_from(blob, len(_MAGIC))[0]
    nonce, ciphertext = blob[stop : stop + _NONCE_BYTES], blob[stop + _NONCE_BYTES :]
    try:
        header = msgspec.msgpack.decode(blob[start:stop], type=_Header)
    except MALFORMED:
        return Refusal("Integrity", "the wrapped root has a malformed header")
    if len(nonce) != _NONCE_BYTES or len(ciphertext) < _TAG_BYTES:
        return Refusal("Integrity", "the wrapped root is cut short")
    return WrappedRoot(
        header.provider, header.parameters, header.store_id, header.root_version, blob[:stop], nonce, ciphertext
    )


def open_root(
    wrapped: WrappedRoot,
    kek: KekProvider,
    secret: Buffer,
    root_key: memoryview | bytearray,
    scratch: memoryview,
) -> OpenedRoot | Refusal:
    """Decrypt into ``scratch``, copy the 32-byte root key to ``root_key``, wipe ``scratch``."""
    if wrapped.provider != kek.name:
        return Refusal(
            "Sealed", f"root {wrapped.root_version} is wrapped by {wrapped.provider!r}, the signer uses {kek.name!r}"
        )
    room = len(wrapped.ciphertext) - _TAG_BYTES
    if room > len(scratch):
        return Refusal("Integrity", "the wrapped root is too long")
    key = kek.key(wrapped.parameters, secret)
    if isinstance(key, Refusal):
        return key
    target = scratch[:room]
    try:
        AESGCM(key).decrypt_into(wrapped.nonce, wrapped.ciphertext, wrapped.associated_data, target)
        content = msgspec.msgpack.decode(target, type=_Content)
        if len(content.root_key) != ROOT_BYTES or content.version != 1:
            return Refusal("Integrity", "the root holds an unknown content")
        if (content.store_id, content.root_version) != (wrapped.store_id, wrapped.root_version):
            return Refusal("Integrity", "the root's content contradicts its header")
        root_key[:] = content.root_key
        return OpenedRoot(content.store_id, content.root_version, content.authorisers)
    except InvalidTag:
        wrong = "passphrase" if kek.needs_secret else "key-encryption key"
        return Refusal("Denied", f"the {wrong} is not the one that wrapped root {wrapped.root_version}")
    except MALFORMED:
        return Refusal("Integrity", "the root holds an unknown content")
    finally:
        wipe(key)
        wipe(target)
