"""What operations are given at start-up."""

from __future__ import annotations

from dataclasses import dataclass, field
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
    _found: dict[type[Any], Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def get(self, kind: type[T]) -> T:
        """The service of this type; ``LookupError`` when there is none."""
        service: T | None = self._found.get(kind)
        if service is None:
            service = next((each for each in (self.signer, self.ring, *self.others) if isinstance(each, kind)), None)
            if service is None:
                raise LookupError(kind.__name__)
            self._found[kind] = service
        return service
