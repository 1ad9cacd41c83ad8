"""What the headers of a request cost, and what becomes of them where nobody is authenticated or the store is gone."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pytest

from countersign.encoding import base64url
from countersign.storage import StorageUnavailable
from tests.support.answers import refusal
from tests.support.caller import Caller
from tests.support.inprocess import InProcess

_NUMBER = itertools.count(1)
PUBLIC = "/auth/credentials/code/init"
CODE = {"code": "AAAA-AAAA-AAAA", "credentialKind": "Key"}


def nonce(server: InProcess) -> str:
    date = datetime.fromtimestamp(server.clock() / 1000, UTC).isoformat().replace("+00:00", "Z")
    return base64url.encode(
        json.dumps({"uuid": f"nonce of a test {next(_NUMBER)}".replace(" ", "-"), "date": date}).encode()
    )


@pytest.fixture
def quiet(runner: asyncio.Runner, tmp_path: Path, database_url: str) -> Iterator[InProcess]:
    """A server without background work, with rates that tests can reach."""
    limits = {"public_requests_per_minute": 6, "code_tries_per_minute": 3}
    with InProcess(runner, tmp_path / "data", database_url, background=False, **limits) as server:
        yield server


@pytest.fixture
def caller(quiet: InProcess) -> Iterator[Caller]:
    with quiet.caller(quiet.service) as caller:
        yield caller


def cost(server: InProcess, caller: Caller, **headers: str) -> tuple[int, int]:
    """Statements and write transactions of one read."""
    before = server.statistics
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = caller.send("GET", "/keys", headers=named)
    assert answer.status_code == 200, answer.text
    after = server.statistics
    return after.statements - before.statements, after.write_transactions - before.write_transactions


def test_headers_cost_nothing_where_none_are_sent_and_one_write_for_a_nonce(quiet: InProcess, caller: Caller) -> None:
    app_id = quiet.values["appId"]
    # What is remembered is remembered for a second: let no time pass.
    with mock.patch.object(time, "time_ns", return_value=time.time_ns()):
        cost(quiet, caller, x_dfns_appid=app_id)
        plain = cost(quiet, caller)
        assert plain[1] == 0
        assert cost(quiet, caller, x_dfns_appid=app_id) == plain
        assert cost(quiet, caller, x_dfns_nonce=nonce(quiet)) == (plain[0] + 1, 1)


def test_threat_2_a_nonce_whose_store_is_gone_is_refused_and_nothing_is_done(quiet: InProcess, caller: Caller) -> None:
    database = quiet.runtime.services.database

    async def gone(_make: Any) -> Any:
        raise StorageUnavailable("gone")

    fresh = nonce(quiet)
    assert caller.send("GET", "/keys").status_code == 200
    with mock.patch.object(database, "write", gone):
        assert refusal(caller.send("GET", "/keys", headers={"X-DFNS-NONCE": fresh})) == (503, "UNAVAILABLE")
        assert caller.send("GET", "/keys").status_code == 200
    assert caller.send("GET", "/keys", headers={"X-DFNS-NONCE": fresh}).status_code == 200


def test_threat_2_a_restart_forgets_no_nonce(quiet: InProcess, caller: Caller) -> None:
    used = {"X-DFNS-NONCE": nonce(quiet)}
    assert caller.send("GET", "/keys", headers=used).status_code == 200
    quiet.restart()
    assert refusal(caller.send("GET", "/keys", headers=used)) == (400, "NONCE_REUSED")


def test_threat_46_a_nonce_of_another_time_is_refused(quiet: InProcess, caller: Caller) -> None:
    with quiet.clock.stopped():
        fresh = nonce(quiet)
        quiet.clock.move(seconds=301)
        assert refusal(caller.send("GET", "/keys", headers={"X-DFNS-NONCE": fresh})) == (400, "NONCE_INVALID")
        quiet.clock.move(seconds=-362)
        assert refusal(caller.send("GET", "/keys", headers={"X-DFNS-NONCE": fresh})) == (400, "NONCE_INVALID")


def public(caller: Caller, **headers: str) -> httpx.Response:
    return caller.http.post(PUBLIC, json=CODE, headers=headers)


def test_a_nonce_is_good_once_where_nobody_is_authenticated(quiet: InProcess, caller: Caller) -> None:
    used = {"X-DFNS-NONCE": nonce(quiet)}
    assert refusal(public(caller, **used)) == (403, "INVALID_CODE")
    assert refusal(public(caller, **used)) == (400, "NONCE_REUSED")
    app_id = {"X-DFNS-APPID": quiet.values["appId"]}
    assert refusal(public(caller, **app_id, **used)) == (403, "INVALID_CODE")
    assert refusal(public(caller, **app_id, **used)) == (400, "NONCE_REUSED")


def test_threat_34_tries_of_a_code_are_counted_by_address(quiet: InProcess, caller: Caller) -> None:
    answers = [public(caller) for _ in range(4)]
    assert [refusal(answer)[1] for answer in answers] == ["INVALID_CODE"] * 3 + ["RATE_LIMITED"]
    wait = int(answers[-1].headers["retry-after"])
    quiet.clock.move(seconds=wait)
    assert refusal(public(caller)) == (403, "INVALID_CODE")


def test_public_operations_are_counted_before_anything_is_looked_up(quiet: InProcess, caller: Caller) -> None:
    def answers() -> list[httpx.Response]:
        return [caller.http.post(PUBLIC, content=b"no JSON", headers={"Content-Type": "application/json"})]

    assert [refusal(answers()[0])[1] for _ in range(7)] == ["BAD_JSON"] * 6 + ["RATE_LIMITED"]
    before = quiet.statistics.statements
    assert answers()[0].status_code == 429
    assert quiet.statistics.statements == before
    assert caller.http.get("/healthz").status_code == 200
