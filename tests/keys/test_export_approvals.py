"""Exports that others approve, on both engines: who counts, for what, once, and what the log says of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from countersign.api import ApiError
from countersign.keys.export_approvals import Approved, Wished, fingerprint, take
from tests.faults import logs
from tests.support.caller import Caller
from tests.support.commands import Done, countersign, refusal
from tests.support.moving_keys import Receiver
from tests.support.server import Sandbox
from tests.support.tenants import Identity, Tenants, beside


@dataclass
class House:
    """Somebody who exports; three people of whom two approve (``ada``, ``bob``), and a third who does not."""

    sandbox: Sandbox
    tenants: Tenants
    people: list[Identity]
    service: Caller
    ada: Caller
    bob: Caller
    eve: Caller

    @property
    def ids(self) -> list[str]:
        return [each.user_id for each in self.people]

    def admin(self, *options: str) -> Done:
        named = ("--org", self.sandbox.values["orgId"])
        return countersign("admin", "keys", "--data", self.sandbox.directory, *named, *options)

    def group(self, quorum: int = 2) -> None:
        ada, bob, _ = self.ids
        named = ("--export-approver", ada, "--export-approver", bob, "--export-quorum", str(quorum))
        done = self.admin("--enable-export", *named)
        assert done.status == 0, done.errors


@pytest.fixture(scope="module")
def opened(shared_sandbox: Sandbox) -> Iterator[House]:
    tenants = beside(shared_sandbox.directory, shared_sandbox.database, shared_sandbox.values["baseUrl"])
    people = [tenants.session(shared_sandbox.values["orgId"], everything=True) for _ in range(3)]
    tenants.introduce(*people)
    with ExitStack() as stack:
        connections = [shared_sandbox.service, *(each.connection for each in people)]
        callers = [stack.enter_context(Caller(each)) for each in connections]
        made = House(shared_sandbox, tenants, people, *callers)
        made.group()
        yield made


@pytest.fixture
def house(opened: House) -> Iterator[House]:
    """The house with its group of two as it was, whatever a test did to it."""
    yield opened
    ada, bob, _ = opened.ids
    opened.tenants.execute(
        "UPDATE organisations SET export_approvers = ?, export_quorum = 2 WHERE org_id = ?",
        f"{ada} {bob}",
        opened.sandbox.values["orgId"],
    )


def approve(who: Caller, key: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = who.signed("POST", f"/keys/{key}/export/approvals", body)
    assert answer.status_code == 200, answer.text
    given: dict[str, Any] = answer.json()
    return given


def export(who: Caller, key: str, body: dict[str, Any]) -> httpx.Response:
    return who.signed("POST", f"/keys/{key}/export", body)


def lacks(answer: httpx.Response, given: int) -> bool:
    """Whether an export was refused for want of approvals, of which so many counted."""
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (403, "EXPORT_NEEDS_APPROVAL"), answer.text
    assert "countersign keys approve-export" in error["details"]["hint"]
    return (error["details"]["needed"], error["details"]["given"]) == (2, given)


def waiting(house: House, key: str) -> list[str]:
    """Who approved an export of the key that is still to come."""
    listed = house.service.send("GET", f"/keys/{key}/export/approvals").json()
    return [item["userId"] for item in listed["items"]]


def test_k3_threat_63_an_export_takes_a_quorum_for_exactly_it_and_the_log_names_them(
    house: House, tmp_path: Path
) -> None:
    key, receiver = house.service.create_key("ECDSA", "secp256k1"), Receiver()
    body = receiver.body()
    assert lacks(export(house.service, key, body), 0)
    first = approve(house.ada, key, body)
    assert first["encryptionKey"] == fingerprint(receiver.encryption_key)
    assert lacks(export(house.service, key, body), 1)
    second = approve(house.bob, key, dict(reversed(body.items())))
    assert second["requestHash"] == first["requestHash"]
    # Another receiver, another key: refused, and nothing is spent.
    assert lacks(export(house.service, key, Receiver().body()), 0)
    assert lacks(export(house.service, house.service.create_key("ECDSA", "secp256k1"), body), 0)
    assert waiting(house, key) == [house.ids[0], house.ids[1]]
    exported = export(house.service, key, body)
    assert exported.status_code == 200, exported.text
    assert receiver.open(exported.json()) > 0
    assert waiting(house, key) == []
    assert lacks(export(house.service, key, body), 0)
    log = logs.export(house.sandbox, tmp_path / "audit.jsonl")
    (told,) = [one for one in log.entries.values() if one.get("event") == "KeyExported" and key in one["entityIds"]]
    assert told["details"]["approval"].split() == [first["actionId"], second["actionId"]]
    assert log.entries[second["actionId"]]["userId"] == house.ids[1]
    assert house.ada.send("GET", f"/auth/action/logs/{first['actionId']}").status_code == 403


def test_two_exports_at_once_use_one_set_of_approvals_once(house: House) -> None:
    body = Receiver().body()
    keys = [house.service.create_key() for _ in range(3)]
    for key in keys:
        for who in (house.ada, house.bob):
            approve(who, key, body)
        callers = (house.service, house.eve)
        actions = [who.action_token("POST", f"/keys/{key}/export", body) for who in callers]
        with ThreadPoolExecutor(2) as pool:
            asked = [
                pool.submit(who.send, "POST", f"/keys/{key}/export", body, action=action)
                for who, action in zip(callers, actions, strict=True)
            ]
            answers = [each.result() for each in asked]
        assert sorted(answer.status_code for answer in answers) == [200, 403]
        assert lacks(max(answers, key=lambda answer: answer.status_code), 0)
        assert waiting(house, key) == []


def test_nobody_approves_an_own_export_nor_counts_twice(house: House) -> None:
    key, body = house.service.create_key(), Receiver().body()
    for who in (house.ada, house.ada, house.bob):
        approve(who, key, body)
    assert lacks(export(house.ada, key, body), 1)
    house.tenants.execute("DELETE FROM export_approvals WHERE key_id = ? AND user_id = ?", key, house.ids[1])
    assert lacks(export(house.service, key, body), 1)
    # What one approves later takes the place of what one approved before.
    approve(house.bob, key, body)
    approve(house.bob, key, Receiver().body())
    assert lacks(export(house.service, key, body), 1)


def test_only_those_named_approve(house: House) -> None:
    key, body = house.service.create_key(), Receiver().body()
    for who in (house.eve, house.service):
        answer = who.signed("POST", f"/keys/{key}/export/approvals", body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "NOT_AN_APPROVER")
    archived = house.service.create_key()
    house.service.signed("DELETE", f"/keys/{archived}")
    gone = house.ada.signed("POST", f"/keys/{archived}/export/approvals", body)
    assert gone.json()["error"]["code"] == "KEY_ARCHIVED"
    stranger = house.tenants.organisation()
    with Caller(stranger.connection) as caller:
        assert caller.signed("POST", f"/keys/{key}/export/approvals", body).status_code == 404
        assert caller.send("GET", f"/keys/{key}/export/approvals").status_code == 404
    unreadable = house.ada.signed("POST", f"/keys/{key}/export/approvals", {**body, "encryptionKey": "*"})
    assert unreadable.json()["error"]["code"] == "VALIDATION"
    switch = "UPDATE organisations SET key_export = ? WHERE org_id = ?"
    house.tenants.execute(switch, 0, house.sandbox.values["orgId"])
    try:
        off = house.ada.signed("POST", f"/keys/{key}/export/approvals", body)
        assert off.json()["error"]["code"] == "KEY_EXPORT_DISABLED"
    finally:
        house.tenants.execute(switch, 1, house.sandbox.values["orgId"])


def test_an_approval_ends_with_its_time_and_rests_with_whoever_gave_it(house: House) -> None:
    key, body = house.service.create_key(), Receiver().body()
    ada, bob, eve = house.ids
    for who in (house.ada, house.bob):
        approve(who, key, body)
    rests = (
        ("UPDATE export_approvals SET expires_at = expires_at + ? WHERE key_id = ? AND user_id = ?", key, bob),
        ("UPDATE credentials SET state = ? WHERE user_id = ?", bob),
        ("UPDATE users SET state = ? WHERE user_id = ?", bob),
    )
    day = 24 * 3600 * 1000
    for (sql, *where), (off, on) in zip(rests, ((-day, day), *[("Inactive", "Active")] * 2), strict=True):
        house.tenants.execute(sql, off, *where)
        assert lacks(export(house.service, key, body), 1)
        assert waiting(house, key) == [ada]
        house.tenants.execute(sql, on, *where)
    # Out of the group and in again: what was approved before does not come back.
    assert house.admin("--export-approver", ada, "--export-approver", eve).status == 0
    assert lacks(export(house.service, key, body), 1)
    house.group()
    assert lacks(export(house.service, key, body), 1)
    approve(house.bob, key, body)
    assert export(house.service, key, body).status_code == 200


def test_the_operator_names_who_approves(house: House, tmp_path: Path) -> None:
    ada, bob, eve = house.ids
    account = house.tenants.service_account(house.sandbox.values["orgId"])
    named = ("--export-approver", ada, "--export-approver", bob)
    for options, reason in (
        ((*named, "--export-quorum", "3"), "a quorum of 3 cannot come together from 2"),
        ((*named, *named), "named twice"),
        ((*named, "--export-approver", account.user_id), "no active employee"),
        ((*named, "--export-approver", "us-1"), "no active employee"),
    ):
        assert reason in refusal(house.admin(*options))
    warned = house.admin("--no-export-approvers")
    assert "export approvers    none" in warned.output
    assert "quorum of 1" in refusal(house.admin("--export-quorum", "1"))
    assert "Warning: no export waits for an approval" in warned.errors
    key = house.service.create_key()
    assert export(house.service, key, Receiver().body()).status_code == 200
    told = house.admin("--export-approver", eve, "--json")
    settings = json.loads(told.output)
    assert (settings["exportApprovers"], settings["exportQuorum"], told.errors) == ([eve], 1, "")
    entries = logs.export(house.sandbox, tmp_path / "audit.jsonl").entries.values()
    changes = [entry["details"] for entry in entries if entry.get("event") == "KeySettingsChanged"]
    assert changes[-2:] == [
        {"export approvers": "none", "export quorum": "0"},
        {"export approvers": eve, "export quorum": "1"},
    ]


WISHED = Wished("or-1", "key-1", "us-asks", "ab")


def row(user_id: str, body_sha256: str = "ab") -> tuple[object, ...]:
    return user_id, body_sha256, "SHA256:x", f"action-of-{user_id}", b"evidence", 0, 1


def taken(quorum: int, rows: list[tuple[object, ...]], *approved: str, still_there: bool = True) -> str:
    """What becomes of an export that found these approvals, where the group is ``us-1`` and ``us-2`` by now."""
    found = tuple(Approved(user_id, f"action-of-{user_id}", b"evidence") for user_id in approved)
    answers: dict[str, list[tuple[object, ...]]] = {
        "key_settings": [(1, 1, 0, "us-1 us-2", quorum)],
        "hold_export_approvals": rows,
        "take_export_approval": [("taken",)] if still_there else [],
    }
    transaction = take(WISHED, found, 0)
    try:
        statement, _ = next(transaction)
        while True:
            statement, _ = transaction.send(answers[statement.name])
    except StopIteration:
        return "taken"
    except ApiError as error:
        return error.code


def test_what_was_found_is_judged_again_where_it_is_used_up() -> None:
    both = [row("us-1"), row("us-2")]
    assert taken(2, both, "us-1", "us-2") == "taken"
    assert taken(1, both, "us-1") == "taken"
    # The group wants more of them by now, or is another one; a row is of another body, of whoever asks, or gone.
    assert taken(2, both, "us-1") == "EXPORT_NEEDS_APPROVAL"
    for other in (row("us-3"), row("us-asks"), row("us-2", "cd")):
        name = str(other[0])
        assert taken(2, [row("us-1"), other], "us-1", name) == "EXPORT_NEEDS_APPROVAL", other
    assert taken(2, [row("us-1")], "us-1", "us-2") == "EXPORT_NEEDS_APPROVAL"
    assert taken(2, both, "us-1", "us-2", still_there=False) == "EXPORT_NEEDS_APPROVAL"
