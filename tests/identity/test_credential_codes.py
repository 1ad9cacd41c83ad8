"""Adding a credential from another device, by a code: its life, its limits, and what it leaves in the log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from countersign.access import codes
from countersign.encoding.dates import to_iso
from countersign.world import World
from tests.support.answers import refusal
from tests.support.caller import Caller
from tests.support.enrolment import NewKey, NewPasskey, action_with, enrolled, new_body
from tests.support.entering import all_letters, letters
from tests.support.inprocess import InProcess
from tests.support.tenants import Identity, Tenants
from tests.support.vectors import auth_vectors

CODES = auth_vectors()["one_time_codes"]
KEY = {"scheme": "EdDSA", "curve": "ed25519"}


@pytest.fixture
def in_process(runner: asyncio.Runner, tmp_path: Path, database_url: str) -> Iterator[InProcess]:
    """A server with room for the tries of a test."""
    generous = {"code_tries_per_minute": 1000, "public_requests_per_minute": 1000, "address_requests_per_minute": 1000}
    with InProcess(runner, tmp_path / "data", database_url, background=False, **generous) as server:
        yield server


@pytest.fixture
def person(in_process: InProcess, tenants: Tenants) -> Identity:
    return tenants.session(in_process.values["orgId"], everything=True)


@pytest.fixture
def caller(in_process: InProcess, person: Identity) -> Iterator[Caller]:
    with in_process.caller(person.connection) as caller:
        yield caller


def new_code(caller: Caller, server: InProcess, seconds: int = 50) -> str:
    expiration = to_iso(server.clock() + seconds * 1000)
    made = caller.signed("POST", "/auth/credentials/code", {"expiration": expiration})
    assert made.status_code == 200, made.text
    assert made.json()["expiration"] == expiration
    code: str = made.json()["code"]
    return code


def public(caller: Caller, path: str, body: dict[str, Any]) -> httpx.Response:
    """A call by somebody who is nobody: without any token."""
    return caller.http.post(path, json=body)


def begin(caller: Caller, code: str, kind: str = "Key") -> httpx.Response:
    return public(caller, "/auth/credentials/code/init", {"code": code, "credentialKind": kind})


def finish(caller: Caller, challenge: dict[str, Any], new: NewKey | NewPasskey, **members: Any) -> httpx.Response:
    body = new_body(challenge, new.info(challenge["challenge"]), **members)
    return public(caller, "/auth/credentials/code/verify", body)


def test_codes_are_made_and_compared_as_published() -> None:
    assert CODES["alphabet"] == codes.ALPHABET
    for shape, groups in ((CODES["credential_code"], (3, 3)), (CODES["mailed_codes"], (4, 4))):
        made = codes.new_code(World(), *groups)
        assert [len(group) for group in made.split("-")] == [len(group) for group in shape["shape"].split("-")]
        assert set(codes.normalise(made)) <= set(codes.ALPHABET)
    for case in CODES["cases"]:
        assert (codes.normalise(case["issued"]) == codes.normalise(case["typed"])) is case["match"]


def test_a_code_adds_a_key_and_a_passkey_which_sign(caller: Caller, person: Identity, in_process: InProcess) -> None:
    for new, kind in ((NewKey(), "Key"), (NewPasskey(person.user_id), "Fido2")):
        code = new_code(caller, in_process)
        challenge = begin(caller, code.lower().replace("-", " "), kind).json()
        assert challenge["kind"] == kind
        assert challenge["user"]["id"] == person.user_id
        made = finish(caller, challenge, new)
        assert made.status_code == 200, made.text
        token = action_with(caller, "PUT", "/auth/credentials/activate", {"credentialUuid": "x"}, new)
        assert token.status_code == 200


def test_a_password_protected_key_can_be_added_by_code_and_a_recovery_key_not(
    caller: Caller, in_process: InProcess
) -> None:
    challenge = begin(caller, new_code(caller, in_process), "PasswordProtectedKey").json()
    assert finish(caller, challenge, NewKey(), encryptedPrivateKey="opaque").status_code == 200
    code = new_code(caller, in_process)
    assert refusal(begin(caller, code, "RecoveryKey")) == (400, "VALIDATION")
    assert refusal(begin(caller, code, "Password")) == (400, "CREDENTIAL_KIND_DISABLED")
    # Neither has used the code up.
    assert begin(caller, code).status_code == 200


def test_a_code_gives_one_challenge_and_a_new_one_ends_the_one_before(caller: Caller, in_process: InProcess) -> None:
    first = new_code(caller, in_process)
    second = new_code(caller, in_process)
    assert refusal(begin(caller, first)) == (403, "INVALID_CODE")
    assert begin(caller, second).status_code == 200
    assert refusal(begin(caller, second)) == (403, "INVALID_CODE")


def test_a_code_ends_with_its_time_and_with_the_state_of_its_user(
    caller: Caller, person: Identity, tenants: Tenants, in_process: InProcess
) -> None:
    code = new_code(caller, in_process, seconds=30)
    in_process.clock.move(seconds=31)
    assert refusal(begin(caller, code)) == (403, "INVALID_CODE")
    in_process.clock.move(seconds=-31)
    for table, back in (
        ("users SET state = 'Inactive'", "users SET state = 'Active'"),
        ("organisations SET is_active = 0", "organisations SET is_active = 1"),
    ):
        code = new_code(caller, in_process)
        tenants.execute(f"UPDATE {table} WHERE org_id = ?", person.org_id)
        assert refusal(begin(caller, code)) == (403, "INVALID_CODE")
        tenants.execute(f"UPDATE {back} WHERE org_id = ?", person.org_id)
        in_process.clock.move(seconds=1)
    code = new_code(caller, in_process)
    tenants.execute("UPDATE users SET epoch = epoch + 1 WHERE user_id = ?", person.user_id)
    assert refusal(begin(caller, code)) == (403, "INVALID_CODE")


def test_a_challenge_of_a_code_ends_with_the_state_of_its_user_and_with_its_time(
    caller: Caller, person: Identity, tenants: Tenants, in_process: InProcess
) -> None:
    challenge = begin(caller, new_code(caller, in_process)).json()
    in_process.clock.move(seconds=901)
    assert refusal(finish(caller, challenge, NewKey())) == (400, "CHALLENGE_INVALID")
    in_process.clock.move(seconds=-901)
    tenants.execute("UPDATE users SET state = 'Inactive' WHERE user_id = ?", person.user_id)
    assert refusal(finish(caller, challenge, NewKey())) == (400, "CHALLENGE_INVALID")
    tenants.execute("UPDATE users SET state = 'Active', epoch = epoch + 1 WHERE user_id = ?", person.user_id)
    assert refusal(finish(caller, challenge, NewKey())) == (400, "CHALLENGE_INVALID")


def test_a_challenge_of_a_code_ends_with_the_credential_that_made_the_code(
    caller: Caller, in_process: InProcess
) -> None:
    # A stolen credential makes a code, and its owner ends it before the thief has enrolled another.
    stolen, other = NewKey(), NewKey()
    uuid = enrolled(caller, stolen)["credentialUuid"]
    enrolled(caller, other)
    body = {"expiration": to_iso(in_process.clock() + 50_000)}
    token = action_with(caller, "POST", "/auth/credentials/code", body, other, stolen).json()["userAction"]
    made = caller.send("POST", "/auth/credentials/code", body, action=token)
    challenge = begin(caller, made.json()["code"]).json()
    own = begin(caller, new_code(caller, in_process)).json()
    caller.signed("PUT", "/auth/credentials/deactivate", {"credentialUuid": uuid})
    assert refusal(finish(caller, challenge, NewKey())) == (400, "CHALLENGE_INVALID")
    assert finish(caller, own, NewKey()).status_code == 200


@pytest.mark.parametrize(
    "expiration",
    ["2020-01-01T00:00:00Z", "soon", 1, 10**12, "offset:0", "offset:61", "number:61"],
)
def test_a_code_lives_a_minute_at_most(caller: Caller, in_process: InProcess, expiration: Any) -> None:
    now = in_process.clock()
    if isinstance(expiration, str) and ":" in expiration[:7]:
        unit, _, seconds = expiration.partition(":")
        ends = now + int(seconds) * 1000
        expiration = to_iso(ends) if unit == "offset" else ends // 1000 + 1
    answer = caller.signed("POST", "/auth/credentials/code", {"expiration": expiration})
    assert refusal(answer) == (400, "VALIDATION")


def test_a_codes_end_may_be_a_number_of_seconds_or_milliseconds(caller: Caller, in_process: InProcess) -> None:
    ends = in_process.clock() // 1000 + 40
    for number in (ends, ends * 1000):
        made = caller.signed("POST", "/auth/credentials/code", {"expiration": number})
        assert made.json()["expiration"] == to_iso(ends * 1000)


def test_what_is_enrolled_already_is_not_told_to_nobody(caller: Caller, in_process: InProcess) -> None:
    known = NewKey()
    enrolled(caller, known)
    challenge = begin(caller, new_code(caller, in_process)).json()
    assert refusal(finish(caller, challenge, known)) == (400, "ATTESTATION_INVALID")
    bad = NewKey()
    body = new_body(challenge, {**bad.info(challenge["challenge"]), "attestationData": known.credential_id})
    answer = public(caller, "/auth/credentials/code/verify", body)
    same = finish(caller, challenge, known)
    assert [answer.json()["error"][name] for name in ("code", "message", "details")] == [
        same.json()["error"][name] for name in ("code", "message", "details")
    ]
    # A refusal does not use the challenge up.
    assert finish(caller, challenge, bad).status_code == 200


def test_threat_35_two_completions_of_one_code_make_one_credential(
    caller: Caller, in_process: InProcess, tenants: Tenants, person: Identity
) -> None:
    challenge = begin(caller, new_code(caller, in_process)).json()
    assert [finish(caller, challenge, NewKey()).status_code for _ in range(3)] == [200, 400, 400]
    rows = tenants.execute("SELECT COUNT(*) FROM credentials WHERE user_id = ?", person.user_id)
    assert rows[0][0] == 2


def test_threat_34_a_stored_code_is_a_mac_and_says_nothing(
    caller: Caller, in_process: InProcess, tenants: Tenants
) -> None:
    code = new_code(caller, in_process)
    (row,) = tenants.execute("SELECT code_hash, action_id FROM credential_codes")
    assert len(row[0]) == 64
    assert codes.normalise(code).lower() not in row[0]
    assert row[1].startswith("uj-")


def test_an_enrolment_by_code_is_in_the_log_with_the_action_that_made_the_code(
    caller: Caller, in_process: InProcess, tenants: Tenants, person: Identity
) -> None:
    code = new_code(caller, in_process)
    (action_id,) = tenants.execute("SELECT action_id FROM credential_codes")[0]
    made = finish(caller, begin(caller, code).json(), NewKey()).json()
    entries = [json.loads(row[0]) for row in tenants.execute("SELECT entry FROM audit_entries")]
    (entry,) = [item for item in entries if item.get("event") == "CredentialEnrolledWithCode"]
    assert entry["userId"] == person.user_id
    assert entry["details"]["actionId"] == action_id
    assert [item["credentialUuid"] for item in entry["enrolled"]] == [made["credentialUuid"]]
    assert [item["fingerprint"] for item in entry["enrolled"]] == [made["publicKey"]]
    assert code not in str(entries)


def test_the_user_is_told_by_mail_of_a_credential_that_was_added_with_a_code(
    caller: Caller, in_process: InProcess, person: Identity
) -> None:
    made = finish(caller, begin(caller, new_code(caller, in_process)).json(), NewKey()).json()
    (username,) = {letter.recipient for letter in all_letters(in_process)}
    (letter,) = letters(in_process, username)
    assert (letter.kind, letter.user_id, letter.code) == ("CredentialAdded", person.user_id, None)
    assert made["publicKey"] in letter.body


def test_programs_make_no_codes(in_process: InProcess, tenants: Tenants, person: Identity) -> None:
    body = {"expiration": to_iso(in_process.clock() + 30_000)}
    for connection in (in_process.service, tenants.personal_access_token(person).connection):
        with in_process.caller(connection) as program:
            assert refusal(program.signed("POST", "/auth/credentials/code", body)) == (403, "CALLER_KIND_REFUSED")


def test_threat_34_codes_are_tried_ten_times_a_minute_and_a_thousand_times_an_hour(
    runner: asyncio.Runner, tmp_path: Path, database_url: str
) -> None:
    settings = {
        "public_requests_per_minute": 5000,
        "address_requests_per_minute": 5000,
        "code_tries_per_minute": 10,
        "code_tries_per_hour": 25,
    }
    with (
        InProcess(runner, tmp_path / "limited", database_url, background=False, **settings) as server,
        server.caller(server.admin) as caller,
    ):
        code = new_code(caller, server)
        tried = [begin(caller, "222-222-222") for _ in range(11)]
        assert [answer.status_code for answer in tried] == [403] * 10 + [429]
        assert int(tried[-1].headers["retry-after"]) >= 1
        # Not even the right code gets through.
        assert begin(caller, code).status_code == 429
        for _ in range(2):
            server.clock.move(seconds=60)
            tried = [begin(caller, "222-222-222") for _ in range(11)]
        assert [answer.status_code for answer in tried] == [403] * 5 + [429] * 6
        # Longer than any wait of the address.
        assert int(tried[5].headers["retry-after"]) > 6


def test_many_devices_at_once_take_a_code_once(caller: Caller, in_process: InProcess, tenants: Tenants) -> None:
    code = new_code(caller, in_process)
    answers = [begin(caller, code).status_code for _ in range(4)]
    assert sorted(answers) == [200, 403, 403, 403]
