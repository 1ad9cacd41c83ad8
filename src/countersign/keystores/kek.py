"""Providers of the key-encryption key (KEK): 32 bytes, kept outside the database, that wrap a store's root key.

``dev:PATH`` a generated file next to the data, refused in production; ``file:PATH`` 32 bytes from a file (systemd
credential, container secret, tmpfs); ``passphrase`` Argon2id (RFC 9106) of what a human types at unseal.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from countersign.keystores.memory import fill_random
from countersign.keystores.outcome import Refusal
from countersign.keystores.protocol import Buffer

KEK_BYTES: Final = 32
_OTHERS_MAY: Final = 0o037

_FLOOR_KIB: Final = 64 * 1024
_CEILING_KIB: Final = 4 * 1024 * 1024
_SALT_BYTES: Final = 16


class KekProvider(Protocol):
    """Where the key-encryption key comes from. ``parameters`` are stored, unencrypted, with the wrapped root."""

    @property
    def name(self) -> str:
        """Stored in the wrapped root, so that the wrong provider is named and not just a failed check."""

    @property
    def needs_secret(self) -> bool:
        """Whether a human has to unseal."""

    @property
    def note(self) -> str | None:
        """Health note, if this provider is not fit for production."""

    def create(self) -> list[Any]:
        """Prepare for wrapping a new root (a key file, a salt) and give the parameters to store."""

    def key(self, parameters: Sequence[Any], secret: Buffer) -> bytearray | Refusal:
        """The 32-byte key; the caller wipes it."""


@dataclass(frozen=True, slots=True)
class FileProvider:
    """32 raw bytes in a file that only its owner (and at most its group) can read; never created here."""

    path: Path
    name: str = "file"
    needs_secret: bool = False
    note: str | None = None

    def create(self) -> list[Any]:
        """Nothing to prepare: the file has to exist."""
        return []

    def key(self, parameters: Sequence[Any], secret: Buffer) -> bytearray | Refusal:
        """Read the file now; nothing of it is kept."""
        content = bytearray(KEK_BYTES + 1)
        try:
            with self.path.open("rb", buffering=0) as file:
                mode = os.fstat(file.fileno()).st_mode
                length = file.readinto(content)
        except OSError as trouble:
            return Refusal("Sealed", f"key-encryption key file {self.path} can't be read: {trouble.strerror}")
        if stat.S_ISREG(mode) and mode & _OTHERS_MAY:
            return Refusal("Sealed", f"key-encryption key file {self.path} is open to others; chmod 0400")
        if length != KEK_BYTES:
            return Refusal("Sealed", f"key-encryption key file {self.path} does not hold exactly {KEK_BYTES} bytes")
        key = content[:KEK_BYTES]
        content[:] = bytes(len(content))
        return key


@dataclass(frozen=True, slots=True)
class DevProvider:
    """A file that is generated at first use and lies next to the data: convenient, and no protection at all."""

    path: Path
    name: str = "dev"
    needs_secret: bool = False
    note: str | None = "dev-kek: the key-encryption key lies next to the data"

    def create(self) -> list[Any]:
        """Write the file (mode 0600) unless it is there."""
        if not self.path.exists():
            write_key_file(self.path)
        return []

    def key(self, parameters: Sequence[Any], secret: Buffer) -> bytearray | Refusal:
        """Read the file now."""
        return FileProvider(self.path).key(parameters, secret)


@dataclass(frozen=True, slots=True)
class PassphraseProvider:
    """Argon2id of a passphrase. The cost applies to new roots; a stored root names its own.

    ``memory_kib`` KiB of memory, ``iterations`` passes, ``lanes`` in parallel; at least 64 MiB, or a stolen database
    would be too cheap to attack.
    """

    memory_kib: int = 256 * 1024
    iterations: int = 3
    lanes: int = 4
    name: str = "passphrase"
    needs_secret: bool = True
    note: str | None = None

    def create(self) -> list[Any]:
        """A fresh salt and the cost."""
        return [os.urandom(_SALT_BYTES), self.memory_kib, self.iterations, self.lanes]

    def key(self, parameters: Sequence[Any], secret: Buffer) -> bytearray | Refusal:
        """Derive; takes half a second by design."""
        if len(secret) == 0:
            return Refusal("Sealed", "the key store waits for its passphrase: countersign keystore unseal")
        match parameters:
            case [bytes() as salt, int() as memory, int() as iterations, int() as lanes] if len(salt) == _SALT_BYTES:
                pass
            case _:
                return Refusal("Integrity", "the root's passphrase parameters are malformed")
        # They come from the database: a floor against cheap guessing, a ceiling against exhausting this host.
        if not (_FLOOR_KIB <= memory <= _CEILING_KIB and 1 <= iterations <= 16 and 1 <= lanes <= 16):
            return Refusal("Denied", "the root's Argon2id cost is outside 64 MiB to 4 GiB, 1 to 16 passes and lanes")
        key = bytearray(KEK_BYTES)
        derive = Argon2id(salt=salt, length=KEK_BYTES, iterations=iterations, lanes=lanes, memory_cost=memory)
        derive.derive_into(secret, key)  # type: ignore[arg-type]  # takes any buffer; bytes can't be wiped
        return key


def open_provider(spec: str) -> KekProvider:
    """The provider that ``dev:PATH``, ``file:PATH`` or ``passphrase`` names. Raises ValueError for anything else."""
    kind, _, path = spec.partition(":")
    if kind == "dev" and path:
        return DevProvider(Path(path))
    if kind == "file" and path:
        return FileProvider(Path(path))
    if spec == "passphrase":
        return PassphraseProvider()
    raise ValueError(f"key-encryption key provider must be dev:PATH, file:PATH or passphrase, not {spec!r}")


def write_key_file(path: Path) -> None:
    """Make a new key file of 32 random bytes, mode 0600. Raises FileExistsError rather than replace one."""
    key = bytearray(KEK_BYTES)
    fill_random(key)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        file.write(key)
        os.fsync(file.fileno())
    key[:] = bytes(KEK_BYTES)
