"""One holder at a time, and a fence that grows with every holder."""

from __future__ import annotations

import asyncio

from countersign.storage import Database, Transaction, leases
from countersign.storage.leases import Lease
from tests.storage.catalogue import count, put

NOW = 1_700_000_000_000


async def test_of_20_that_want_a_lease_one_gets_it(database: Database) -> None:
    wanting = [database.write(lambda n=n: leases.acquire("sequencer", f"process {n}", NOW, 1000)) for n in range(20)]
    got = [lease for lease in await asyncio.gather(*wanting) if lease]
    assert len(got) == 1
    assert got[0].fence == 1


async def test_an_expired_lease_goes_to_the_next_with_a_higher_fence(database: Database) -> None:
    first = await database.write(lambda: leases.acquire("sequencer", "a", NOW, 1000))
    assert await database.write(lambda: leases.acquire("sequencer", "b", NOW + 999, 1000)) is None
    second = await database.write(lambda: leases.acquire("sequencer", "b", NOW + 1000, 1000))
    assert first == Lease("sequencer", "a", 1)
    assert second == Lease("sequencer", "b", 2)


async def test_a_lease_taken_under_a_clock_that_was_far_ahead_is_nobodys(database: Database) -> None:
    await database.write(lambda: leases.acquire("sequencer", "ahead", NOW + leases.SKEW_MS, 1000))
    assert await database.write(lambda: leases.acquire("sequencer", "b", NOW, 1000)) is None
    await database.write(lambda: leases.acquire("another", "far ahead", NOW + leases.SKEW_MS + 1, 1000))
    assert await database.write(lambda: leases.acquire("another", "b", NOW, 1000)) == Lease("another", "b", 2)


async def test_a_renewed_lease_is_held_longer(database: Database) -> None:
    lease = await database.write(lambda: leases.acquire("sequencer", "a", NOW, 1000))
    assert lease
    assert await database.write(lambda: leases.renew(lease, NOW + 500, 1000))
    assert await database.write(lambda: leases.acquire("sequencer", "b", NOW + 1400, 1000)) is None


async def test_an_expired_lease_is_not_renewed(database: Database) -> None:
    lease = await database.write(lambda: leases.acquire("sequencer", "a", NOW, 1000))
    assert lease
    assert not await database.write(lambda: leases.renew(lease, NOW + 1000, 1000))


async def test_a_released_lease_is_free_at_once_and_its_fence_goes_on(database: Database) -> None:
    lease = await database.write(lambda: leases.acquire("sequencer", "a", NOW, 1000))
    assert lease
    await database.write(lambda: leases.release(lease))
    assert await database.write(lambda: leases.acquire("sequencer", "a", NOW, 1000)) == Lease("sequencer", "a", 2)


async def test_a_former_holder_can_neither_renew_nor_release(database: Database) -> None:
    late = await database.write(lambda: leases.acquire("sequencer", "a", NOW, 1000))
    assert late
    holder = await database.write(lambda: leases.acquire("sequencer", "a", NOW + 1000, 1000))
    assert holder
    await database.write(lambda: leases.release(late))
    assert not await database.write(lambda: leases.renew(late, NOW + 1001, 1000))
    assert await database.write(lambda: leases.renew(holder, NOW + 1001, 1000))


async def test_work_of_a_former_holder_changes_nothing(database: Database) -> None:
    def work(lease: Lease, now: int) -> Transaction[bool]:
        held = yield from leases.renew(lease, now, 1000)
        if held:
            yield from put(f"done by {lease.owner}", "")
        return held

    late = await database.write(lambda: leases.acquire("sequencer", "a", NOW, 1000))
    holder = await database.write(lambda: leases.acquire("sequencer", "b", NOW + 1000, 1000))
    assert late
    assert holder
    assert not await database.write(lambda: work(late, NOW + 1001))
    assert await database.write(lambda: work(holder, NOW + 1001))
    assert await database.read(count) == 1


async def test_leases_of_different_names_are_apart(database: Database) -> None:
    assert await database.write(lambda: leases.acquire("sequencer", "a", NOW, 1000))
    assert await database.write(lambda: leases.acquire("sweeper", "b", NOW, 1000))
