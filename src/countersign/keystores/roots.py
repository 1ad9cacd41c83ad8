"""The wrapped store root key, as it lies in the database.

Layout: magic ``CSR1`` | u16 header length | header | nonce 12 | AES-256-GCM under the key-encryption key, with all that
stands before the nonce as associated data. Header: msgpack ``[provider, parameters, store id, root version]``. Inside:
msgpack ``[1, store id, root version, root key (32 bytes), authoriser public keys, installation id, founders, recovery
recipients, whether the authoriser is a process of its own, vouch]``; older roots end before the installation id.

The authoriser keys are inside, so that only who holds the key-encryption key can say whose grants the signer obeys; a
compromised API process can't put in its own. For the same reason the installation's id and its first credentials, with
which the signer's roster begins, are inside, and to whom new secrets are encrypted as well, for the day on which the
key-encryption key is lost.

What opens a root that is wrapped by a passphrase or by shares comes over the signer's socket, where a compromised API
process could hand in a root of its own together with its own passphrase. So each root but the first is vouched for by
the one before it: HMAC-SHA256 over what it holds, under a key that is derived from the older root key.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from countersign.keystores.kek import KekProvider, RootName
from countersign.keystores.memory import ROOT_BYTES, fill_random, wipe
from countersign.keystores.outcome import Refusal
from countersign.keystores.protocol import MALFORMED, Buffer
from countersign.keystores.recovery_copy import check_recipient

_MAGIC: Final = b"CSR1"
_LENGTH: Final = struct.Struct(">H")
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_VOUCH_KEY: Final = b"csk/1/next-root"
# Characters of PEM: the signer opens a root within one page. Two RSA keys of 2048 bits, or one of 4096.
_MAX_FOUNDERS: Final = 1000
MAX_RECOVERY_RECIPIENTS: Final = 4


class _Header(msgspec.Struct, array_like=True, frozen=True):
    provider: str
    parameters: list[Any]
    store_id: str
    root_version: int


class Founder(msgspec.Struct, array_like=True, frozen=True):
    """A credential that counts by the word of who holds the key-encryption key.

    ``public_key`` is SPKI PEM; ``relying_party_id`` is of Fido2 alone; ``token_id`` names the access token that the
    credential is bound to, empty for none.
    """

    org_id: str
    user_id: str
    credential_uuid: str
    kind: str
    public_key: str
    relying_party_id: str | None = None
    token_id: str = ""


class _Content(msgspec.Struct, array_like=True, frozen=True):
    version: int
    store_id: str
    root_version: int
    root_key: memoryview
    authorisers: tuple[bytes, ...]
    installation_id: str = ""
    founders: tuple[Founder, ...] = ()
    recovery_recipients: tuple[str, ...] = ()
    authoriser_apart: bool = False
    vouch: bytes = b""


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
    """What only the holder of the key-encryption key could have written, beside the root key itself.

    ``substance``: SHA-256 of all of it, the root key too. ``vouch``: what the root before it says of that, see
    ``vouch_for``.
    """

    store_id: str
    root_version: int
    authorisers: tuple[bytes, ...]
    installation_id: str = ""
    founders: tuple[Founder, ...] = ()
    recovery_recipients: tuple[str, ...] = ()
    authoriser_apart: bool = False
    substance: bytes = b""
    vouch: bytes = b""


def create_root(
    kek: KekProvider,
    store_id: str,
    authoriser_public_key: bytes,
    secret: Buffer = b"",
    *,
    root_version: int = 1,
    installation_id: str = "",
    founders: tuple[Founder, ...] = (),
    recovery_recipients: tuple[str, ...] = (),
    authoriser_apart: bool = False,
) -> bytes:
    """Make a new store root and give it wrapped, for table ``keystore_roots``.

    With ``founders``, the first credentials of this installation, every use of a key takes consent that begins with
    theirs (grant level G3); without, the signer does with grants (G1). ``recovery_recipients`` (age, ``age1...``) are
    those to whom every secret is encrypted besides, see ``recovery_copy``. ``authoriser_apart``: the authoriser's key
    is that of a process of its own, which level G2 demands.

    Runs where the key-encryption key is at hand (``countersign init``), never over the signer's socket. ``secret`` is
    the passphrase where the provider needs one. Raises ValueError when the key-encryption key can't be had.
    """
    root_key = bytearray(ROOT_BYTES)
    try:
        fill_random(root_key)
        authorisers = (authoriser_public_key,)
        content = _Content(
            1,
            store_id,
            root_version,
            memoryview(root_key),
            authorisers,
            installation_id,
            founders,
            recovery_recipients,
            authoriser_apart,
        )
        return _wrap(content, kek, secret)
    finally:
        wipe(root_key)


def rewrap_root(
    wrapped: WrappedRoot, kek: KekProvider, secret: Buffer, new_kek: KekProvider, new_secret: Buffer
) -> bytes | Refusal:
    """The same root, with all that it holds, wrapped by another key-encryption key.

    Raises ValueError when the new key can't be had.
    """
    scratch = bytearray(len(wrapped.ciphertext))
    try:
        content = _open(wrapped, kek, secret, memoryview(scratch))
        return content if isinstance(content, Refusal) else _wrap(content, new_kek, new_secret)
    finally:
        wipe(scratch)


@dataclass(frozen=True, slots=True)
class NamedAuthoriser:
    """Whose grants a root names; ``apart``: a process of its own, not the server."""

    public_key: bytes
    apart: bool


def next_root(
    wrapped: WrappedRoot,
    kek: KekProvider,
    secret: Buffer,
    *,
    recovery_recipients: tuple[str, ...] | None = None,
    authoriser: NamedAuthoriser | None = None,
) -> bytes | Refusal:
    """A new root key under the next version number, with all else that this root holds, for the same signer to open.

    ``recovery_recipients`` and ``authoriser`` replace those it names; None keeps them.
    Like ``create_root`` it runs where the key-encryption key is at hand. Raises ValueError when it can't be had again.
    """
    scratch, root_key = bytearray(len(wrapped.ciphertext)), bytearray(ROOT_BYTES)
    try:
        content = _open(wrapped, kek, secret, memoryview(scratch))
        if isinstance(content, Refusal):
            return content
        fill_random(root_key)
        version = content.root_version + 1
        new = msgspec.structs.replace(content, root_version=version, root_key=memoryview(root_key), vouch=b"")
        if recovery_recipients is not None:
            new = msgspec.structs.replace(new, recovery_recipients=recovery_recipients)
        if authoriser is not None:
            keys = (authoriser.public_key,)
            new = msgspec.structs.replace(new, authorisers=keys, authoriser_apart=authoriser.apart)
        vouch = vouch_for(content.root_key, content.store_id, _substance(new))
        return _wrap(msgspec.structs.replace(new, vouch=vouch), kek, secret)
    finally:
        wipe(scratch)
        wipe(root_key)


def vouch_for(root_key: memoryview, store_id: str, substance: bytes) -> bytes:
    """What the holder of a root key says of the root that follows it: HMAC-SHA256 over its ``substance``."""
    key = bytearray(ROOT_BYTES)
    try:
        HKDF(SHA256(), ROOT_BYTES, store_id.encode(), _VOUCH_KEY).derive_into(root_key, key)
        return hmac.digest(key, substance, "sha256")
    finally:
        wipe(key)


def _substance(content: _Content) -> bytes:
    body = bytearray()
    try:
        msgspec.msgpack.Encoder().encode_into(msgspec.structs.replace(content, vouch=b""), body)
        return hashlib.sha256(body).digest()
    finally:
        wipe(body)


def _wrap(content: _Content, kek: KekProvider, secret: Buffer) -> bytes:
    """Encrypt under the provider's key. Raises ValueError when that can't be had."""
    parameters, key = kek.create(RootName(content.store_id, content.root_version), secret)
    body = bytearray()
    try:
        if sum(len(founder.public_key) for founder in content.founders) > _MAX_FOUNDERS:
            raise ValueError("the first public keys are too long for the root: begin with fewer or shorter ones")
        if len(content.recovery_recipients) > MAX_RECOVERY_RECIPIENTS:
            raise ValueError(f"a store has at most {MAX_RECOVERY_RECIPIENTS} recovery recipients")
        for recipient in content.recovery_recipients:
            check_recipient(recipient)
        header = msgspec.msgpack.encode(_Header(kek.name, parameters, content.store_id, content.root_version))
        msgspec.msgpack.Encoder().encode_into(content, body)
        associated_data = _MAGIC + _LENGTH.pack(len(header)) + header
        nonce = os.urandom(_NONCE_BYTES)
        return associated_data + nonce + AESGCM(key).encrypt(nonce, body, associated_data)
    finally:
        wipe(key)
        wipe(body)


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
    try:
        content = _open(wrapped, kek, secret, scratch)
        if isinstance(content, Refusal):
            return content
        root_key[:] = content.root_key
        return OpenedRoot(
            content.store_id,
            content.root_version,
            content.authorisers,
            content.installation_id,
            content.founders,
            content.recovery_recipients,
            content.authoriser_apart,
            _substance(content),
            content.vouch,
        )
    finally:
        wipe(scratch)


def _open(wrapped: WrappedRoot, kek: KekProvider, secret: Buffer, scratch: memoryview) -> _Content | Refusal:
    """The content, as views into ``scratch``, which the caller wipes."""
    if wrapped.provider != kek.name:
        return Refusal(
            "Sealed", f"root {wrapped.root_version} is wrapped by {wrapped.provider!r}, the signer uses {kek.name!r}"
        )
    room = len(wrapped.ciphertext) - _TAG_BYTES
    if room > len(scratch):
        return Refusal("Integrity", "the wrapped root is too long")
    key = kek.key(RootName(wrapped.store_id, wrapped.root_version), wrapped.parameters, secret)
    if isinstance(key, Refusal):
        return key
    target = scratch[:room]
    try:
        AESGCM(key).decrypt_into(wrapped.nonce, wrapped.ciphertext, wrapped.associated_data, target)
        content = msgspec.msgpack.decode(target, type=_Content)
    except InvalidTag:
        wrong = "passphrase" if kek.needs_secret else "key-encryption key"
        return Refusal("Denied", f"the {wrong} is not the one that wrapped root {wrapped.root_version}")
    except MALFORMED:
        return Refusal("Integrity", "the root holds an unknown content")
    finally:
        wipe(key)
    if len(content.root_key) != ROOT_BYTES or content.version != 1:
        return Refusal("Integrity", "the root holds an unknown content")
    if (content.store_id, content.root_version) != (wrapped.store_id, wrapped.root_version):
        return Refusal("Integrity", "the root's content contradicts its header")
    return content
