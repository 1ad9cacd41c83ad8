"""What a verification found: values, for the command line to print."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from countersign.audit.lines import SavedCheckpoint

#: Entries without an assertion that are listed though they let nobody in; the count is always complete.
LISTED = 1000


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The input is no audit export at all, or can't be read."""

    reason: str


@dataclass(frozen=True, slots=True)
class Broken:
    """The log doesn't hold. The first bad entry, where the defect lies in one: ``position`` counts from 0.

    ``line`` counts from 1. ``position`` is ``None`` for an unsequenced entry and for defects outside the entries.
    """

    reason: str
    line: int
    position: int | None = None
    entry_id: str | None = None


@dataclass(frozen=True, slots=True)
class Unasserted:
    """An entry that no credential consented to, and the credentials it brought into being.

    ``weighty``: it enrols a credential, or its event is not one that grants nobody anything.
    """

    position: int | None
    entry_id: str
    event: str
    enrolled: tuple[str, ...]
    weighty: bool


@dataclass(slots=True)
class Summary:
    """Counts over a log, and what an auditor should look at."""

    installation_id: str = ""
    org_id: str = ""
    entries: int = 0
    unsequenced: int = 0
    checkpoints: int = 0
    actions: int = 0
    signatures: int = 0
    failed_signatures: int = 0
    redacted_payloads: int = 0
    system: int = 0
    #: Every weighty one, and the first of the others; ``system`` counts all.
    unasserted: list[Unasserted] = field(default_factory=list)
    #: Enrolments by an action whose payload doesn't show the enrolled key (or is redacted): credential ids.
    unshown_enrolments: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Sound:
    """Everything that the file says about itself holds.

    ``trusted``: the last checkpoint is signed under the trusted key, or one that it handed over to; else the
    file is self-consistent only, as a forged one can be. ``saved_size``: the size of the earlier checkpoint
    that this log was found to extend.
    """

    summary: Summary
    trusted: bool
    saved_size: int | None
    last: SavedCheckpoint
    fingerprint: str


Finding: TypeAlias = Sound | Broken | Unreadable
