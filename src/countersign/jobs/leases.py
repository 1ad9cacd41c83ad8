"""A lease that one process holds for a piece of background work, renewed as it goes."""

from __future__ import annotations

from countersign.storage import Database
from countersign.storage.leases import Lease, acquire, release, renew
from countersign.world import World

DURATION_MS = 10_000
#: Renewed when less than this is left, so that steady work does not write at every step.
_RENEW_MS = 5_000


class HeldLease:
    """Takes the lease ``name`` when it is free, keeps it while the work goes on."""

    def __init__(self, database: Database, name: str, owner: str, world: World) -> None:
        self._database = database
        self._name = name
        self._owner = owner
        self._world = world
        self._lease: Lease | None = None
        self._until = 0

    async def hold(self) -> bool:
        """Take or renew it; whether it is held now."""
        now = self._world.now()
        lease = self._lease
        if lease is not None and now < self._until - _RENEW_MS:
            return True
        if lease is not None and await self._database.write(lambda: renew(lease, now, DURATION_MS)):
            self._until = now + DURATION_MS
            return True
        self._lease = await self._database.write(lambda: acquire(self._name, self._owner, now, DURATION_MS))
        self._until = now + DURATION_MS
        return self._lease is not None

    async def release(self) -> None:
        """Give it up, so that another can take it at once."""
        lease, self._lease = self._lease, None
        if lease is not None:
            await self._database.write(lambda: release(lease))
