"""Which web pages may read answers: in production those of known origins only, each named back exactly."""

from __future__ import annotations

from typing import Any, cast

import pytest

from countersign.access.origins import REMEMBERED_MS, Origins
from countersign.api import ApiError, Response
from countersign.identity import store
from countersign.server.corridor import Corridor
from countersign.server.head import Head
from countersign.server.http import Face
from countersign.storage import Database, Statement, StorageUnavailable, Transaction
from countersign.world import World

ORIGIN = "https://app.example.org"
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
    answer = await ask(Origins(database, World()))
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
        answer = await ask(Origins(database, World()), method, origin, **headers)
        assert not [name for name in answer if name.startswith("access-control-")]
        assert answer["vary"] == "Origin"


async def test_a_preflight_of_a_known_origin_names_methods_and_headers(database: Database) -> None:
    await known(database)
    answer = await ask(Origins(database, World()), "OPTIONS", **PREFLIGHT)
    assert (answer["status"], answer["access-control-allow-origin"]) == ("204", ORIGIN)
    assert "DELETE" in answer["access-control-allow-methods"]
    for header in ("authorization", "x-dfns-useraction", "x-dfns-nonce", "x-dfns-apisignature"):
        assert header in answer["access-control-allow-headers"]


async def test_without_an_origin_nothing_is_looked_up(database: Database) -> None:
    before = database.statistics.statements
    answer = await ask(Origins(database, World()), origin=None)
    assert "access-control-allow-origin" not in answer
    assert database.statistics.statements == before


async def test_an_origin_is_remembered_for_seconds_only(database: Database) -> None:
    clock = Clock()
    origins = Origins(database, World(clock=clock))
    assert not await origins.knows(ORIGIN)
    await known(database)
    assert not await origins.knows(ORIGIN)
    clock.now += REMEMBERED_MS + 1
    assert await origins.knows(ORIGIN)


async def test_the_origin_of_an_application_goes_with_it(database: Database) -> None:
    def work() -> Transaction[None]:
        yield store.INSERT_APPLICATION, ("or-1", "ap-1", "App", "example.org", ORIGIN, 1)
        yield store.INSERT_ORIGIN, ("or-1", "ap-1", "example.org", ORIGIN, 1)

    await database.write(work)
    assert await Origins(database, World()).knows(ORIGIN)

    def deactivate() -> Transaction[None]:
        yield Statement("of_a_test", "UPDATE applications SET state = 'Inactive'"), ()

    await database.write(deactivate)
    assert not await Origins(database, World()).knows(ORIGIN)


class Gone:
    """A database that cannot be reached."""

    async def read(self, make: object) -> bool:
        raise StorageUnavailable("gone")


async def test_without_a_database_no_origin_is_known_and_the_answer_still_comes() -> None:
    answer = await ask(Origins(cast("Database", Gone()), World()))
    assert answer["status"] == "200"
    assert "access-control-allow-origin" not in answer


async def test_in_the_sandbox_any_page_may_read() -> None:
    assert (await ask(None))["access-control-allow-origin"] == "*"
    answer = await ask(None, "OPTIONS", **PREFLIGHT)
    assert (answer["status"], answer["access-control-allow-origin"]) == ("204", "*")
