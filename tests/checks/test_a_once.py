"""A1, A2: one consent, one effect. Under parallel use, over two processes, across restarts and clock steps."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from countersign.access import nonce
from tests.support import aio
from tests.support.caller import Caller
from tests.support.databases import fresh_postgresql
from tests.support.inprocess import InProcess
from tests.support.postgres import PostgresServer
from tests.support.second_server import second_server
from tests.support.server import Sandbox

PARALLEL = 50


def use_in_parallel(bases: Sequence[str], caller: Caller, path: str, body: Any, tokens: Sequence[str]) -> Counter[str]:
    """Send the same request ``PARALLEL`` times at once, in turn to each server with each token; answers counted."""

    async def all_at_once() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=PARALLEL)
        async with httpx.AsyncClient(limits=limits, timeout=30) as client:

            async def one(number: int) -> httpx.Response:
                headers = {
                    "Authorization": f"Bearer {caller.token}",
                    "X-DFNS-USERACTION": tokens[number % len(tokens)],
                }
                url = bases[number % len(bases)] + path
                return await client.request(method, url, headers=headers, json=body)

            return await asyncio.gather(*[one(number) for number in range(PARALLEL)])

    method = "POST" if "kind" in body or "scheme" in body else "PUT"
    answers = aio.run(all_at_once())
    return Counter("done" if a.status_code == 200 else str(a.json()["error"]["code"]) for a in answers)


def entries_of(caller: Caller, key: str) -> int:
    """How many times the key was signed with, as the list of its signature requests says."""
    return len(caller.send("GET", f"/keys/{key}/signatures").json()["items"])


def test_a1_of_50_parallel_uses_of_one_action_token_one_succeeds(shared_sandbox: Sandbox) -> None:
    with Caller(shared_sandbox.service) as caller:
        key = caller.create_key()
        token = caller.action_token("PUT", f"/keys/{key}", {"name": "once"})
        counted = use_in_parallel([shared_sandbox.values["baseUrl"]], caller, f"/keys/{key}", {"name": "once"}, [token])
        assert counted == {"done": 1, "USER_ACTION_REUSED": PARALLEL - 1}


@pytest.fixture
def on_postgresql(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[Sandbox]:
    """A sandbox on PostgreSQL, the engine that several processes may share."""
    for url in fresh_postgresql(postgres_server):
        with Sandbox(tmp_path / "data", url) as running:
            yield running


def test_a1_of_50_parallel_uses_over_two_processes_one_succeeds(on_postgresql: Sandbox) -> None:
    with Caller(on_postgresql.service) as caller, second_server(on_postgresql) as other:
        bases = [on_postgresql.values["baseUrl"], other]
        key = caller.create_key()
        token = caller.action_token("PUT", f"/keys/{key}", {"name": "once"})
        counted = use_in_parallel(bases, caller, f"/keys/{key}", {"name": "once"}, [token])
        assert counted == {"done": 1, "USER_ACTION_REUSED": PARALLEL - 1}
        body = {"kind": "Message", "message": "0x01"}
        token = caller.action_token("POST", f"/keys/{key}/signatures", body)
        counted = use_in_parallel(bases, caller, f"/keys/{key}/signatures", body, [token])
        assert counted == {"done": 1, "USER_ACTION_REUSED": PARALLEL - 1}
        assert entries_of(caller, key) == 1


def test_a1_of_50_parallel_uses_of_one_token_one_signature_is_made(shared_sandbox: Sandbox) -> None:
    with Caller(shared_sandbox.service) as caller:
        key = caller.create_key()
        body = {"kind": "Message", "message": "0x01"}
        token = caller.action_token("POST", f"/keys/{key}/signatures", body)
        base = shared_sandbox.values["baseUrl"]
        counted = use_in_parallel([base], caller, f"/keys/{key}/signatures", body, [token])
        assert counted == {"done": 1, "USER_ACTION_REUSED": PARALLEL - 1}
        assert entries_of(caller, key) == 1


def test_a1_a_challenge_answered_twice_is_spent_once_also_in_parallel(shared_sandbox: Sandbox) -> None:
    with Caller(shared_sandbox.service) as caller:
        key = caller.create_key()
        challenge = caller.challenge("PUT", f"/keys/{key}", {"name": "once"})
        tokens = [caller.answer(challenge).json()["userAction"] for _ in range(2)]
        base = shared_sandbox.values["baseUrl"]
        counted = use_in_parallel([base], caller, f"/keys/{key}", {"name": "once"}, tokens)
        assert counted == {"done": 1, "USER_ACTION_REUSED": PARALLEL - 1}


def test_a1_parallel_uses_of_an_action_whose_effect_fails_spend_it_once(shared_sandbox: Sandbox) -> None:
    path = "/keys/key-00000-00000-0000000000000000"
    with Caller(shared_sandbox.service) as caller:
        token = caller.action_token("PUT", path, {"name": "once"})
        counted = use_in_parallel([shared_sandbox.values["baseUrl"]], caller, path, {"name": "once"}, [token])
        assert counted == {"NOT_FOUND": 1, "USER_ACTION_REUSED": PARALLEL - 1}


def refused_as_used(answer: httpx.Response) -> bool:
    return answer.status_code == 400 and answer.json()["error"]["code"] == "USER_ACTION_REUSED"


def test_a2_a_used_action_stays_used_across_restart_and_kill(sandbox: Sandbox) -> None:
    with Caller(sandbox.service) as caller:
        key = caller.create_key()
        path, body = f"/keys/{key}", {"name": "once"}
        token = caller.action_token("PUT", path, body)
        assert caller.send("PUT", path, body, action=token).status_code == 200
        unused = caller.action_token("PUT", path, {"name": "later"})
    sandbox.stop()
    sandbox.start()
    with Caller(sandbox.service) as caller:
        assert refused_as_used(caller.send("PUT", path, body, action=token))
        # An action that was signed before the restart and not used is still good, once.
        assert caller.send("PUT", path, {"name": "later"}, action=unused).status_code == 200
    sandbox.kill()
    sandbox.start()
    with Caller(sandbox.service) as caller:
        assert refused_as_used(caller.send("PUT", path, body, action=token))
        assert refused_as_used(caller.send("PUT", path, {"name": "later"}, action=unused))


def test_a2_no_step_of_the_clock_revives_a_used_action(in_process: InProcess) -> None:
    with in_process.caller(in_process.service) as caller:
        key = caller.create_key()
        path, body = f"/keys/{key}", {"name": "once"}
        token = caller.action_token("PUT", path, body)
        assert caller.send("PUT", path, body, action=token).status_code == 200
        for step in (-20, 280, -590):
            # Back within the leeway, forward beyond the expiry, back to before it was signed.
            in_process.clock.move(seconds=step)
            again = caller.send("PUT", path, body, action=token)
            assert again.json()["error"]["code"] in ("USER_ACTION_REUSED", "USER_ACTION_INVALID", "UNAUTHENTICATED")
        in_process.clock.offset = 0
        in_process.clock.move(seconds=1000)
        expired = caller.send("PUT", path, body, action=token)
        assert expired.json()["error"]["code"] == "USER_ACTION_INVALID"
        # The clock goes back into the life of the token, after everything in memory was lost.
        in_process.clock.offset = 0
        in_process.restart()
        assert refused_as_used(caller.send("PUT", path, body, action=token))


def test_a2_no_sweep_forgets_a_used_action(in_process: InProcess) -> None:
    with in_process.caller(in_process.service) as caller:
        key = caller.create_key()
        path, body = f"/keys/{key}", {"name": "once"}
        token = caller.action_token("PUT", path, body)
        assert caller.send("PUT", path, body, action=token).status_code == 200
        database = in_process.runtime.services.database
        far = in_process.world.now() + 10**12
        in_process.runner.run(database.write(lambda: nonce.forget(far)))
        in_process.runner.run(in_process.runtime.sequencer.drain())
        assert refused_as_used(caller.send("PUT", path, body, action=token))
