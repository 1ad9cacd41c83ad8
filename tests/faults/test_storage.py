"""The database can not be written for a while (D2): mutations are refused unspent, reads go on, nothing restarts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from tests.faults.waiting import until
from tests.support.answers import refusal
from tests.support.caller import Caller
from tests.support.disks import fill, tiny_disk
from tests.support.postgres import PostgresServer
from tests.support.server import Sandbox


class Prepared:
    """Signed requests of every kind of mutation, made while all was well, and what can be read."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.key = caller.create_key()
        self.signature = caller.signed("POST", f"/keys/{self.key}/signatures", self._hash(1)).json()["id"]
        requests: list[tuple[str, str, dict[str, Any]]] = [
            ("PUT", f"/keys/{self.key}", {"name": "after"}),
            ("POST", f"/keys/{self.key}/signatures", self._hash(2)),
            ("POST", "/keys", {"scheme": "ECDSA", "curve": "secp256k1"}),
        ]
        self.requests = [(caller.action_token(*request), request) for request in requests]

    @staticmethod
    def _hash(number: int) -> dict[str, str]:
        return {"kind": "Hash", "hash": f"0x{number:064x}"}

    def send(self, number: int) -> httpx.Response:
        """One of the requests, with its one-time token."""
        token, (method, path, body) = self.requests[number]
        return self.caller.send(method, path, body, action=token)

    def check_refused(self) -> None:
        """Each of them is refused, in the same words."""
        for number in range(len(self.requests)):
            answer = self.send(number)
            assert refusal(answer) == (503, "UNAVAILABLE"), answer.text
            assert "hint" in answer.json()["error"]["details"]

    def check_reads(self) -> None:
        """Everything that changes nothing works, the first two steps of a signed request included."""
        for path in (
            "/keys",
            f"/keys/{self.key}",
            f"/keys/{self.key}/signatures",
            f"/keys/{self.key}/signatures/{self.signature}",
            "/auth/credentials",
            "/auth/service-accounts",
        ):
            assert self.caller.send("GET", path).status_code == 200, path
        assert self.caller.action_token("PUT", f"/keys/{self.key}", {"name": "signed meanwhile"})
        assert self.caller.send("GET", f"/keys/{self.key}").json().get("name") is None

    def check_recovered(self) -> None:
        """The refused requests were not spent: the same tokens do them now, once."""
        for number in range(len(self.requests)):
            assert self.send(number).status_code == 200
            assert refusal(self.send(number)) == (400, "USER_ACTION_REUSED")


def test_d2_a_full_disk_stops_mutations_only_and_only_while_it_is_full(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "data", "8m") as disk:
        with Sandbox(disk, f"sqlite://{disk / 'countersign.db'}") as sandbox, Caller(sandbox.service) as caller:
            prepared = Prepared(caller)
            other = caller.create_key()
            server = sandbox.process
            fill(disk / "filler")
            # What was allocated before may hold a few more.
            until("the disk is full for the database", lambda: _is_refused(caller, other))
            prepared.check_refused()
            prepared.check_reads()
            prepared.check_refused()
            (disk / "filler").unlink()
            prepared.check_recovered()
            assert sandbox.process is server
            assert server is not None
            assert server.poll() is None
            log = sandbox.log()
        assert "Traceback" not in log


def test_d2_a_full_disk_under_the_log_file_stops_nothing(tmp_path: Path) -> None:
    # The harness writes the log beside the data directory.
    with (
        tiny_disk(tmp_path / "logs", "1m") as disk,
        Sandbox(disk / "data", f"sqlite://{tmp_path / 'countersign.db'}") as sandbox,
        Caller(sandbox.service) as caller,
    ):
        key = caller.create_key()
        fill(disk / "filler")
        for number in range(30):
            assert caller.signed("PUT", f"/keys/{key}", {"name": f"name {number}"}).status_code == 200
        (disk / "filler").unlink()
        assert caller.send("GET", f"/keys/{key}").json()["name"] == "name 29"
        # The lines of a request are written after its answer.
        until("the log says what it lost", lambda: "log lines were lost" in sandbox.log())


def _is_refused(caller: Caller, key: str) -> bool:
    answer = caller.signed("PUT", f"/keys/{key}", {"name": "x" * 100})
    assert answer.status_code == 200 or refusal(answer) == (503, "UNAVAILABLE"), answer.text
    return answer.status_code != 200


def test_d2_a_read_only_postgresql_stops_mutations_only_and_only_while_it_is_so(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    url = postgres_server.new_database()
    try:
        with Sandbox(tmp_path / "data", url) as sandbox, Caller(sandbox.service) as caller:
            prepared = Prepared(caller)
            other = caller.create_key()
            server = sandbox.process
            _set_read_only(postgres_server, on=True)
            try:
                until("PostgreSQL is read-only", lambda: _is_refused(caller, other))
                prepared.check_refused()
                prepared.check_reads()
                prepared.check_refused()
            finally:
                _set_read_only(postgres_server, on=False)
            until("PostgreSQL takes writes", lambda: not _is_refused(caller, other))
            prepared.check_recovered()
            assert sandbox.process is server
            assert server is not None
            assert server.poll() is None
            log = sandbox.log()
        assert "Traceback" not in log
    finally:
        postgres_server.drop_database(url)


def _set_read_only(server: PostgresServer, *, on: bool) -> None:
    """For every session, those that are open included."""
    server.execute(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if on else 'off'}")
    server.execute("SELECT pg_reload_conf()")
