"""What a running server says of break-glass requests."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from structlog.testing import capture_logs

from countersign.server.notices import DAY_MS, Notices
from countersign.storage import Database
from tests.identity.test_break_glass import locked_out, new_key


async def looked(notices: Notices) -> list[MutableMapping[str, Any]]:
    """What is logged at one look."""
    with capture_logs() as lines:
        await notices.look()
    return lines


async def test_a_request_that_waits_is_told_at_the_start_every_day_and_at_its_end(database: Database) -> None:
    locked = await locked_out(database)
    notices = Notices(database, locked.house.world)
    assert await looked(notices) == []
    made = await locked.request(new_key())
    (line,) = await looked(notices)
    assert (line["log_level"], line["request"], line["username"]) == ("warning", made.id, "admin@example.com")
    assert f"cancel {made.id}" in line["remedy"]

    locked.clock.now += DAY_MS - 1
    assert await looked(notices) == []
    locked.clock.now += 1
    assert len(await looked(notices)) == 1
    # A server that starts now tells it at once.
    assert len(await looked(Notices(database, locked.house.world))) == 1

    locked.clock.now += 2 * DAY_MS
    await locked.complete(made.id)
    (line,) = await looked(notices)
    assert (line["request"], line["state"]) == (made.id, "Completed")
    assert "remedy" not in line
    locked.clock.now += 2 * DAY_MS
    assert await looked(notices) == []


async def test_a_cancelled_request_is_told_once_more(database: Database) -> None:
    locked = await locked_out(database)
    notices = Notices(database, locked.house.world)
    made = await locked.request(new_key())
    await looked(notices)
    await locked.cancel(made.id)
    assert [line["state"] for line in await looked(notices)] == ["Cancelled"]
    assert await looked(notices) == []
