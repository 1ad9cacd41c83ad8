"""Registration by code and by a service account: who gets in, once, and what a lost answer costs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from countersign.access import codes
from countersign.identity import registration
from countersign.identity.registration import Person
from countersign.storage import Transaction
from tests.support.answers import refusal
from tests.support.caller import Caller
from tests.support.enrolment import NewKey, NewPasskey
from tests.support.entering import begin, code_for, factor, finish, invited, letters, public
from tests.support.inprocess import InProcess
from tests.support.interleaving import before_it_commits
from tests.support.tenants import Tenants

ADA = "ada@example.com"


@pytest.fixture
def in_process(runner: asyncio.Runner, tmp_path: Path, database_url: str) -> Iterator[InProcess]:
    with InProcess(runner, tmp_path / "data", database_url, background=False) as server:
        yield server


def entries(tenants: Tenants, event: str) -> list[dict[str, Any]]:
    found = [
        json.loads(row[0]) for row in tenants.execute("SELECT entry FROM audit_entries ORDER BY performed_at, entry_id")
    ]
    return [entry for entry in found if entry.get("event") == event]


def user(admin: Caller, user_id: str) -> dict[str, Any]:
    value: dict[str, Any] = admin.send("GET", f"/auth/users/{user_id}").json()
    return value


def test_an_invited_employee_registers_with_the_mailed_code(
    in_process: InProcess, admin: Caller, tenants: Tenants
) -> None:
    made = invited(admin, "Ada@Example.com")
    (letter,) = letters(in_process, "Ada@Example.com")
    assert letter.code is not None
    assert letter.code in letter.body
    assert admin.connection["orgId"] in letter.body
    challenge = begin(admin, ADA, letter.code.lower().replace("-", " ")).json()
    assert challenge["user"] == {"id": made["userId"], "name": "Ada@Example.com", "displayName": "Ada@Example.com"}
    assert challenge["rp"]["id"] == "localhost"
    key, passkey, recovery = NewKey(), NewPasskey(made["userId"]), NewKey()
    body = {
        "firstFactorCredential": factor(challenge, passkey, "Fido2", credentialName="laptop"),
        "secondFactorCredential": factor(challenge, key),
        "recoveryCredential": factor(challenge, recovery, "RecoveryKey", encryptedPrivateKey="opaque"),
    }
    done = public(admin, "POST", "/auth/registration", body, challenge["temporaryAuthenticationToken"])
    assert done.status_code == 200, done.text
    answer = done.json()
    assert answer["user"] == {
        "id": made["userId"],
        "username": "Ada@Example.com",
        "orgId": admin.connection["orgId"],
    }
    assert (answer["credential"]["kind"], answer["credential"]["name"]) == ("Fido2", "laptop")
    shown = user(admin, made["userId"])
    assert shown["isRegistered"]
    assert shown["credentialUuid"] == answer["credential"]["uuid"]
    rows = tenants.execute("SELECT kind, name FROM credentials WHERE user_id = ? ORDER BY kind", made["userId"])
    assert [tuple(row) for row in rows] == [
        ("Fido2", "laptop"),
        ("Key", "Default Credential"),
        ("RecoveryKey", "Default Credential"),
    ]
    (entry,) = entries(tenants, "Registered")
    assert len(entry["enrolled"]) == 3
    assert entry["userId"] == made["userId"]
    # Nobody countersigned these keys: the signer hears of each, and an administrator vouches for them.
    assert len(tenants.execute("SELECT 1 FROM roster_orders WHERE op = 'enrol'")) == 3
    assert [letter.kind for letter in letters(in_process, "Ada@Example.com")] == ["Invitation", "Registered"]


def test_a_password_protected_key_is_a_first_factor_too(in_process: InProcess, admin: Caller) -> None:
    invited(admin, ADA)
    challenge = begin(admin, ADA, code_for(in_process, ADA)).json()
    first = factor(challenge, NewKey(), "PasswordProtectedKey", encryptedPrivateKey="opaque")
    token = challenge["temporaryAuthenticationToken"]
    done = public(admin, "POST", "/auth/registration", {"firstFactorCredential": first}, token)
    assert done.json()["credential"]["kind"] == "PasswordProtectedKey"


def test_a9_threat_34_a_code_registers_once_however_it_is_typed(in_process: InProcess, admin: Caller) -> None:
    invited(admin, ADA)
    code = code_for(in_process, ADA)
    assert refusal(begin(admin, ADA, code[:-1])) == (403, "INVALID_CODE")
    # Digits of other scripts are other characters.
    wide = "".join(chr(ord(c) + 0xFEE0) if c.isdigit() else c for c in code)
    if wide != code:
        assert refusal(begin(admin, ADA, wide)) == (403, "INVALID_CODE")
    challenge = begin(admin, ADA, f" {code.lower()} ").json()
    assert finish(admin, challenge, NewKey()).status_code == 200
    for typed in (code, code.replace("-", ""), f"{code} ", code.lower()):
        assert refusal(begin(admin, ADA, typed)) == (403, "INVALID_CODE")


def test_a10_threat_32_wrong_code_unknown_user_and_registered_user_are_answered_alike(
    in_process: InProcess, admin: Caller
) -> None:
    invited(admin, ADA)
    invited(admin, "grace@example.com", registration="Delegated")
    service = in_process.values["orgId"]
    wrong = "2222-2222-2222-2222"
    answers = [
        begin(admin, ADA, wrong),
        begin(admin, "nobody@example.com", wrong),
        begin(admin, "grace@example.com", wrong),
        begin(admin, "admin@sandbox.local", wrong),
        begin(admin, "\x00", wrong) if service is None else begin(admin, "\u200b", wrong),
        begin(admin, ADA, wrong, orgId="or-00000-00000-0000000000000000"),
    ]
    bodies = [{**answer.json()["error"], "id": ""} for answer in answers]
    assert all(body == bodies[0] for body in bodies)
    assert refusal(answers[0]) == (403, "INVALID_CODE")


def test_threat_34_five_wrong_codes_void_it_for_whoever_guessed(in_process: InProcess, admin: Caller) -> None:
    invited(admin, ADA)
    code = code_for(in_process, ADA)
    for _ in range(5):
        assert refusal(begin(admin, ADA, "2222-2222-2222-2222")) == (403, "INVALID_CODE")
    assert refusal(begin(admin, ADA, code)) == (403, "INVALID_CODE")
    # A new code is a new thing to guess at.
    public(admin, "PUT", "/auth/registration/code", {"username": ADA, "orgId": admin.connection["orgId"]})
    assert begin(admin, ADA, code_for(in_process, ADA)).status_code == 200


def test_five_wrong_codes_of_a_stranger_keep_nobody_out(in_process: InProcess, admin: Caller) -> None:
    invited(admin, ADA)
    code = code_for(in_process, ADA)
    with in_process.caller(in_process.admin, "203.0.113.9") as stranger:
        for typed in (*["2222-2222-2222-2222"] * 5, code):
            assert refusal(begin(stranger, ADA, typed)) == (403, "INVALID_CODE")
    assert begin(admin, ADA, code).status_code == 200


def test_an_expired_code_is_told_as_such_to_who_knows_it(in_process: InProcess, admin: Caller) -> None:
    invited(admin, ADA)
    code = code_for(in_process, ADA)
    in_process.clock.move(seconds=4 * 3600 + 1)
    assert refusal(begin(admin, ADA, code)) == (400, "REGISTRATION_CODE_EXPIRED")
    assert refusal(begin(admin, ADA, "2222-2222-2222-2222")) == (403, "INVALID_CODE")


def test_threat_36_a_code_sent_again_voids_the_one_before_and_its_challenge(
    in_process: InProcess, admin: Caller
) -> None:
    invited(admin, ADA)
    old = code_for(in_process, ADA)
    challenge = begin(admin, ADA, old).json()
    answer = public(admin, "PUT", "/auth/registration/code", {"username": ADA.upper()})
    assert answer.json() == {"message": "success"}
    new = code_for(in_process, ADA)
    assert new != old
    assert refusal(begin(admin, ADA, old)) == (403, "INVALID_CODE")
    assert refusal(finish(admin, challenge, NewKey())) == (400, "CHALLENGE_INVALID")
    assert finish(admin, begin(admin, ADA, new).json(), NewKey()).status_code == 200


def test_threat_36_a_code_that_was_replaced_meanwhile_is_traded_for_nothing(
    in_process: InProcess, admin: Caller, tenants: Tenants
) -> None:
    invited(admin, ADA)
    services, org_id = in_process.runtime.services, admin.connection["orgId"]
    run, database = in_process.runner.run, services.database

    def trade(person: Person) -> Transaction[bool]:
        return registration.begin_with_code(person, "uj-of-a-test")

    def replace() -> Transaction[bool]:
        return registration.send_again(services.ring, org_id, ADA, "2222-2222-2222-2222", services.world)

    before = run(database.read(lambda: registration.find(org_id, ADA)))
    assert run(database.write(replace)) is True
    assert run(database.write(lambda: trade(before))) is False
    if tenants.url.startswith("postgresql"):
        now = run(database.read(lambda: registration.find(org_id, ADA)))
        assert run(before_it_commits(database, tenants.url, lambda: trade(now), replace)) == [True, True]
    assert tenants.execute("SELECT COUNT(*) FROM registrations")[0][0] == 0


def test_a_code_is_sent_again_five_times_an_hour_and_the_last_one_counts(in_process: InProcess, admin: Caller) -> None:
    invited(admin, ADA)
    for _ in range(8):
        answer = public(admin, "PUT", "/auth/registration/code", {"username": ADA})
        assert (answer.status_code, answer.json()) == (200, {"message": "success"})
        letters(in_process, ADA)
    assert len(letters(in_process, ADA)) == 6
    assert begin(admin, ADA, code_for(in_process, ADA)).status_code == 200
    in_process.clock.move(seconds=3601)
    public(admin, "PUT", "/auth/registration/code", {"username": ADA})
    assert len(letters(in_process, ADA)) == 7


def test_a10_asking_for_a_code_says_nothing_about_anybody(in_process: InProcess, admin: Caller) -> None:
    invited(admin, "grace@example.com", registration="Delegated")
    for name in ("nobody@example.com", "grace@example.com", "admin@sandbox.local", "sandbox", "\u200b"):
        answer = public(admin, "PUT", "/auth/registration/code", {"username": name})
        assert (answer.status_code, answer.json()) == (200, {"message": "success"})
        assert letters(in_process, name) == []


def test_an_answer_that_is_lost_costs_nothing_at_any_step(
    in_process: InProcess, admin: Caller, tenants: Tenants
) -> None:
    body = {"email": ADA, "kind": "CustomerEmployee", "externalId": "ada"}
    made = [admin.signed("POST", "/auth/users", body).json()["userId"] for _ in range(2)]
    assert made[0] == made[1]
    assert len(letters(in_process, ADA)) == 1
    code = code_for(in_process, ADA)
    lost, challenge = begin(admin, ADA, code).json(), begin(admin, ADA, code).json()
    # The one that was lost, if it comes up after all, counts no longer.
    assert refusal(finish(admin, lost, NewKey())) == (400, "CHALLENGE_INVALID")
    key = NewKey()
    assert finish(admin, challenge, key).status_code == 200
    for again in (key, NewKey()):
        assert refusal(finish(admin, challenge, again)) == (401, "USER_EXISTS")
    rows = tenants.execute("SELECT COUNT(*) FROM credentials WHERE user_id = ?", made[0])
    assert rows[0][0] == 1


def test_threat_35_of_many_completions_at_once_one_registers(
    in_process: InProcess, admin: Caller, tenants: Tenants
) -> None:
    made = invited(admin, ADA)
    challenge = begin(admin, ADA, code_for(in_process, ADA)).json()
    answers = _at_once(in_process, [_completion(challenge, NewKey()) for _ in range(8)])
    assert sorted(answers) == [200] + [401] * 7
    assert tenants.execute("SELECT COUNT(*) FROM credentials WHERE user_id = ?", made["userId"])[0][0] == 1
    assert len(entries(tenants, "Registered")) == 1


def _completion(challenge: dict[str, Any], new: NewKey) -> tuple[bytes, str]:
    body = {"firstFactorCredential": factor(challenge, new)}
    return json.dumps(body).encode(), challenge["temporaryAuthenticationToken"]


def _at_once(server: InProcess, requests: list[tuple[bytes, str]]) -> list[int]:
    """The statuses of completions that are all under way together."""

    async def one(body: bytes, token: str) -> int:
        async def read_body(limit: int) -> bytes:
            return body

        lines = [(b"authorization", f"Bearer {token}".encode()), (b"content-type", b"application/json")]
        face = server.runtime.face
        answer = await face.answer("POST", b"/auth/registration", lines, "127.0.0.1", read_body)
        return answer.response.status

    async def work() -> list[int]:
        return list(await asyncio.gather(*(one(*request) for request in requests)))

    return server.runner.run(work())


def test_a_registration_ends_with_the_state_of_its_user(in_process: InProcess, admin: Caller) -> None:
    made = invited(admin, ADA)
    code = code_for(in_process, ADA)
    challenge = begin(admin, ADA, code).json()
    for change in ("deactivate", "activate"):
        admin.signed("PUT", f"/auth/users/{made['userId']}/{change}", {} if change == "deactivate" else None)
        assert refusal(finish(admin, challenge, NewKey())) == (400, "CHALLENGE_INVALID")
        assert refusal(begin(admin, ADA, code)) == (403, "INVALID_CODE")
    public(admin, "PUT", "/auth/registration/code", {"username": ADA})
    assert finish(admin, begin(admin, ADA, code_for(in_process, ADA)).json(), NewKey()).status_code == 200


def test_a_challenge_ends_with_its_time(in_process: InProcess, admin: Caller) -> None:
    invited(admin, ADA)
    code = code_for(in_process, ADA)
    challenge = begin(admin, ADA, code).json()
    in_process.clock.move(seconds=901)
    assert refusal(finish(admin, challenge, NewKey())) == (401, "UNAUTHENTICATED")
    assert finish(admin, begin(admin, ADA, code).json(), NewKey()).status_code == 200


def test_threat_16_only_a_registration_token_completes_a_registration(in_process: InProcess, admin: Caller) -> None:
    invited(admin, ADA)
    challenge = begin(admin, ADA, code_for(in_process, ADA)).json()
    other = admin.send("POST", "/auth/credentials/init", {"kind": "Key"}).json()
    body = {"firstFactorCredential": factor(challenge, NewKey())}
    for token in (None, "", admin.token, other["challengeIdentifier"], challenge["challenge"]):
        answer = public(admin, "POST", "/auth/registration", body, token)
        assert refusal(answer) == (401, "UNAUTHENTICATED")
    token = challenge["temporaryAuthenticationToken"]
    admin.token = token
    assert admin.send("GET", "/auth/credentials").status_code == 401


def bad_bodies(challenge: dict[str, Any], known: NewKey) -> dict[str, tuple[dict[str, Any], tuple[int, str]]]:
    one, two = NewKey(), NewKey()
    same_key = NewKey(key=one.key)
    first = factor(challenge, one)
    invalid = (400, "ATTESTATION_INVALID")
    return {
        "another challenge": ({"firstFactorCredential": factor({"challenge": "other"}, one)}, invalid),
        "the same twice": ({"firstFactorCredential": first, "secondFactorCredential": first}, invalid),
        "one key under two ids": (
            {"firstFactorCredential": first, "secondFactorCredential": factor(challenge, same_key)},
            invalid,
        ),
        "one credential known already": ({"firstFactorCredential": factor(challenge, known)}, invalid),
        "the second one bad": (
            {"firstFactorCredential": first, "secondFactorCredential": factor({"challenge": "other"}, two)},
            invalid,
        ),
        "a recovery key first": ({"firstFactorCredential": factor(challenge, one, "RecoveryKey")}, (400, "VALIDATION")),
        "a key for recovery": (
            {"firstFactorCredential": first, "recoveryCredential": factor(challenge, two)},
            (400, "VALIDATION"),
        ),
        "a password": (
            {"firstFactorCredential": {"credentialKind": "Password", "credentialInfo": {"password": "x"}}},
            (400, "CREDENTIAL_KIND_DISABLED"),
        ),
        "a protected key without its key": (
            {"firstFactorCredential": factor(challenge, one, "PasswordProtectedKey")},
            (400, "VALIDATION"),
        ),
        "none": ({}, (400, "VALIDATION")),
        "an unknown member": ({"firstFactorCredential": first, "isAdmin": True}, (400, "VALIDATION")),
    }


def test_bad_credentials_register_nobody_and_use_nothing_up(in_process: InProcess, admin: Caller) -> None:
    invited(admin, "known@example.com")
    known = NewKey()
    first = begin(admin, "known@example.com", code_for(in_process, "known@example.com")).json()
    assert finish(admin, first, known).status_code == 200
    invited(admin, ADA)
    challenge = begin(admin, ADA, code_for(in_process, ADA)).json()
    token = challenge["temporaryAuthenticationToken"]
    for name, (body, expected) in bad_bodies(challenge, known).items():
        assert refusal(public(admin, "POST", "/auth/registration", body, token)) == expected, name
    assert finish(admin, challenge, NewKey()).status_code == 200


def test_a_server_with_several_organisations_asks_which(in_process: InProcess, admin: Caller, tenants: Tenants) -> None:
    invited(admin, ADA)
    code = code_for(in_process, ADA)
    body = {"username": ADA, "registrationCode": code}
    assert public(admin, "POST", "/auth/registration/init", body).status_code == 200
    other = tenants.organisation()
    assert refusal(public(admin, "POST", "/auth/registration/init", body)) == (400, "VALIDATION")
    # The name of one organisation means nothing in another.
    assert refusal(begin(admin, ADA, code, orgId=other.org_id)) == (403, "INVALID_CODE")
    assert refusal(begin(admin, ADA, code, tenantId="x")) == (400, "VALIDATION")


def test_threat_34_codes_are_stored_as_macs_and_mailed_sealed(
    in_process: InProcess, admin: Caller, tenants: Tenants
) -> None:
    invited(admin, ADA)
    code = code_for(in_process, ADA)
    rows = tenants.execute("SELECT code_hash FROM registration_codes") + tenants.execute(
        "SELECT subject, body, sealed FROM mail"
    )
    for plain in (code, codes.normalise(code)):
        assert plain not in str([tuple(row) for row in rows])
        assert all(plain.encode() not in bytes(row[2]) for row in rows[1:])


def delegate(program: Caller, email: str = "end user 1", kind: str = "EndUser", **members: Any) -> httpx.Response:
    return program.signed("POST", "/auth/registration/delegated", {"email": email, "kind": kind, **members})


def restart(program: Caller, email: str = "end user 1", kind: str = "EndUser") -> httpx.Response:
    return program.signed("POST", "/auth/registration/delegated/restart", {"email": email, "kind": kind})


def test_a_service_account_registers_an_end_user(
    in_process: InProcess, program: Caller, admin: Caller, tenants: Tenants
) -> None:
    challenge = delegate(program).json()
    assert challenge["user"]["name"] == "end user 1"
    key = NewKey()
    body = {"firstFactorCredential": factor(challenge, key), "wallets": []}
    token = challenge["temporaryAuthenticationToken"]
    done = public(program, "POST", "/auth/registration/enduser", body, token)
    assert done.status_code == 200, done.text
    answer = done.json()
    assert answer["wallets"] == []
    assert user(admin, answer["user"]["id"])["kind"] == "EndUser"
    program.token = answer["authentication"]["token"]
    (own,) = program.send("GET", "/auth/credentials").json()["items"]
    assert own["credentialId"] == key.credential_id
    (entry,) = entries(tenants, "Registered")
    assert entry["details"]["actionId"].startswith("uj-")
    # Nobody's mail address is known.
    assert letters(in_process, "end user 1") == []


def test_wallets_are_refused_before_anything_is_done(program: Caller) -> None:
    challenge = delegate(program).json()
    body = {"firstFactorCredential": factor(challenge, NewKey()), "wallets": [{"network": "EthereumSepolia"}]}
    token = challenge["temporaryAuthenticationToken"]
    answer = public(program, "POST", "/auth/registration/enduser", body, token)
    assert refusal(answer) == (400, "WALLETS_NOT_OFFERED")
    assert finish(program, challenge, NewKey()).status_code == 200


def test_a_delegated_registration_is_begun_anew_until_it_is_done(program: Caller, tenants: Tenants) -> None:
    assert refusal(restart(program)) == (404, "NOT_FOUND")
    lost, again = delegate(program, externalId="e").json(), delegate(program, externalId="e").json()
    last = restart(program).json()
    assert lost["user"]["id"] == again["user"]["id"] == last["user"]["id"]
    for old in (lost, again):
        assert refusal(finish(program, old, NewKey())) == (400, "CHALLENGE_INVALID")
    assert finish(program, last, NewKey()).status_code == 200
    assert refusal(delegate(program)) == (401, "USER_EXISTS")
    assert refusal(restart(program)) == (401, "USER_EXISTS")
    assert tenants.execute("SELECT COUNT(*) FROM users WHERE kind = 'EndUser'")[0][0] == 1


def test_threat_39_a_service_account_takes_over_no_employee_who_registers_by_code(
    in_process: InProcess, program: Caller, admin: Caller
) -> None:
    invited(admin, ADA)
    for call in (delegate, restart):
        assert refusal(call(program, ADA, "CustomerEmployee")) == (403, "FORBIDDEN")
        assert refusal(call(program, ADA, "EndUser")) == (409, "CONFLICT")
    invited(admin, "grace@example.com", registration="Delegated")
    challenge = delegate(program, "grace@example.com", "CustomerEmployee").json()
    # An employee is no end user.
    body = {"firstFactorCredential": factor(challenge, NewKey()), "wallets": []}
    token = challenge["temporaryAuthenticationToken"]
    answer = public(program, "POST", "/auth/registration/enduser", body, token)
    assert refusal(answer) == (403, "CALLER_KIND_REFUSED")
    assert finish(program, challenge, NewKey()).status_code == 200
    assert len(letters(in_process, ADA)) == 1


def test_people_delegate_no_registrations(admin: Caller) -> None:
    assert refusal(delegate(admin)) == (403, "CALLER_KIND_REFUSED")
