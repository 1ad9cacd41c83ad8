"""What strangers and those who were shut out cost a server and the organisations on it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.inprocess import InProcess
from tests.support.rawhttp import Raw
from tests.support.server import Sandbox
from tests.support.tenants import beside

ORGANISATION = 40


def test_a_body_of_a_stranger_is_not_read(shared_sandbox: Sandbox) -> None:
    """Refused on the head: neither held in memory nor parsed, which for megabytes takes most of a second."""
    for token in ([], [("Authorization", "Bearer x")]):
        with Raw(shared_sandbox.values["baseUrl"]) as raw:
            head = raw.message("POST", "/auth/action/init", [*token, ("Content-Type", "application/json")], None)
            raw.send(head.replace(b"\r\n\r\n", b"\r\nContent-Length: 4000000\r\n\r\n"))
            answer = raw.answer()
            assert (answer.status, answer.code) == (401, "UNAUTHENTICATED")
            assert raw.closed()


def test_a_revoked_token_uses_up_nothing_of_its_organisation(tmp_path: Path, database_url: str) -> None:
    """Whoever keeps the token of a former service account must not lock everybody else out with it."""
    with asyncio.Runner() as runner:
        settings = {"organisation_requests_per_minute": ORGANISATION}
        with (
            InProcess(runner, tmp_path / "data", database_url, background=False, **settings) as server,
            server.caller(server.admin) as admin,
            server.caller(server.service) as former,
        ):
            assert former.send("GET", "/keys").status_code == 200
            accounts = admin.send("GET", "/auth/service-accounts").json()["items"]
            account = accounts[0]["userInfo"]["userId"]
            gone = admin.signed("PUT", f"/auth/service-accounts/{account}/deactivate", {})
            assert gone.status_code == 200, gone.text
            server.clock.move(seconds=1)
            answers = {former.send("GET", "/keys").status_code for _ in range(3 * ORGANISATION)}
            assert answers == {401}
            assert admin.send("GET", "/keys").status_code == 200


def test_an_end_user_uses_up_nothing_of_who_works_at_the_organisation(tmp_path: Path, database_url: str) -> None:
    """Where people register themselves, anybody is one: with a loop they would keep everybody else from working."""
    with asyncio.Runner() as runner:
        settings = {"organisation_requests_per_minute": ORGANISATION}
        with InProcess(runner, tmp_path / "data", database_url, background=False, **settings) as server:
            tenants = beside(server.files.directory, database_url, server.values["baseUrl"])
            with (
                server.caller(server.admin) as admin,
                server.caller(tenants.end_user(server.values["orgId"]).connection) as anybody,
            ):
                answers = [anybody.send("GET", "/auth/credentials").status_code for _ in range(2 * ORGANISATION)]
                assert set(answers) == {200, 429}
                assert admin.send("GET", "/keys").status_code == 200
