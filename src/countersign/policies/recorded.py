"""What was asked for before, as policies see it: for simulations and replays.

A domain registers its kind of entity when it is imported, as operations are declared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from countersign.policies.activity import Activity, WalletActivity
from countersign.policies.judging import History
from countersign.storage import Transaction


@dataclass(frozen=True, slots=True)
class Recorded:
    """Something that was asked for; ``status`` is what became of it until now."""

    entity_id: str
    status: str
    activity: Activity


class Records(Protocol):
    """One kind of entity whose activities are recorded. All of it only reads."""

    def find(self, org_id: str, entity_id: str) -> Transaction[Recorded | None]:
        """One of them; ``None`` where there is no such one."""
        ...

    def page(self, org_id: str, after: str, limit: int) -> Transaction[Sequence[Recorded]]:
        """Some of them, oldest first: those whose id is greater than ``after``."""
        ...

    def first_id(self, since: int) -> str:
        """An id that is no greater than that of any that was asked for at ``since`` (ms) or later."""
        ...

    def count(self, org_id: str, after: str) -> Transaction[int]:
        """How many there are behind ``after``."""
        ...

    def history_of(self, org_id: str, recorded: Recorded) -> History:
        """What had been recorded when this one was asked for, with the states that it was in then."""
        ...


class Signing(Records, Protocol):
    """Records that also know keys: what would be asked of one now."""

    def describe(
        self, org_id: str, key_id: str, body: Mapping[str, Any], initiator_id: str, at: int
    ) -> Transaction[WalletActivity | None]:
        """A signature that somebody would ask of a key; ``None`` where there is no such key."""
        ...

    def history(self, org_id: str) -> History:
        """What is recorded now."""
        ...


_KINDS: dict[str, Records] = {}
_SIGNING: list[Signing] = []


def register_records(kind: str, records: Records) -> None:
    """Say where activities of this kind of entity (member of an approval's activity) are recorded."""
    _KINDS[kind] = records


def register_signing(kind: str, records: Signing) -> None:
    """The same for signatures that are asked of keys."""
    _KINDS[kind] = records
    _SIGNING[:] = [records]


def kinds() -> Mapping[str, Records]:
    """All that is recorded, by kind of entity."""
    return _KINDS


def signing() -> Signing:
    """Signatures that are asked of keys."""
    return _SIGNING[0]
