"""The way of a signed request, step by step, against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from countersign.access import server_keys
from countersign.access.server_keys import Purpose, read_server_secret
from tests.support.answers import refusal
from tests.support.caller import Caller
from tests.support.inprocess import InProcess
from tests.support.server import Sandbox

NAME = {"name": "a"}


def test_an_action_token_is_accepted_once(shared_sandbox: Sandbox) -> None:
    with Caller(shared_sandbox.service) as caller:
        key = caller.create_key()
        token = caller.action_token("PUT", f"/keys/{key}", NAME)
        assert caller.send("PUT", f"/keys/{key}", NAME, action=token).status_code == 200
        again = caller.send("PUT", f"/keys/{key}", NAME, action=token)
        assert (again.status_code, again.json()["error"]["code"]) == (400, "USER_ACTION_REUSED")


@pytest.fixture
def server(runner: asyncio.Runner, tmp_path: Path, database_url: str) -> InProcess:
    return InProcess(runner, tmp_path / "data", database_url, background=False)


def replace(server: InProcess, purpose: Purpose) -> None:
    """A new MAC key, and the end of the one before."""
    services = server.runtime.services
    secret, old = read_server_secret(server.settings.server_secret_file), services.ring.keys.active(purpose).kid
    server.runner.run(services.database.write(lambda: server_keys.rotate(purpose, secret, server.world)))
    server.runner.run(services.database.write(lambda: server_keys.retire(old, server.world)))
    server.runner.run(services.ring.load())


@pytest.mark.parametrize(
    "end",
    [
        lambda server, purpose: replace(server, purpose),
        lambda server, _purpose: server.clock.move(seconds=server.settings.challenge_seconds + 1),
        lambda server, _purpose: server.clock.move(seconds=-server.settings.challenge_seconds),
    ],
    ids=["its key was retired", "it expired", "the clock was set back"],
)
def test_a_process_holds_what_it_made_itself_to_key_and_time(
    server: InProcess, end: Callable[[InProcess, Purpose], None]
) -> None:
    with server, server.caller(server.service) as caller:
        path = f"/keys/{caller.create_key()}"
        challenge = caller.challenge("PUT", path, NAME)
        assert caller.answer(challenge).status_code == 200
        end(server, "challenge")
        assert refusal(caller.answer(challenge)) == (400, "CHALLENGE_INVALID")
        token = caller.action_token("PUT", path, NAME)
        end(server, "action")
        assert refusal(caller.send("PUT", path, NAME, action=token)) == (403, "USER_ACTION_INVALID")
        assert caller.signed("PUT", path, NAME).status_code == 200
