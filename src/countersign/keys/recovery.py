"""Finishing what a crash left between the two transactions of a signature."""

from __future__ import annotations

import asyncio
from functools import partial

import structlog

from countersign.keys import signatures
from countersign.keys.finishing import ContradictedByConsent, Finishing
from countersign.keys.service import Failure, finish
from countersign.keys.signatures import Unfinished
from countersign.keystores import SignerSealed, SignerUnavailable
from countersign.storage import StorageUnavailable
from countersign.world import World

log = structlog.get_logger("countersign.recovery")

_BATCH = 100


class Recovery:
    """Takes up signature requests that stayed ``Executing``, under their own ids, with their evidence.

    A call that signs at once writes no job: that would double what it writes, for a crash that is rare.
    """

    def __init__(self, finishing: Finishing, world: World) -> None:
        self._finishing = finishing
        self._database = finishing.database
        self._world = world

    async def sweep(self, older_than_ms: int) -> int:
        """Finish every request that is ``Executing`` for longer than that; how many were finished.

        One that cannot be finished keeps none of the others waiting.
        """
        done = 0
        stuck: set[str] = set()
        before = self._world.now() - older_than_ms
        while self._finishing.service.available:
            limit = _BATCH + len(stuck)
            left = await self._database.read(partial(signatures.unfinished, before, limit))
            fresh = [request for request in left if request.signature_id not in stuck]
            if not fresh:
                break
            for request in fresh:
                if await self._take_up(request):
                    done += 1
                else:
                    stuck.add(request.signature_id)
        return done

    async def _take_up(self, left: Unfinished) -> bool:
        try:
            done = await self._finishing.ask(left)
        except ContradictedByConsent as error:
            reason = str(error)
            log.error("signature request cannot be read back", signature_id=left.signature_id, reason=reason)  # noqa: TRY400 - the reason says it
            return False
        except (SignerUnavailable, SignerSealed) as error:
            log.warning("recovery waits for the signer", reason=str(error))
            return False
        await self._database.write(lambda: finish(done, self._world))
        failed = isinstance(done.outcome, Failure)
        log.info("signature request finished", signature_id=left.signature_id, failed=failed)
        return True

    async def run(self, older_than_ms: int, interval: float) -> None:
        """Sweep now and then until cancelled; at the first sweep whatever is left of a process before this one."""
        while True:
            try:
                await self.sweep(older_than_ms)
            except StorageUnavailable as error:
                log.warning("recovery waits for the database", reason=error.reason)
            await asyncio.sleep(interval)
