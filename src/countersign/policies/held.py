"""What policies can hold, as its own domain knows it: how it is shown, let go, and refused.

A domain registers its kind of entity when it is imported, as operations are declared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from countersign.api import Wire
from countersign.storage import Transaction
from countersign.world import World


@dataclass(frozen=True, slots=True)
class Entity:
    """Something that waits, or may have to: ``kind`` is the member of an approval's activity that shows it."""

    kind: str
    id: str


class Held(Protocol):
    """A kind of entity. All of it runs inside the transaction that decides."""

    def show(self, org_id: str, entity_id: str) -> Transaction[Wire]:
        """The entity as it is now."""
        ...

    def approved(self, org_id: str, entity_id: str, world: World) -> Transaction[tuple[str, ...]]:
        """Let it go on, or fail where it no longer can; ids of what changed. Does nothing unless it still waits."""
        ...

    def rejected(self, org_id: str, entity_id: str, reason: str, world: World) -> Transaction[tuple[str, ...]]:
        """Refuse it for good; ids of what changed. Does nothing unless it still waits."""
        ...

    def tell(self, org_id: str, entity_id: str, world: World) -> Transaction[None]:
        """Tell webhooks of its own end, if this was it; comes after what they are told of the approval."""
        ...


_KINDS: dict[str, Held] = {}


def register(kind: str, held: Held) -> None:
    """Say how entities of this kind are shown, let go and refused."""
    _KINDS[kind] = held


def of(kind: str) -> Held:
    """The domain of a kind; ``KeyError`` for one that nobody registered."""
    return _KINDS[kind]
