"""A12: every way in goes through the same checks. A10: who guesses learns nothing from the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from countersign.encoding.dates import to_iso
from countersign.server.table import operations
from tests.support.answers import refusal
from tests.support.caller import Caller
from tests.support.inprocess import InProcess
from tests.support.tenants import Identity, Tenants, beside

UNAUTHENTICATED = (401, "UNAUTHENTICATED")
#: One way in for each kind of bearer there is.
WAYS = ("session", "service account", "personal access token")
ROUTES = [operation for operation in operations() if not operation.public]


def identity(tenants: Tenants, org_id: str, way: str) -> Identity:
    if way == "service account":
        return tenants.service_account(org_id, everything=True)
    person = tenants.session(org_id, everything=True)
    return person if way == "session" else tenants.personal_access_token(person)


def ask_everywhere(caller: Caller) -> set[tuple[int, str]]:
    """What each operation of the table answers."""
    answers = set()
    for operation in ROUTES:
        path = operation.path.replace("{", "").replace("}", "")
        answers.add(refusal(caller.send(operation.method, path, {} if operation.method != "GET" else None)))
    return answers


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "shut_out",
    [
        "UPDATE organisations SET is_active = 0, epoch = epoch + 1 WHERE org_id = ?",
        "UPDATE users SET state = 'Inactive', epoch = epoch + 1 WHERE org_id = ?",
        "UPDATE tokens SET state = 'Inactive', epoch = epoch + 1 WHERE org_id = ?",
        "UPDATE tokens SET expires_at = 1 WHERE org_id = ?",
    ],
    ids=["organisation", "user", "token", "expired"],
)
def test_a12_each_operation_shuts_out_each_kind_of_bearer(
    in_process: InProcess, tenants: Tenants, way: str, shut_out: str
) -> None:
    organisation = tenants.organisation()
    with in_process.caller(identity(tenants, organisation.org_id, way).connection) as caller:
        assert caller.send("GET", "/auth/credentials").status_code == 200
        tenants.execute(shut_out, organisation.org_id)
        in_process.clock.move(seconds=1)
        assert ask_everywhere(caller) == {UNAUTHENTICATED}


@pytest.fixture
def strict_rate(runner: asyncio.Runner, tmp_path: Path, database_url: str) -> Iterator[InProcess]:
    rates = {"organisation_requests_per_minute": 5, "address_requests_per_minute": 1_000_000}
    with InProcess(runner, tmp_path / "data", database_url, background=False, **rates) as server:
        yield server


@pytest.mark.parametrize("way", WAYS)
def test_a12_each_operation_counts_each_kind_of_bearer_to_its_organisation(
    strict_rate: InProcess, database_url: str, way: str
) -> None:
    tenants = beside(strict_rate.files.directory, database_url, strict_rate.values["baseUrl"])
    organisation = tenants.organisation()
    with strict_rate.caller(identity(tenants, organisation.org_id, way).connection) as caller:
        # The first is of a stranger yet; then five of the organisation are admitted in this minute.
        for _ in range(6):
            assert caller.send("GET", "/auth/credentials").status_code == 200
        assert ask_everywhere(caller) == {(429, "RATE_LIMITED")}


def new_code(caller: Caller, server: InProcess) -> str:
    made = caller.signed("POST", "/auth/credentials/code", {"expiration": to_iso(server.clock() + 50_000)})
    assert made.status_code == 200, made.text
    text: str = made.json()["code"]
    return text


def without_id(answer: httpx.Response) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    del body["error"]["id"]
    return {"status": answer.status_code, "headers": sorted(answer.headers), **body}


def test_a10_a_code_that_cannot_be_used_is_answered_alike_whatever_is_wrong_with_it(
    in_process: InProcess, tenants: Tenants
) -> None:
    org_id = in_process.values["orgId"]

    def begin(text: str) -> httpx.Response:
        return caller.http.post("/auth/credentials/code/init", json={"code": text, "credentialKind": "Key"})

    answers = {}
    person = tenants.session(org_id, everything=True)
    with in_process.caller(person.connection) as caller:
        used = new_code(caller, in_process)
        assert begin(used).status_code == 200
        answers["used"] = begin(used)
        replaced, _ = new_code(caller, in_process), new_code(caller, in_process)
        answers["replaced"] = begin(replaced)
        answers["never made"] = begin("222-222-222")
        answers["no code"] = begin("x")
        expired = new_code(caller, in_process)
        in_process.clock.move(seconds=120)
        answers["expired"] = begin(expired)
        of_leaver = new_code(caller, in_process)
        tenants.execute("UPDATE users SET state = 'Inactive', epoch = epoch + 1 WHERE user_id = ?", person.user_id)
        answers["of somebody deactivated"] = begin(of_leaver)
    told = {name: without_id(answer) for name, answer in answers.items()}
    assert {name: body["error"]["code"] for name, body in told.items()} == dict.fromkeys(told, "INVALID_CODE")
    assert all(body == told["never made"] for body in told.values())


def test_a10_a_stranger_learns_nothing_about_tokens_from_refusals(in_process: InProcess, tenants: Tenants) -> None:
    account = tenants.service_account(in_process.values["orgId"], everything=True)
    with in_process.caller(account.connection) as caller:
        good = caller.token
        tenants.execute("UPDATE tokens SET state = 'Archived', epoch = epoch + 1 WHERE token_id = ?", account.token_id)
        answers = []
        for token in (good, good[:-4] + "AAAA", "x.y.z", "x"):
            caller.token = token
            answers.append(without_id(caller.send("GET", "/keys")))
    assert all(answer == answers[0] for answer in answers)
    assert answers[0]["error"]["code"] == "UNAUTHENTICATED"
