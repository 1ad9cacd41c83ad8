"""A worker process for tests: what it runs leaves one row each, written with the end of the job."""

from __future__ import annotations

import asyncio
import sys

from countersign.jobs import Done, Job, Kind, Outcome
from countersign.jobs.plan import Bounds
from countersign.jobs.queue import enqueue
from countersign.jobs.workers import Workers
from countersign.storage import Transaction, open_database
from countersign.world import World

MARK, MARKED = "test.mark", "test.marked"
NEVER = 1 << 50


async def main(url: str) -> None:
    world = World()
    database = await open_database(url, migrate=False)

    async def run(job: Job) -> Outcome:
        await asyncio.sleep(0.005)

        def mark() -> Transaction[None]:
            # No key of its own, so that a second effect would show.
            yield from enqueue(MARKED, job.org_id, {"of": job.job_id}, NEVER, None, world)

        return Done(mark)

    await Workers(database, [Kind(MARK, run, bounds=Bounds(4))], world.new_id("owner"), world, lease_ms=1000).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
