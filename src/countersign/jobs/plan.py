"""What becomes of a job, decided from values: when it is tried again, when it is given up, and what may run now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

#: A job is put aside when that many workers were lost over it without an outcome.
MOST_LOST = 10


@dataclass(frozen=True, slots=True)
class RetryPlan:
    """``offsets_ms``: when the attempts after the first are due, counted from the first; none means a single attempt.

    ``jitter``: by which part of a wait it may be longer, so that what failed together does not come back together.
    """

    offsets_ms: tuple[int, ...] = ()
    jitter: float = 0.1

    @property
    def attempts(self) -> int:
        """How many attempts there are in all."""
        return len(self.offsets_ms) + 1

    def next_at(self, failed: int, now: int, chance: float) -> int | None:
        """When to try again after the ``failed``-th attempt (1 for the first) ended at ``now``; ``None``: never.

        ``chance`` is from 0 up to 1. A wait is the distance between two offsets, so that a late attempt makes the
        following ones late as well instead of crowding them.
        """
        if failed > len(self.offsets_ms):
            return None
        before = self.offsets_ms[failed - 2] if failed > 1 else 0
        wait = self.offsets_ms[failed - 1] - before
        return now + wait + int(wait * self.jitter * chance)


_MINUTE_MS = 60_000
#: For what somebody was promised, and that fails by a fault of the server or of its data: a day to mend it.
OVER_A_DAY = RetryPlan((10_000, _MINUTE_MS, 10 * _MINUTE_MS, 60 * _MINUTE_MS, 360 * _MINUTE_MS, 1440 * _MINUTE_MS))


@dataclass(frozen=True, slots=True)
class Bounds:
    """``running``: how many jobs of a kind run in one process at the same time.

    ``lanes``: the same for those that share a word of their lane, in the order of the words; words beyond are free.
    """

    running: int
    lanes: tuple[int, ...] = ()


def words(lane: str) -> list[tuple[int, str]]:
    """The parts of a lane with their places."""
    return list(enumerate(lane.split()))


def choose(
    due: Iterable[tuple[str, int]], running: Mapping[tuple[int, str], int], free: int, bounds: Bounds
) -> dict[str, int]:
    """How many jobs to take from which lane: of ``due``, lanes and how many jobs of them are due, the oldest first.

    ``running`` counts by place and word; ``free`` is the room of the kind.
    """
    taken: dict[str, int] = {}
    counts = dict(running)
    for lane, number in due:
        if free <= 0:
            break
        parts = [part for part in words(lane) if part[0] < len(bounds.lanes)]
        room = min([free, number, *(bounds.lanes[part[0]] - counts.get(part, 0) for part in parts)])
        if room > 0:
            for part in parts:
                counts[part] = counts.get(part, 0) + room
            taken[lane] = room
            free -= room
    return taken


def given_up(lost: int) -> str | None:
    """Why a job is put aside that was taken ``lost`` times without an outcome; ``None`` while it may run."""
    return f"{lost} workers were lost while they ran it" if lost >= MOST_LOST else None
