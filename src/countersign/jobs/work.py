"""A kind of work, a job of it, and how a run of it may end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

import msgspec

from countersign.jobs.plan import Bounds, RetryPlan
from countersign.storage import Transaction

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Job:
    """A job as a worker has it. ``org_id`` is empty for work of the whole installation; ``payload`` is JSON text.

    ``attempt``: 1 for the first. A run that ended with its worker does not count, so the same attempt may run again.
    ``fence`` is the number of takings: only the newest may record an outcome. Times in ms.
    """

    org_id: str
    job_id: str
    kind: str
    lane: str
    payload: str
    attempt: int
    fence: int
    lost: int
    created_at: int

    def read(self, type_: type[T]) -> T:
        """The payload as this type; ``msgspec.ValidationError`` when it is another."""
        return msgspec.json.decode(self.payload, type=type_)


def _nothing() -> Transaction[None]:
    return
    yield


def _nothing_next(_next_at: int | None) -> Transaction[None]:
    return
    yield


@dataclass(frozen=True, slots=True)
class Done:
    """It is done. ``write`` is run in the transaction that ends the job, and only if the job is still the worker's."""

    write: Callable[[], Transaction[None]] = _nothing

    @property
    def writes(self) -> bool:
        """Whether anything but the end of the job is written."""
        return self.write is not _nothing


@dataclass(frozen=True, slots=True)
class Failed:
    """It failed for now. ``reason`` is for people and holds no secret.

    ``write`` runs as that of :class:`Done` and is told when the next attempt is due (ms), ``None`` when there is none.
    ``payload`` replaces the job's, for the next attempt. ``final``: no further attempt makes sense.
    """

    reason: str
    write: Callable[[int | None], Transaction[None]] = _nothing_next
    payload: str | None = None
    final: bool = False


@dataclass(frozen=True, slots=True)
class Later:
    """It could not be done yet, and nothing was wrong with it: it runs again at ``at`` (ms), its attempts untouched.

    ``reason``: what it waits for, for people.
    """

    reason: str
    at: int


Outcome: TypeAlias = Done | Failed | Later


@dataclass(frozen=True, slots=True)
class Kind:
    """How jobs of one kind are run.

    ``every_ms``: there is always one job of it, which comes back after that time, whatever its outcome.
    ``together``: outcomes are recorded several in one transaction, in the order of organisation and lane, even if they
    write; for a kind that has many, each of which writes little and locks no row but in that order.
    """

    name: str
    run: Callable[[Job], Awaitable[Outcome]]
    plan: RetryPlan = field(default_factory=RetryPlan)
    bounds: Bounds = field(default_factory=lambda: Bounds(8))
    every_ms: int | None = None
    together: bool = False
