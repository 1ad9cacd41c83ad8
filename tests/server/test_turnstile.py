"""Taking turns: one each time round, in order, with everybody else between."""

from __future__ import annotations

import asyncio

from countersign.server.turnstile import Turnstile, for_strangers
from countersign.storage import Database, Transaction
from tests.storage.catalogue import COUNT


async def test_who_comes_alone_does_not_wait() -> None:
    turnstile, passed = Turnstile(), []
    for number in range(3):
        passed.append(number)
        await turnstile.turn()
        await asyncio.sleep(0)
    assert passed == [0, 1, 2]


async def test_many_at_once_pass_one_by_one_and_others_get_between() -> None:
    turnstile, told = Turnstile(), []

    async def stranger(number: int) -> None:
        await turnstile.turn()
        told.append(number)

    async def known() -> None:
        while len([each for each in told if each >= 0]) < 20:
            told.append(-1)
            await asyncio.sleep(0)

    await asyncio.gather(*(stranger(number) for number in range(20)), known())
    assert [each for each in told if each >= 0] == list(range(20))
    assert "0, 1" not in str(told[told.index(1) :])
    longest = max(len(run.split(",")) for run in str(told).strip("[]").replace(" ", "").split("-1,"))
    # A turn and the one that was given at its end may fall into one round.
    assert longest <= 3


async def test_one_that_goes_away_is_passed_over() -> None:
    turnstile = Turnstile()
    tasks = [asyncio.create_task(turnstile.turn()) for _ in range(4)]
    await asyncio.sleep(0)
    tasks[2].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [task.cancelled() for task in tasks] == [False, False, True, False]
    await turnstile.turn()


async def test_strangers_leave_most_connections_to_who_is_known(database: Database) -> None:
    strangers, inside, most = for_strangers(database), 0, 0

    def counting() -> Transaction[int]:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        rows = yield COUNT, ()
        inside -= 1
        return int(rows[0][0])

    def known() -> Transaction[int]:
        return int((yield COUNT, ())[0][0])

    asked = [strangers.read(counting) for _ in range(20)] + [strangers.write(counting) for _ in range(5)]
    told = await asyncio.gather(*asked, *(database.read(known) for _ in range(20)))
    assert len(told) == 45
    assert inside == 0
    assert 1 <= most <= 3
