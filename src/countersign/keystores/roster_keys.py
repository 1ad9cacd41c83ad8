"""What authenticates a roster and the word of the operator: keys derived from a secret that the API process lacks."""

from __future__ import annotations

import hmac
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from countersign.keystores.memory import LockedPage, wipe

_ROSTER_KEY: Final = b"csk/1/roster"
_OPERATOR_KEY: Final = b"csk/1/operator"


class RosterKeys(ABC):
    """Keys of whoever keeps a roster, by version of the secret that they come from."""

    @property
    @abstractmethod
    def keeper_id(self) -> str:
        """Whose roster it is: a key store, or an authoriser."""

    @property
    @abstractmethod
    def newest(self) -> int:
        """Version of the secret under which new records are made."""

    @abstractmethod
    def derive(self, version: int, purpose: bytes) -> memoryview | None:
        """32 bytes for a purpose (HKDF-SHA256, RFC 5869), which the caller wipes; None for a version not at hand."""

    def mac(self, version: int, purpose: bytes, message: bytes) -> bytes | None:
        """HMAC-SHA256 under the key for ``purpose``; None for a version not at hand."""
        key = self.derive(version, purpose)
        if key is None:
            return None
        try:
            return hmac.digest(key, message, "sha256")
        finally:
            wipe(key)

    def tag(self, version: int, head: bytes) -> bytes | None:
        """What authenticates a record of the roster."""
        return self.mac(version, _ROSTER_KEY, head)

    def operator_proof(self, message: bytes) -> bytes:
        """What only who holds the secret can make, over a decision of the operator."""
        proof = self.mac(self.newest, _OPERATOR_KEY, message)
        assert proof is not None
        return proof


@dataclass(frozen=True, slots=True)
class Roots(RosterKeys):
    """A store's opened roots: their slots in the page by version."""

    page: LockedPage
    slots: dict[int, int]
    store_id: str

    @property
    def keeper_id(self) -> str:
        """The store."""
        return self.store_id

    @property
    def newest(self) -> int:
        """Version of the root that new things are made under."""
        return max(self.slots)

    def derive(self, version: int, purpose: bytes) -> memoryview | None:
        """32 bytes in the page's place for wrapping keys, which the caller wipes."""
        slot = self.slots.get(version)
        if slot is None:
            return None
        HKDF(SHA256(), 32, self.store_id.encode(), purpose).derive_into(self.page.root(slot), self.page.wrapping)
        return self.page.wrapping


@dataclass(frozen=True, slots=True)
class SeedKeys(RosterKeys):
    """The one secret of an authoriser, which is never exchanged."""

    authoriser_id: str
    seed: bytes

    @property
    def keeper_id(self) -> str:
        """The authoriser."""
        return self.authoriser_id

    @property
    def newest(self) -> int:
        """There is one version."""
        return 1

    def derive(self, version: int, purpose: bytes) -> memoryview | None:
        """32 bytes for a purpose."""
        if version != self.newest:
            return None
        derived = HKDF(SHA256(), 32, self.authoriser_id.encode(), purpose).derive(self.seed)
        return memoryview(bytearray(derived))
