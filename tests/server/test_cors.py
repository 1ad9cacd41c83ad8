"""Which web pages may read answers: in production those of known origins only, each named back exactly."""

from __future__ import annotations

from typing import Any, cast

import pytest

from countersign.access.limits import RateLimits, Rates
from countersign.access.origins import REMEMBERED_MS, Origins
from countersign.api import ApiError, Response
from countersign.identity import store
from countersign.server.corridor import Corridor
from countersign.server.head import Head
from countersign.server.http import Face
from countersign.storage import Database, Statement, StorageUnavailable, Transaction
from countersign.world import World

ORIGIN = "https://app.example.org"
ADDRESS = "192.0.2.1"
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}


class Answers:
    """A corridor that answers everything."""

    async def handle(self, head: Head, read_body: Any) -> Response:
        return Response(200, b"{}")

    def refuse(self, error: ApiError) -> Response:
        raise AssertionError(error)


class Clock:
    now = 1_790_000_000_000

    def __call__(self) -> int:
        return self.now


def looking(database: Database, world: World | None = None) -> Origins:
    """As the server looks origins up, with room for three of one address that are not known."""
    world = world or World()
    rates = Rates(organisation=1, address=1, public=3, username=1, code=1, codes_an_hour=1)
    return Origins(database, world, RateLimits(rates, world))


async def known(database: Database, origin: str = ORIGIN) -> None:
    def work() -> Transaction[None]:
        yield store.INSERT_ORIGIN, ("or-1", "", "example.org", origin, 1)

    await database.write(work)


async def ask(
    origins: Origins | None, method: str = "GET", origin: str | None = ORIGIN, **headers: str
) -> dict[str, str]:
    """Status and headers of the answer."""
    named = {**({} if origin is None else {"origin": origin}), **headers}
    lines = [(name.encode(), value.encode()) for name, value in named.items()]

    async def no_body(limit: int) -> bytes:
        return b""

    answer = await Face(cast("Corridor", Answers()), (), origins).answer(method, b"/keys", lines, "127.0.0.1", no_body)
    found = {name.decode(): value.decode() for name, value in answer.headers}
    return {"status": str(answer.response.status), **found}


async def test_a_known_origin_is_named_back_and_never_with_credentials(database: Database) -> None:
    await known(database)
    answer = await ask(looking(database))
    assert answer["access-control-allow-origin"] == ORIGIN
    assert answer["vary"] == "Origin"
    assert "retry-after" in answer["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in answer


@pytest.mark.parametrize(
    "origin", ["https://evil.example", f"{ORIGIN}.evil.example", f"{ORIGIN}/", "http://app.example.org", "null", "*"]
)
async def test_another_origin_is_not(database: Database, origin: str) -> None:
    await known(database)
    for method, headers in (("GET", {}), ("OPTIONS", PREFLIGHT)):
        answer = await ask(looking(database), method, origin, **headers)
        assert not [name for name in answer if name.startswith("access-control-")]
        assert answer["vary"] == "Origin"


async def test_a_preflight_of_a_known_origin_names_methods_and_headers(database: Database) -> None:
    await known(database)
    answer = await ask(looking(database), "OPTIONS", **PREFLIGHT)
    assert (answer["status"], answer["access-control-allow-origin"]) == ("204", ORIGIN)
    assert "DELETE" in answer["access-control-allow-methods"]
    for header in ("authorization", "x-dfns-useraction", "x-dfns-nonce", "x-dfns-apisignature"):
        assert header in answer["access-control-allow-headers"]


async def test_without_an_origin_nothing_is_looked_up(database: Database) -> None:
    before = database.statistics.statements
    answer = await ask(looking(database), origin=None)
    assert "access-control-allow-origin" not in answer
    assert database.statistics.statements == before


async def test_an_origin_is_remembered_for_seconds_only(database: Database) -> None:
    clock = Clock()
    origins = looking(database, World(clock=clock))
    assert not await origins.knows(ORIGIN, ADDRESS)
    await known(database)
    assert not await origins.knows(ORIGIN, ADDRESS)
    clock.now += REMEMBERED_MS + 1
    assert await origins.knows(ORIGIN, ADDRESS)


async def test_an_address_that_asks_about_ever_other_origins_reads_nothing_more(database: Database) -> None:
    await known(database)
    clock = Clock()
    origins = looking(database, World(clock=clock))
    assert await origins.knows(ORIGIN, ADDRESS)
    before = database.statistics.statements
    for number in range(50):
        assert not await origins.knows(f"https://{number}.example.org", ADDRESS)
    assert database.statistics.statements == before + 2
    # Whoever else uses that address keeps what was known, and other addresses have a count of their own.
    clock.now += REMEMBERED_MS + 1
    assert await origins.knows(ORIGIN, ADDRESS)
    assert not await origins.knows("https://other.example.org", "192.0.2.2")
    assert database.statistics.statements == before + 4


async def test_the_origin_of_an_application_goes_with_it(database: Database) -> None:
    def work() -> Transaction[None]:
        yield store.INSERT_APPLICATION, ("or-1", "ap-1", "App", "example.org", ORIGIN, 1)
        yield store.INSERT_ORIGIN, ("or-1", "ap-1", "example.org", ORIGIN, 1)

    await database.write(work)
    assert await looking(database).knows(ORIGIN, ADDRESS)

    def deactivate() -> Transaction[None]:
        yield Statement("of_a_test", "UPDATE applications SET state = 'Inactive'"), ()

    await database.write(deactivate)
    assert not await looking(database).knows(ORIGIN, ADDRESS)


class Gone:
    """A database that cannot be reached."""

    async def read(self, make: object) -> bool:
        raise StorageUnavailable("gone")


async def test_without_a_database_no_origin_is_known_and_the_answer_still_comes() -> None:
    answer = await ask(looking(cast("Database", Gone())))
    assert answer["status"] == "200"
    assert "access-control-allow-origin" not in answer


async def test_in_the_sandbox_any_page_may_read() -> None:
    assert (await ask(None))["access-control-allow-origin"] == "*"
    answer = await ask(None, "OPTIONS", **PREFLIGHT)
    assert (answer["status"], answer["access-control-allow-origin"]) == ("204", "*")
