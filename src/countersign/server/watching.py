"""What an operator watches beside requests: waiting work, key stores that take orders, entries without a checkpoint."""

from __future__ import annotations

import asyncio

from countersign.audit.sequencer import count_waiting
from countersign.jobs.inspection import health
from countersign.keys.service import Keys
from countersign.server.jobs import kinds
from countersign.server.metrics import Metrics
from countersign.server.services import Services

_SECONDS = 5.0


async def watch(services: Services, metrics: Metrics) -> None:
    """Keep the metrics up to date for as long as the process runs."""
    while True:
        await measure(services, metrics)
        await asyncio.sleep(_SECONDS)


async def measure(services: Services, metrics: Metrics) -> None:
    """Bring the metrics of what waits, and of what is there, up to date."""
    for store_id, signer in services.get(Keys).signers.items():
        metrics.set_key_store(store_id, available=signer.available)
    names, now = [kind.name for kind in kinds(services)], services.world.now()
    for kind, state in (await services.database.read(lambda: health(names, now))).items():
        metrics.set_jobs(kind, 0 if state.oldest_due is None else (now - state.oldest_due) / 1000, state.dead)
    metrics.set_waiting_entries(await services.database.read(count_waiting))
