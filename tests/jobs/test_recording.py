"""Outcomes that are recorded several in one transaction."""

from __future__ import annotations

from dataclasses import replace

from countersign.jobs import Done, queue
from countersign.storage import Database, Statement, Transaction
from countersign.world import World
from tests.jobs.support import ORG, Record, count, kind, put, workers

_CREATED = Statement("tests.jobs_created", "SELECT COUNT(*) FROM jobs WHERE kind = 'test.more'")


async def test_what_ends_together_is_recorded_in_one_transaction(database: Database) -> None:
    world = World()
    record = Record()
    for _ in range(8):
        await put(database, world)
    before = database.statistics.write_transactions
    await workers(database, world, replace(kind(record), together=True)).until_idle()
    assert len(record.ran) == 8
    assert await database.read(count) == 0
    # One that takes them, and one for the outcomes.
    assert database.statistics.write_transactions - before == 2


async def test_an_outcome_that_cannot_be_written_takes_no_other_with_it(database: Database) -> None:
    world = World()

    def more() -> Transaction[None]:
        yield from queue.enqueue("test.more", ORG, {}, None, None, world)

    def defect() -> Transaction[None]:
        yield from more()
        raise ValueError

    record = Record([Done(more), Done(defect), Done(more)])
    for _ in range(3):
        await put(database, world)
    await workers(database, world, replace(kind(record), together=True)).until_idle()
    assert (await database.read(_created)) == 2
    # The one with the defect stays its worker's until the lease ends.
    assert (await database.read(count)) == 3


def _created() -> Transaction[int]:
    return int((yield _CREATED, ())[0][0])
