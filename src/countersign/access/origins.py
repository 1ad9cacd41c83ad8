"""Which web pages may read answers (CORS): those of the origins that organisations and applications name.

This is no access control: tokens travel in headers, and a browser adds none by itself.
"""

from __future__ import annotations

from collections import OrderedDict

from countersign.access import store
from countersign.storage import Database, Transaction
from countersign.world import World

#: How long (ms) an answer is remembered.
REMEMBERED_MS = 5_000
_MOST = 10_000
_MAX_ORIGIN = 512


class Origins:
    """Looks origins up; bounded memory."""

    def __init__(self, database: Database, world: World) -> None:
        self._database = database
        self._world = world
        self._known: OrderedDict[str, tuple[bool, int]] = OrderedDict()

    async def knows(self, origin: str) -> bool:
        """Whether an organisation or an active application names this very origin. Raises ``StorageUnavailable``."""
        if len(origin) > _MAX_ORIGIN:
            return False
        now = self._world.now()
        known = self._known.get(origin)
        if known is not None and 0 <= now - known[1] <= REMEMBERED_MS:
            return known[0]
        found = await self._database.read(lambda: is_origin(origin))
        self._known[origin] = (found, now)
        self._known.move_to_end(origin)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
        return found


def is_origin(origin: str) -> Transaction[bool]:
    """The same as the database stands."""
    return bool((yield store.IS_ORIGIN, (origin,)))
