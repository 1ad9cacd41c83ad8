"""Origins that organisations and applications name: which web pages may read answers (CORS), and use passkeys.

The first is no access control: tokens travel in headers, and a browser adds none by itself.
"""

from __future__ import annotations

from collections import OrderedDict

from countersign.access import store
from countersign.access.limits import RateLimits
from countersign.credentials.outcome import Refused
from countersign.credentials.relying_party import parse_origin
from countersign.storage import Database, Transaction
from countersign.world import World

#: How long (ms) an answer is remembered.
REMEMBERED_MS = 5_000
_MOST = 10_000
_MAX_ORIGIN = 512


class Origins:
    """Looks origins up; bounded memory, and bounded reading for each client address."""

    def __init__(self, database: Database, world: World, limits: RateLimits) -> None:
        self._database = database
        self._world = world
        self._limits = limits
        self._known: OrderedDict[str, tuple[bool, int]] = OrderedDict()

    async def knows(self, origin: str, address: str) -> bool:
        """Whether an organisation or an active application names this very origin. Raises ``StorageUnavailable``.

        Nothing is read for an address that asks about ever other origins: they count as unknown. One that was known
        when it was last looked at is looked at again whoever asks.
        """
        if len(origin) > _MAX_ORIGIN:
            return False
        now = self._world.now()
        known = self._known.get(origin)
        if known is not None and 0 <= now - known[1] <= REMEMBERED_MS:
            return known[0]
        if not (known is not None and known[0]) and not self._limits.origin(address):
            return False
        found = await self._database.read(lambda: is_origin(origin))
        self._known[origin] = (found, now)
        self._known.move_to_end(origin)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
        return found


def is_origin(origin: str) -> Transaction[bool]:
    """The same as the database stands."""
    return bool((yield store.IS_ORIGIN, (origin,)))


def related_origins(rp_id: str) -> Transaction[list[str]]:
    """Web origins where passkeys of this relying party may be used though their host is neither it nor below it."""
    rows = yield store.LIST_WEB_ORIGINS, (rp_id,)
    return [row[0] for row in rows if isinstance(parse_origin(row[0], rp_id), Refused)]
