"""What the operators of a server must not overlook: requests for break-glass, told in its log."""

from __future__ import annotations

import asyncio

import structlog

from countersign.encoding.dates import to_iso
from countersign.identity import break_glass
from countersign.identity.break_glass import Request
from countersign.storage import Database
from countersign.world import World

DAY_MS = 86_400_000
_LOOK_SECONDS = 60

log = structlog.get_logger("countersign.break_glass")


class BreakGlassNotices:
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
        found = await self._database.read(lambda: break_glass.list_requests(self._since - DAY_MS))
        for request in found:
            if request.state == "Waiting":
                told_at = self._told.get(request.id)
                if told_at is None or now - told_at >= DAY_MS:
                    self._told[request.id] = now
                    _warn(request, f"countersign admin break-glass cancel {request.id}")
            elif self._told.pop(request.id, None) is not None:
                _warn(request)
        self._since = now


def _warn(request: Request, remedy: str | None = None) -> None:
    log.warning(
        "break-glass",
        request=request.id,
        state=request.state,
        org_id=request.org_id,
        user_id=request.user_id,
        username=request.username,
        ready=to_iso(request.ready_at),
        **({} if remedy is None else {"remedy": f"to stop it: {remedy}"}),
    )
