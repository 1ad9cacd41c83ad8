"""The log as the API shows it."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest

from countersign.audit import csv
from countersign.audit.entry import Payload, decode, pack_payload, unpack_payload
from countersign.audit.log import append
from countersign.audit.queries import get_entry, list_entries, listing
from countersign.audit.view import to_log
from countersign.storage import Database
from tests.audit.logs import ORG, START, Log, Person
from tests.support import contract
from tests.support.vectors import auth_vectors

FAR = START + 10**12


@pytest.fixture
def log() -> Log:
    log = Log()
    for _ in range(7):
        log.action()
    other = Person(log.world, b"other", "=cmd|' /C calc'!A0")
    log.action(by=other, enrolled=(other.enrolled(),))
    log.signature(log.action("POST", "/keys/key-00000-00000-0000000000000001/signatures", "{}"))
    return log


async def put(database: Database, log: Log) -> None:
    for data, payload in log.entries:
        sealed = None if payload is None else pack_payload(payload.encode(), "the.token")
        await database.write(partial(append, decode(data), sealed))


async def test_a_listing_is_ascending_and_bounded_in_time(database: Database, log: Log) -> None:
    await put(database, log)
    listed = await database.read(partial(list_entries, ORG, START, FAR, None, 100))
    times = [item.performed_at for item in listed]
    assert times == sorted(times)
    assert len(listed) == 10
    some = await database.read(partial(list_entries, ORG, times[2], times[4], None, 100))
    assert [item.entry.id for item in some] == [item.entry.id for item in listed[2:5]]
    assert await database.read(partial(list_entries, "or-other", START, FAR, None, 100)) == []


async def test_pages_join_without_gap_or_repetition(database: Database, log: Log) -> None:
    await put(database, log)
    whole = await database.read(partial(list_entries, ORG, START, FAR, None, 100))
    paged: list[Any] = []
    after = None
    while page := await database.read(partial(list_entries, ORG, START, FAR, None, 3, after)):
        paged += page
        after = page[-1]
    assert paged == whole


async def test_a_listing_of_one_user(database: Database, log: Log) -> None:
    await put(database, log)
    listed = await database.read(partial(list_entries, ORG, START, FAR, log.admin.user_id, 100))
    assert len(listed) == 8


async def test_a_listing_says_when_rows_are_missing(database: Database, log: Log) -> None:
    await put(database, log)
    whole = await listing(database.read, ORG, START, FAR, None)
    lines = whole.text.split("\r\n")
    assert lines[0] == auth_vectors()["audit_csv"]["header"]
    assert (len(lines), whole.truncated) == (12, False)
    cut = await listing(database.read, ORG, START, FAR, None, max_rows=4)
    lines = cut.text.split("\r\n")
    assert cut.truncated
    assert len(lines) == 7
    assert lines[5].startswith("# TRUNCATED")


async def test_an_entry_is_read_with_its_payload(database: Database, log: Log) -> None:
    await put(database, log)
    entry = decode(log.entries[1][0])
    stored = await database.read(partial(get_entry, ORG, entry.id))
    assert stored is not None
    assert stored.entry == entry
    assert stored.sealed_payload is not None
    answer = to_log(stored.entry, unpack_payload(stored.sealed_payload))
    assert answer["actionToken"] == "the.token"
    assert await database.read(partial(get_entry, "or-other", entry.id)) is None


def test_every_kind_of_entry_answers_in_the_contracts_shape(log: Log) -> None:
    for data, payload in log.entries:
        entry = decode(data)
        answer = to_log(entry, None if payload is None else Payload(payload.encode(), "the.token"))
        contract.check("GET", f"/auth/action/logs/{entry.id}", 200, json.loads(json.dumps(answer)))


def test_an_answer_holds_what_the_digest_commits_to(log: Log) -> None:
    action = decode(log.entries[1][0])
    answer = to_log(action, Payload(b'{"name":"cold"}', "the.token"))
    assert json.loads(answer["action"]) == {
        "userActionServerKind": "Api",
        "userActionHttpMethod": "PUT",
        "userActionHttpPath": "/keys/key-00000-00000-0000000000000001",
        "userActionPayload": '{"name":"cold"}',
    }
    assert answer["firstFactorCredential"]["publicKey"] == log.admin.pem
    assert answer["firstFactorCredential"]["assertion"]["authenticatorData"] is None


def test_an_entry_without_an_assertion_says_so(log: Log) -> None:
    answer = to_log(decode(log.entries[0][0]), None)
    assert answer["firstFactorCredential"]["assertion"] is None
    assert json.loads(answer["action"])["event"] == "Initialised"


def test_threat_52_cells_that_a_spreadsheet_would_execute_are_defused(log: Log) -> None:
    text = csv.to_csv([decode(log.entries[8][0])], truncated=False)
    assert ",'=cmd|' /C calc'!A0," in text


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("plain", "plain"),
        ("a,b", '"a,b"'),
        ('say "x"', '"say ""x"""'),
        ("two\nlines", '"two\nlines"'),
        ("=1+1", "'=1+1"),
        ("+49", "'+49"),
        ("-1", "'-1"),
        ("@x", "'@x"),
        ("\tx", "'\tx"),
        ('=a,"b"', '"\'=a,""b"""'),
    ],
)
def test_cells_are_quoted(log: Log, text: str, cell: str) -> None:
    entry = log.action(change=lambda members: members.update(username=text))
    assert csv.row(entry).startswith(f"{entry.date_performed},{entry.id},{entry.user_id},{cell},cr-")


def test_the_published_row(log: Log) -> None:
    vectors = auth_vectors()
    record = vectors["audit_record"]["record"]
    entry = log.action(
        "POST",
        "/wallets",
        '{"network":"EthereumSepolia"}',
        change=lambda members: members.update(
            id=record["id"],
            user_id=record["userId"],
            username=record["username"],
            date_performed=record["datePerformed"],
        ),
    )
    row = csv.row(entry).replace(log.admin.credential_uuid, record["firstFactorCredential"]["id"])
    assert row == vectors["audit_csv"]["row"]


@pytest.mark.parametrize(
    ("method", "path", "sentence"),
    [
        ("POST", "/wallets", "Create wallet."),
        ("POST", "/keys", "Create key."),
        ("PUT", "/keys/key-00000-00000-0000000000000001", "Update key."),
        ("DELETE", "/keys/key-00000-00000-0000000000000001", "Delete key."),
        ("POST", "/keys/key-00000-00000-0000000000000001/signatures", "Create signature."),
        ("POST", "/auth/service-accounts", "Create service account."),
        ("PUT", "/auth/service-accounts/us-00000-00000-0000000000000001/deactivate", "Deactivate service account."),
        ("POST", "/v2/policies", "Create policy."),
        ("PUT", "/auth/pats/to-00000-00000-0000000000000001/activate", "Activate personal access token."),
        ("POST", "/registry/addresses", "Create address."),
    ],
)
def test_summaries_read_as_sentences(method: str, path: str, sentence: str) -> None:
    assert csv.summary(method, path) == sentence
