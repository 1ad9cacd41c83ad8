"""What operators must not overlook, told in the server's log: requests for break-glass, and to unlock policies."""

from __future__ import annotations

import asyncio

import structlog

from countersign.encoding.dates import to_iso
from countersign.identity import break_glass, policy_unlocks
from countersign.identity.break_glass import Request
from countersign.identity.policy_unlocks import Unlock
from countersign.storage import Database
from countersign.world import World

DAY_MS = 86_400_000
_LOOK_SECONDS = 60

log = structlog.get_logger("countersign.notices")


class Notices:
    """Warns of each request that waits: at the start, soon after it was made, every day; and when it ended."""

    def __init__(self, database: Database, world: World) -> None:
        self._database = database
        self._world = world
        self._since = world.now()
        # Request id -> when it was told last.
        self._told: dict[str, int] = {}

    async def run(self) -> None:
        """Look for as long as the process runs."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Tell what is due."""
        now = self._world.now()
        # Ended ones from before the last look too: a command's clock need not be this process's.
        since = self._since - DAY_MS
        for request in await self._database.read(lambda: break_glass.list_requests(since)):
            if self._due(request, now):
                _warn("break-glass", request, user_id=request.user_id, username=request.username)
        for unlock in await self._database.read(lambda: policy_unlocks.list_requests(since)):
            if self._due(unlock, now):
                _warn("unlock-policy", unlock, policy_id=unlock.policy_id, policy_name=unlock.policy_name)
        self._since = now

    def _due(self, request: Request | Unlock, now: int) -> bool:
        """Whether it is to be told now; remembers that it was."""
        if request.state != "Waiting":
            return self._told.pop(request.id, None) is not None
        told_at = self._told.get(request.id)
        if told_at is not None and now - told_at < DAY_MS:
            return False
        self._told[request.id] = now
        return True


def _warn(event: str, request: Request | Unlock, **about: str) -> None:
    waits = request.state == "Waiting"
    log.warning(
        event,
        request=request.id,
        state=request.state,
        org_id=request.org_id,
        **about,
        ready=to_iso(request.ready_at),
        **({"remedy": f"to stop it: countersign admin {event} cancel {request.id}"} if waits else {}),
    )
