"""The signer dies while the server goes on."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.faults.rows import all_final, select
from tests.faults.waiting import until
from tests.support.answers import refusal
from tests.support.caller import Caller
from tests.support.server import Sandbox

MESSAGE = {"kind": "Message", "message": "0x68656c6c6f"}


@contextmanager
def without_signer(sandbox: Sandbox) -> Iterator[None]:
    """Kill the signer, and hold the lock of its socket's directory, so that none of its followers can start."""
    pid = sandbox.signer_pid
    directory = os.open(sandbox.directory / "signer", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.kill(pid, signal.SIGKILL)
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def test_while_the_signer_is_away_requests_for_it_are_refused_unspent_and_all_else_goes_on(sandbox: Sandbox) -> None:
    with Caller(sandbox.service) as caller:
        key = caller.create_key()
        new_key = {"scheme": "ECDSA", "curve": "secp256k1"}
        waiting: dict[str, tuple[str, Any]] = {
            caller.action_token("POST", f"/keys/{key}/signatures", MESSAGE): (f"/keys/{key}/signatures", MESSAGE),
            caller.action_token("POST", "/keys", new_key): ("/keys", new_key),
        }
        with without_signer(sandbox):
            for token, (path, body) in waiting.items():
                for _ in range(2):
                    refused = caller.send("POST", path, body, action=token)
                    assert refusal(refused) == (503, "SIGNER_UNAVAILABLE")
                    assert "signatureId" not in refused.json()["error"]["details"]
            assert caller.signed("PUT", f"/keys/{key}", {"name": "renamed meanwhile"}).status_code == 200
            assert caller.send("GET", f"/keys/{key}").json()["name"] == "renamed meanwhile"
        for token, (path, body) in waiting.items():

            def done(token: str = token, path: str = path, body: Any = body) -> bool:
                answer = caller.send("POST", path, body, action=token)
                assert answer.status_code == 200 or refusal(answer) == (503, "SIGNER_UNAVAILABLE"), answer.text
                return answer.status_code == 200

            until("the signer is back", done)
            again = caller.send("POST", path, body, action=token)
            assert refusal(again) == (400, "USER_ACTION_REUSED")


def test_what_was_in_flight_when_the_signer_died_is_finished_under_its_own_id(
    database_url: str, tmp_path: Path
) -> None:
    answers: list[httpx.Response] = []
    with (
        Sandbox(tmp_path / "data", database_url, {"COUNTERSIGN_RECOVERY_SECONDS": "1"}) as sandbox,
        Caller(sandbox.service) as caller,
        Caller(sandbox.service) as reader,
    ):
        key = caller.create_key()
        public_key = Ed25519PublicKey.from_public_bytes(
            bytes.fromhex(reader.send("GET", f"/keys/{key}").json()["publicKey"])
        )
        token = caller.action_token("POST", f"/keys/{key}/signatures", MESSAGE)
        signer = sandbox.signer_pid
        os.kill(signer, signal.SIGSTOP)
        request = threading.Thread(
            target=lambda: answers.append(caller.send("POST", f"/keys/{key}/signatures", MESSAGE, action=token))
        )
        request.start()
        until("the request is stored and the signer asked", lambda: not all_final(sandbox))
        os.kill(signer, signal.SIGKILL)
        request.join()
        assert refusal(answers[0]) == (503, "SIGNER_UNAVAILABLE")
        signature_id = answers[0].json()["error"]["details"]["signatureId"]
        assert select(sandbox, "SELECT signature_id FROM signatures") == [(signature_id,)]
        assert refusal(reader.send("POST", f"/keys/{key}/signatures", MESSAGE, action=token)) in (
            (400, "USER_ACTION_REUSED"),
            (503, "SIGNER_UNAVAILABLE"),
        )

        def finished() -> dict[str, Any] | None:
            found = reader.send("GET", f"/keys/{key}/signatures/{signature_id}").json()
            return found if found["status"] != "Executing" else None

        found = until("the recovery has finished the request", finished)
        assert found["status"] == "Signed"
        public_key.verify(bytes.fromhex(found["signature"]["encoded"][2:]), b"hello")
        outcomes = select(sandbox, 'SELECT count(*) FROM audit_entries WHERE entry LIKE \'%"kind":"Signature"%\'')
        assert outcomes[0][0] == 1


def test_k1_the_signer_leaves_no_core_dump(shared_sandbox: Sandbox) -> None:
    limits = Path(f"/proc/{shared_sandbox.signer_pid}/limits").read_text()
    (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert core.split()[4:6] == ["0", "0"]
