"""Several worker processes over one PostgreSQL, killed at random (check D1)."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator

import pytest

from countersign.jobs.inspection import listing
from countersign.jobs.queue import enqueue
from countersign.storage import Database, Transaction, open_database
from countersign.world import World
from tests.faults.waiting import until
from tests.jobs.support import ORG
from tests.jobs.worker_process import MARK, MARKED
from tests.support import aio
from tests.support.databases import fresh_postgresql
from tests.support.postgres import PostgresServer

JOBS = 300
KILLS = 6


@pytest.fixture
def url(postgres_server: PostgresServer) -> Iterator[str]:
    yield from fresh_postgresql(postgres_server)


def start(url: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "tests.jobs.worker_process", url])


def marked(url: str) -> list[str]:
    """The jobs whose effect was written."""

    async def read(database: Database) -> list[str]:
        found = await database.read(lambda: listing(0, kind=MARKED, limit=10_000))
        return [json.loads(job.payload)["of"] for job in found]

    return aio.run(with_database(url, read))


async def with_database(url: str, work):
    database = await open_database(url, migrate=False)
    try:
        return await work(database)
    finally:
        await database.close()


def test_d1_kills_of_worker_processes_lose_no_job_and_write_no_effect_twice(url: str) -> None:
    world, chance = World(), random.Random(7)

    def many() -> Transaction[None]:
        for _ in range(JOBS):
            yield from enqueue(MARK, ORG, {}, None, None, world)

    aio.run(with_database(url, lambda database: database.write(many)))
    workers = [start(url), start(url)]
    try:
        for number in range(1, KILLS + 1):
            goal = number * JOBS // (KILLS + 2)
            until(f"{goal} jobs are done", lambda goal=goal: len(marked(url)) >= goal)
            victim = chance.randrange(2)
            workers[victim].kill()
            workers[victim].wait(20)
            workers[victim] = start(url)
        until("every job is done", lambda: len(marked(url)) >= JOBS)
        done = marked(url)
        assert len(done) == len(set(done)) == JOBS
    finally:
        for worker in workers:
            worker.kill()
            worker.wait(20)
