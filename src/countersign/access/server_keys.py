"""The server's own keys: made at ``init``, rotated while serving, sealed at rest under the server secret.

The server secret is 32 bytes outside the database, known to the API processes and never to the
signer; the store root of customers' keys is never sealed under it.

Purposes: ``token`` (Ed25519, session and access tokens), ``challenge`` and ``action`` (HMAC-SHA-256),
``checkpoint`` (Ed25519, audit checkpoints), ``authoriser`` (Ed25519, grants to the signer), ``payload``
(AES-256-GCM, request bodies in the audit log).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl import bindings as sodium

from countersign.access import store
from countersign.audit.checkpoint import handover_text
from countersign.encoding import base64url
from countersign.storage import Row, Transaction
from countersign.world import World

Purpose = Literal["token", "challenge", "action", "checkpoint", "authoriser", "payload"]
PURPOSES: tuple[Purpose, ...] = ("token", "challenge", "action", "checkpoint", "authoriser", "payload")
#: Purposes whose public half others see.
SIGNING: frozenset[str] = frozenset({"token", "checkpoint", "authoriser"})
#: Purposes that :func:`rotate` takes; the authoriser is pinned in the store root and changes with it.
ROTATABLE: tuple[Purpose, ...] = ("token", "challenge", "action", "checkpoint", "payload")

_SEAL_NONCE = 12
#: Anything but reading by the group.
_OTHERS_MAY = 0o037


class ServerSecretWrong(Exception):
    """The server secret does not open the keys of this database."""


@dataclass(frozen=True, slots=True)
class ServerKey:
    """``secret``: 32 bytes (Ed25519 seed or symmetric key); ``public_key``: 32 raw bytes, empty when symmetric."""

    kid: str
    purpose: str
    state: str
    public_key: bytes
    secret: bytes
    handover: str | None
    created_at: int


@dataclass(frozen=True, slots=True)
class KeySet:
    """All live server keys; of each purpose one is active, superseded ones still verify."""

    keys: tuple[ServerKey, ...]

    def active(self, purpose: Purpose) -> ServerKey:
        """The key that makes new signatures; ``LookupError`` when there is none."""
        for key in reversed(self.keys):
            if key.purpose == purpose and key.state == "Active":
                return key
        raise LookupError(f"no active server key of purpose {purpose}")

    def of(self, purpose: Purpose) -> tuple[ServerKey, ...]:
        """Every live key of the purpose, oldest first."""
        return tuple(key for key in self.keys if key.purpose == purpose)


def read_server_secret(path: str | os.PathLike[str]) -> bytes:
    """32 raw bytes from a file; ``ValueError`` says what is wrong with it."""
    with open(path, "rb") as file:  # noqa: PTH123 - also takes /dev/fd/N
        mode = os.fstat(file.fileno()).st_mode
        secret = file.read(33)
    if stat.S_ISREG(mode) and mode & _OTHERS_MAY:
        raise ValueError("the server secret is open to others than its owner and group; chmod 0400")
    if len(secret) != 32:
        raise ValueError(
            f"the server secret must be exactly 32 bytes, found {'more' if len(secret) > 32 else len(secret)}"
        )
    return secret


def _aad(kid: str, purpose: str) -> bytes:
    return f"countersign.server-key.v1|{kid}|{purpose}".encode()


def _seal(server_secret: bytes, kid: str, purpose: str, secret: bytes, world: World) -> bytes:
    nonce = world.randomness(_SEAL_NONCE)
    return nonce + AESGCM(server_secret).encrypt(nonce, secret, _aad(kid, purpose))


def _open(row: Row, server_secret: bytes) -> ServerKey:
    kid, purpose, state, public_key, sealed, handover, created_at = row
    try:
        secret = AESGCM(server_secret).decrypt(sealed[:_SEAL_NONCE], sealed[_SEAL_NONCE:], _aad(kid, purpose))
    except InvalidTag:
        raise ServerSecretWrong(f"server key {kid} does not open: wrong server secret, or a changed row") from None
    public = base64url.decode(public_key) if public_key else b""
    return ServerKey(kid, purpose, state, public, secret, handover, created_at)


def _insert(
    purpose: Purpose, secret: bytes, kid: str, now: int, server_secret: bytes, world: World, handover: str | None
) -> Transaction[ServerKey]:
    public = _public_key(purpose, secret)
    sealed = _seal(server_secret, kid, purpose, secret, world)
    encoded = base64url.encode(public) if public else ""
    yield store.INSERT_SERVER_KEY, (kid, purpose, "Active", encoded, sealed, handover, now)
    return ServerKey(kid, purpose, "Active", public, secret, handover, now)


def _public_key(purpose: str, secret: bytes) -> bytes:
    return sodium.crypto_sign_seed_keypair(secret)[0] if purpose in SIGNING else b""


def create(purpose: Purpose, server_secret: bytes, world: World) -> Transaction[ServerKey]:
    """Make and store a new active key."""
    return (
        yield from _insert(purpose, world.randomness(32), world.new_id("sk"), world.now(), server_secret, world, None)
    )


def create_all(server_secret: bytes, world: World) -> Transaction[KeySet]:
    """One key of each purpose, at ``init``."""
    keys: list[ServerKey] = []
    for purpose in PURPOSES:
        keys.append((yield from create(purpose, server_secret, world)))
    return KeySet(tuple(keys))


def load(server_secret: bytes) -> Transaction[KeySet]:
    """Every key that is not retired. Raises :class:`ServerSecretWrong`."""
    rows = yield store.LIST_SERVER_KEYS, ()
    return KeySet(tuple(_open(row, server_secret) for row in rows))


def rotate(purpose: Purpose, server_secret: bytes, world: World) -> Transaction[ServerKey]:
    """Supersede the active key of the purpose by a new one; what the old one signed stays valid until retired."""
    yield store.LOCK_SERVER_KEYS, (purpose,)
    current = yield from load(server_secret)
    old = current.active(purpose)
    yield store.SUPERSEDE_SERVER_KEYS, (purpose,)
    secret = world.randomness(32)
    kid, now = world.new_id("sk"), world.now()
    handover: str | None = None
    if purpose == "checkpoint":
        _, old_secret = sodium.crypto_sign_seed_keypair(old.secret)
        signature = sodium.crypto_sign(handover_text(kid, _public_key(purpose, secret), now), old_secret)[:64]
        handover = f"{old.kid}.{base64url.encode(signature)}"
    return (yield from _insert(purpose, secret, kid, now, server_secret, world, handover))


def retire(kid: str, world: World) -> Transaction[str | None]:
    """End a superseded key: tokens it signed are refused from then on.

    Gives its purpose, ``None`` if it is no superseded key. Keys of purpose ``payload`` never end: the audit log is
    read with them.
    """
    rows = yield store.RETIRE_SERVER_KEY, (world.now(), kid)
    return str(rows[0][0]) if rows else None


class PayloadSeal:
    """Seals request bodies for the audit log: 1 version byte, kid length and kid, nonce, AES-256-GCM."""

    def __init__(self, keys: Iterable[ServerKey], active: ServerKey, world: World) -> None:
        self._ciphers = {key.kid: AESGCM(key.secret) for key in keys}
        self._kid = active.kid.encode()
        self._cipher = AESGCM(active.secret)
        self._world = world

    def seal(self, data: bytes, entry_id: str) -> bytes:
        """Bind ``data`` to the audit entry it belongs to."""
        nonce = self._world.randomness(_SEAL_NONCE)
        sealed = self._cipher.encrypt(nonce, data, entry_id.encode())
        return b"\x01" + bytes([len(self._kid)]) + self._kid + nonce + sealed

    def open(self, blob: bytes, entry_id: str) -> bytes:
        """The inverse; ``ValueError`` when the key is unknown or the bytes were changed or moved."""
        length = blob[1]
        kid, rest = blob[2 : 2 + length].decode(), blob[2 + length :]
        cipher = self._ciphers.get(kid)
        if blob[0] != 1 or cipher is None:
            raise ValueError(f"payload of {entry_id} is sealed under an unknown key")
        try:
            return cipher.decrypt(rest[:_SEAL_NONCE], rest[_SEAL_NONCE:], entry_id.encode())
        except InvalidTag:
            raise ValueError(f"payload of {entry_id} was changed or moved") from None
