"""Providers of the key-encryption key (KEK): 32 bytes, kept outside the database, that wrap a store's root key.

``dev:PATH`` a generated file next to the data, refused in production; ``file:PATH`` 32 bytes from a file (systemd
credential, container secret, tmpfs); ``passphrase`` Argon2id (RFC 9106) of what a human types at unseal. Those that
need an extra are in the package ``keks``: ``quorum``, ``aws-kms``, ``vault``, ``pkcs11``.
"""

from __future__ import annotations

import importlib
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
from countersign.private_files import write_new

KEK_BYTES: Final = 32
OTHERS_MAY: Final = 0o037
"""Permissions that a file with a secret must not give: all but the owner's, and reading by the group."""

_FLOOR_KIB: Final = 64 * 1024
_CEILING_KIB: Final = 4 * 1024 * 1024
_SALT_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class RootName:
    """Which root is wrapped; a service that wraps keys for others authenticates it as context."""

    store_id: str
    root_version: int


class MoreShares(Refusal):
    """No refusal in the end: what was handed in is right, and there has to be more of it."""


NewKek = tuple[list[Any], bytearray]
"""What ``create`` gives: the parameters to store, and the 32-byte key, which the caller wipes."""


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

    @property
    def needs_network(self) -> bool:
        """Whether opening a root takes a connection, so that the signer can't give up making any."""

    @property
    def needs_driver(self) -> bool:
        """Whether it loads a foreign library, which may open files and connections of its own."""

    def create(self, root: RootName, secret: Buffer) -> NewKek:
        """Prepare for wrapping a root (a key file, a salt). Raises ValueError when the key can't be had."""

    def key(self, root: RootName, parameters: Sequence[Any], secret: Buffer) -> bytearray | Refusal:
        """The 32-byte key of a stored root; the caller wipes it. ``MoreShares`` when others have to add theirs."""

    def forget(self) -> None:
        """Wipe what was collected over several calls; called when the roots are open, or are sealed."""


@dataclass(frozen=True, slots=True)
class FileProvider:
    """32 raw bytes in a file that only its owner (and at most its group) can read; never created here."""

    path: Path
    name: str = "file"
    needs_secret: bool = False
    note: str | None = None
    needs_network: bool = False
    needs_driver: bool = False

    def create(self, root: RootName, secret: Buffer) -> NewKek:
        """Nothing to prepare: the file has to exist."""
        return [], _had(self.key(root, [], secret))

    def key(self, root: RootName, parameters: Sequence[Any], secret: Buffer) -> bytearray | Refusal:
        """Read the file now; nothing of it is kept."""
        content = bytearray(KEK_BYTES + 1)
        try:
            with self.path.open("rb", buffering=0) as file:
                mode = os.fstat(file.fileno()).st_mode
                length = file.readinto(content)
        except OSError as trouble:
            return Refusal("Sealed", f"key-encryption key file {self.path} can't be read: {trouble.strerror}")
        if stat.S_ISREG(mode) and mode & OTHERS_MAY:
            return Refusal("Sealed", f"key-encryption key file {self.path} is open to others; chmod 0400")
        if length != KEK_BYTES:
            return Refusal("Sealed", f"key-encryption key file {self.path} does not hold exactly {KEK_BYTES} bytes")
        key = content[:KEK_BYTES]
        content[:] = bytes(len(content))
        return key

    def forget(self) -> None:
        """Nothing is kept."""


@dataclass(frozen=True, slots=True)
class DevProvider:
    """A file that is generated at first use and lies next to the data: convenient, and no protection at all."""

    path: Path
    name: str = "dev"
    needs_secret: bool = False
    note: str | None = "dev-kek: the key-encryption key lies next to the data"
    needs_network: bool = False
    needs_driver: bool = False

    def create(self, root: RootName, secret: Buffer) -> NewKek:
        """Write the file (mode 0600) unless it is there."""
        if not self.path.exists():
            write_key_file(self.path)
        return [], _had(self.key(root, [], secret))

    def key(self, root: RootName, parameters: Sequence[Any], secret: Buffer) -> bytearray | Refusal:
        """Read the file now."""
        return FileProvider(self.path).key(root, parameters, secret)

    def forget(self) -> None:
        """Nothing is kept."""


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
    needs_network: bool = False
    needs_driver: bool = False

    def create(self, root: RootName, secret: Buffer) -> NewKek:
        """A fresh salt and the cost."""
        parameters = [os.urandom(_SALT_BYTES), self.memory_kib, self.iterations, self.lanes]
        return parameters, _had(self.key(root, parameters, secret))

    def key(self, root: RootName, parameters: Sequence[Any], secret: Buffer) -> bytearray | Refusal:
        """Derive; takes half a second by design."""
        if len(secret) == 0:
            return Refusal("Sealed", "the key store waits for its passphrase: countersign keystore unseal --passphrase")
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

    def forget(self) -> None:
        """Nothing is kept."""


def _had(key: bytearray | Refusal) -> bytearray:
    if isinstance(key, Refusal):
        raise ValueError(key.reason)  # noqa: TRY004 - a condition of the host, not a wrong type
    return key


# Providers that need an extra are loaded when they are named only: the signer holds no library that it does not use.
_BY_EXTRA: Final = {
    "aws-kms": ("countersign.keystores.keks.aws_kms", "aws-kms"),
    "pkcs11": ("countersign.keystores.keks.pkcs11", "pkcs11"),
    "quorum": ("countersign.keystores.keks.quorum", "quorum"),
    "vault": ("countersign.keystores.keks.vault", "vault"),
}

FORMS: Final = (
    "dev:PATH, file:PATH, passphrase, quorum:M-of-N, aws-kms:KEY, vault:URL/MOUNT/KEY or pkcs11:token=…;object=…"
)
"""How a key-encryption key is named; each provider says the rest."""


def open_provider(spec: str) -> KekProvider:
    """The provider that ``spec`` names, such as ``file:PATH`` (see ``FORMS``).

    Raises ValueError for anything else, and in one line when the extra that it needs is not installed.
    """
    kind, _, rest = spec.partition(":")
    if kind == "dev" and rest:
        return DevProvider(Path(rest))
    if kind == "file" and rest:
        return FileProvider(Path(rest))
    if spec == "passphrase":
        return PassphraseProvider()
    if kind not in _BY_EXTRA:
        raise ValueError(f"key-encryption key provider must be {FORMS}, not {spec!r}")
    module, extra = _BY_EXTRA[kind]
    try:
        provider: KekProvider = importlib.import_module(module).provider(rest)
    except ImportError:
        message = f"key-encryption key provider {kind} needs the extra: pip install countersign[{extra}]"
        raise ValueError(message) from None
    return provider


def write_key_file(path: Path) -> None:
    """Make a new key file of 32 random bytes, mode 0600. Raises FileExistsError rather than replace one."""
    key = bytearray(KEK_BYTES)
    fill_random(key)
    write_new(path, key)
    key[:] = bytes(KEK_BYTES)
