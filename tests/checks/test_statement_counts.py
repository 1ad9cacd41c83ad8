"""What a request costs the database, counted: init and action write nothing, a plain signed mutation is one write
transaction, a signature two."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pytest

from tests.support.caller import Caller, compact
from tests.support.inprocess import InProcess

MESSAGE = {"kind": "Message", "message": "0x00"}


@pytest.fixture
def quiet(runner: asyncio.Runner, tmp_path: Path, database_url: str) -> Iterator[InProcess]:
    """A server without background work, so that every write is that of the request."""
    with InProcess(runner, tmp_path / "data", database_url, background=False) as server:
        yield server


def writes(server: InProcess, work: Callable[[], httpx.Response]) -> int:
    """How many write transactions one request makes."""
    before = server.statistics.write_transactions
    answer = work()
    assert answer.status_code == 200, answer.text
    return server.statistics.write_transactions - before


def ceremony(server: InProcess, caller: Caller, method: str, path: str, body: Any) -> tuple[int, int, int]:
    """Write transactions of init, action, and the request itself."""
    challenges: list[dict[str, Any]] = []
    payload = "" if body is None else body

    def init() -> httpx.Response:
        members = {"userActionPayload": payload if isinstance(payload, str) else compact(payload)}
        sent = {**members, "userActionHttpMethod": method, "userActionHttpPath": path}
        answer = caller.send("POST", "/auth/action/init", sent)
        challenges.append(answer.json())
        return answer

    of_init = writes(server, init)
    tokens: list[str] = []

    def action() -> httpx.Response:
        answer = caller.answer(challenges[0])
        tokens.append(answer.json()["userAction"])
        return answer

    of_action = writes(server, action)
    of_request = writes(server, lambda: caller.send(method, path, body, action=tokens[0]))
    return of_init, of_action, of_request


def test_init_and_action_write_nothing_a_mutation_writes_once_a_signature_twice(quiet: InProcess) -> None:
    with quiet.caller(quiet.service) as caller:
        key = caller.create_key()
        path = f"/keys/{key}"
        assert ceremony(quiet, caller, "PUT", path, {"name": "a"}) == (0, 0, 1)
        assert ceremony(quiet, caller, "POST", f"{path}/signatures", MESSAGE) == (0, 0, 2)
        assert ceremony(quiet, caller, "POST", "/keys", {"scheme": "EdDSA", "curve": "ed25519"}) == (0, 0, 1)
        assert ceremony(quiet, caller, "DELETE", path, None) == (0, 0, 1)


def test_reads_write_nothing(quiet: InProcess) -> None:
    with quiet.caller(quiet.service) as caller:
        key = caller.create_key()
        for path in ("/keys", f"/keys/{key}", f"/keys/{key}/signatures", "/auth/credentials", "/auth/service-accounts"):
            assert writes(quiet, lambda path=path: caller.send("GET", path)) == 0


def test_reading_a_key_by_its_id_is_one_statement_as_reading_a_list_is(quiet: InProcess) -> None:
    with quiet.caller(quiet.service) as caller:
        key = caller.create_key()
        costs = []
        # What is remembered is remembered for a second: let no time pass.
        with mock.patch.object(time, "time_ns", return_value=time.time_ns()):
            for path in ("/keys", "/keys", f"/keys/{key}"):
                before = quiet.statistics.statements
                assert caller.send("GET", path).status_code == 200
                costs.append(quiet.statistics.statements - before)
    assert costs[1] == costs[2]


def test_a_refused_request_writes_nothing(quiet: InProcess) -> None:
    with quiet.caller(quiet.service) as caller:
        key = caller.create_key()
        token = caller.action_token("PUT", f"/keys/{key}", {"name": "a"})
        before = quiet.statistics.write_transactions
        assert caller.send("PUT", f"/keys/{key}", {"name": "b"}, action=token).status_code == 403
        assert caller.send("PUT", f"/keys/{key}", {"name": 1}, action=token).status_code == 403
        assert caller.send("PUT", f"/keys/{key}", {"name": "a"}).status_code == 403
        assert quiet.statistics.write_transactions == before


def test_a_failing_effect_writes_twice_for_it_is_rolled_back_and_the_action_is_spent(quiet: InProcess) -> None:
    with quiet.caller(quiet.service) as caller:
        path = "/keys/key-00000-00000-0000000000000000"
        token = caller.action_token("PUT", path, {"name": "a"})
        before = quiet.statistics.write_transactions
        assert caller.send("PUT", path, {"name": "a"}, action=token).status_code == 404
        assert quiet.statistics.write_transactions == before + 2
        assert caller.send("PUT", path, {"name": "a"}, action=token).json()["error"]["code"] == "USER_ACTION_REUSED"
