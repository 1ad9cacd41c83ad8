"""What the signer is told for its roster: in order, once where nothing went wrong, and again after a crash."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import Any, cast

from countersign.keystores import SignerClient, store
from countersign.keystores.outcome import SignerRefused
from countersign.keystores.outgoing import Outgoing, RosterKeeper, _encode
from countersign.storage import Database, Transaction
from countersign.world import World
from tests.keystores.builders import ORG, STORE
from tests.keystores.people import Person

# Ids are in order from one millisecond to the next.
WORLD = World(clock=itertools.count(World().now()).__next__)


@dataclass
class Told:
    """A signer that remembers what it was told, and takes it or not."""

    refuses: bool = False
    orders: list[str] = field(default_factory=list)
    open: bool = True
    roster_mark: None = None
    roster_trouble: None = None

    async def change_roster(self, op: str, arguments: bytes, evidence: Any) -> bytes:
        self.orders.append(op)
        if self.refuses:
            raise SignerRefused("Denied", "not now")
        return b"done"


def waits(*ops: str) -> Transaction[None]:
    for op in ops:
        body = _encode(Outgoing(Person().founder, None))
        yield store.INSERT_ROSTER_ORDER_OF_STORE, (ORG, WORLD.new_id("ro"), STORE, op, "subject", body, WORLD.now())


async def waiting(database: Database) -> int:
    return len(await database.read(lambda: store.waiting_roster_orders(STORE, "", 100, refused=True)))


def keeper(database: Database, signer: Told) -> RosterKeeper:
    return RosterKeeper(database, {STORE: cast("SignerClient", signer)}, WORLD)


async def test_what_was_told_is_not_told_again_and_noted_in_one_transaction(database: Database) -> None:
    signer = Told()
    roster = keeper(database, signer)
    await database.write(lambda: waits("enrol", "retire", "endorse"))
    before = database.statistics.write_transactions
    await roster.deliver()
    await roster.deliver()
    assert signer.orders == ["enrol", "retire", "endorse"]
    assert (database.statistics.write_transactions - before, await waiting(database)) == (0, 3)
    await roster.settle()
    await roster.settle()
    assert (database.statistics.write_transactions - before, await waiting(database)) == (1, 0)


async def test_what_was_not_noted_before_a_crash_is_told_again(database: Database) -> None:
    signer = Told()
    await database.write(lambda: waits("enrol"))
    await keeper(database, signer).deliver()
    await keeper(database, signer).deliver()
    assert signer.orders == ["enrol", "enrol"]


async def test_what_was_refused_waits_on_and_is_told_again_by_and_by(database: Database) -> None:
    signer = Told(refuses=True)
    roster = keeper(database, signer)
    await database.write(lambda: waits("endorse"))
    await roster.deliver()
    await roster.settle()
    await roster.deliver()
    assert (signer.orders, await waiting(database)) == (["endorse"], 1)
    signer.refuses = False
    async with asyncio.timeout(20):
        task = asyncio.create_task(roster.run())
        while await waiting(database):  # noqa: ASYNC110 - the row says when
            await asyncio.sleep(0)
    task.cancel()
    assert (signer.orders, await waiting(database)) == (["endorse"] * 2, 0)
