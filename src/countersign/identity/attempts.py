"""Wrong tries at one thing, counted in this process; after five it is void for whoever tried."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

_MOST_ATTEMPTS = 5
_MOST_KEPT = 20_000


class Attempts:
    """Counts failures by what was tried and by whom; the oldest are forgotten first.

    Who tries is part of the key: five wrong tries of a stranger void nothing for the one whom a code was sent to.
    """

    def __init__(self) -> None:
        self._failed: OrderedDict[Hashable, int] = OrderedDict()

    def exhausted(self, key: Hashable) -> bool:
        """Whether there were too many."""
        return self._failed.get(key, 0) >= _MOST_ATTEMPTS

    def note(self, key: Hashable) -> None:
        """Count a failure."""
        self._failed[key] = self._failed.pop(key, 0) + 1
        if len(self._failed) > _MOST_KEPT:
            self._failed.popitem(last=False)
