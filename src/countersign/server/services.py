"""What operations are given at start-up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from countersign.access.keyring import KeyRing
from countersign.keystores import SignerClient
from countersign.server.settings import Settings
from countersign.storage import Database
from countersign.world import World

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Services:
    """Everything with a life of its own that a process of the server has."""

    settings: Settings
    world: World
    database: Database
    ring: KeyRing
    signer: SignerClient
    installation_id: str
    others: tuple[Any, ...] = ()

    def get(self, kind: type[T]) -> T:
        """The service of this type; ``LookupError`` when there is none."""
        for service in (self.signer, self.ring, *self.others):
            if isinstance(service, kind):
                return service
        raise LookupError(kind.__name__)
