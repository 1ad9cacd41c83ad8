"""Taking turns: one each time round, in order, with everybody else between."""

from __future__ import annotations

import asyncio

from countersign.server.turnstile import Turnstile


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
