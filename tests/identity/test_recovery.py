"""Recovery by code and by a service account: what it takes, what it ends, and what a lost answer costs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from countersign.access import codes
from countersign.identity import service_accounts, sessions
from tests.support.answers import refusal
from tests.support.caller import Caller
from tests.support.enrolment import NewKey, NewPasskey, enrol, enrolled
from tests.support.entering import (
    begin,
    code_for,
    factor,
    finish,
    identified,
    invited,
    letters,
    public,
    recovering,
    registered,
)
from tests.support.inprocess import InProcess
from tests.support.interleaving import before_it_commits
from tests.support.tenants import Tenants, beside

ADA = "ada@example.com"
WRONG = "2222-2222-2222-2222"


@pytest.fixture
def in_process(runner: asyncio.Runner, tmp_path: Path, database_url: str) -> Iterator[InProcess]:
    with InProcess(runner, tmp_path / "data", database_url, background=False) as server:
        yield server


@pytest.fixture
def keys(in_process: InProcess, admin: Caller) -> tuple[NewKey, NewKey]:
    """The key with which Ada registered, and her recovery key."""
    key, recovery = NewKey(), NewKey()
    registered(in_process, admin, ADA, key, recovery)
    return key, recovery


def ask_code(caller: Caller, username: str = ADA, method: str = "POST") -> httpx.Response:
    return public(caller, method, "/auth/recover/user/code", {"username": username})


def init(caller: Caller, code: str, recovery: NewKey, username: str = ADA, **members: Any) -> httpx.Response:
    body = {"username": username, "verificationCode": code, "credentialId": recovery.credential_id, **members}
    return public(caller, "POST", "/auth/recover/user/init", body)


def begun(server: InProcess, caller: Caller, recovery: NewKey) -> dict[str, Any]:
    """The challenge of a recovery by code."""
    assert ask_code(caller).json() == {"message": "success"}
    answer = init(caller, code_for(server, ADA), recovery)
    assert answer.status_code == 200, answer.text
    value: dict[str, Any] = answer.json()
    return value


def complete(caller: Caller, challenge: dict[str, Any], body: dict[str, Any]) -> httpx.Response:
    return public(caller, "POST", "/auth/recover/user", body, challenge["temporaryAuthenticationToken"])


def recover(caller: Caller, challenge: dict[str, Any], recovery: NewKey, new: NewKey) -> httpx.Response:
    return complete(caller, challenge, recovering(recovery, {"firstFactorCredential": factor(challenge, new)}))


def session(caller: Caller, key: NewKey, username: str = ADA) -> httpx.Response:
    """A login by key."""
    challenge = public(caller, "POST", "/auth/login/init", {"username": username}).json()
    proof = key.factor(challenge["challenge"]) if "challenge" in challenge else {}
    body = {"challengeIdentifier": challenge.get("challengeIdentifier", "x"), "firstFactor": proof}
    return public(caller, "POST", "/auth/login", body)


def person(server: InProcess, caller: Caller, key: NewKey, username: str = ADA) -> Caller:
    """Somebody who has logged in."""
    token = session(caller, key, username).json()["token"]
    made = server.caller({**caller.connection, "authToken": token, "credentialId": key.credential_id})
    assert not isinstance(key.key, NewPasskey)
    made.key = key.key
    return made


def entries(tenants: Tenants, event: str) -> list[dict[str, Any]]:
    found = [
        json.loads(row[0]) for row in tenants.execute("SELECT entry FROM audit_entries ORDER BY performed_at, entry_id")
    ]
    return [entry for entry in found if entry.get("event") == event]


def let(tenants: Tenants, username: str) -> None:
    """Give somebody every right."""
    tenants.execute(
        "INSERT INTO permission_assignments (org_id, assignment_id, permission_id, identity_id, is_immutable, "
        "created_at, updated_at) SELECT p.org_id, 'as-of-a-test', p.permission_id, u.user_id, 0, 0, 0 FROM users u "
        "JOIN permissions p ON p.org_id = u.org_id AND p.name = 'ManagedFullAdminAccess' WHERE u.username = ?",
        username,
    )


def count(tenants: Tenants, sql: str) -> int:
    return int(tenants.execute(f"SELECT COUNT(*) FROM {sql}")[0][0])


def test_a13_recovery_ends_everything_old_and_the_new_credential_moves_keys(
    in_process: InProcess, admin: Caller, tenants: Tenants, keys: tuple[NewKey, NewKey]
) -> None:
    old, recovery = keys
    let(tenants, ADA)
    with person(in_process, admin, old) as ada:
        signing_key = ada.create_key()
        program = NewKey()
        pat = ada.signed("POST", "/auth/pats", {"name": "p", "publicKey": program.pem}).json()["accessToken"]
        unused = ada.action_token("PUT", f"/keys/{signing_key}", {"name": "late"})
        begun_before = public(admin, "POST", "/auth/login/init", {"username": ADA}).json()
        challenge = begun(in_process, admin, recovery)
        assert challenge["allowedRecoveryCredentials"] == [
            {"id": recovery.credential_id, "encryptedRecoveryKey": "sealed"}
        ]
        passkey, key, next_recovery = NewPasskey(challenge["user"]["id"]), NewKey(), NewKey()
        new = {
            "firstFactorCredential": factor(challenge, key, credentialName="new key"),
            "secondFactorCredential": factor(challenge, passkey, "Fido2"),
            "recoveryCredential": factor(challenge, next_recovery, "RecoveryKey"),
        }
        done = complete(admin, challenge, recovering(recovery, new))
        assert done.status_code == 200, done.text
        answer = done.json()
        assert answer["user"] == {"id": challenge["user"]["id"], "username": ADA, "orgId": admin.connection["orgId"]}
        assert (answer["credential"]["kind"], answer["credential"]["name"]) == ("Key", "new key")
        in_process.clock.move(seconds=1)
        assert ada.send("GET", "/keys").status_code == 401
        assert ada.send("PUT", f"/keys/{signing_key}", {"name": "late"}, action=unused).status_code == 401
        ada.token = pat
        assert ada.send("GET", "/keys").status_code == 401
    late = {"challengeIdentifier": begun_before["challengeIdentifier"]}
    late["firstFactor"] = old.factor(begun_before["challenge"])
    assert public(admin, "POST", "/auth/login", late).status_code == 401
    with person(in_process, admin, key) as ada:
        # An action signed before is no action of the new credentials.
        renamed = ada.send("PUT", f"/keys/{signing_key}", {"name": "late"}, action=unused)
        assert refusal(renamed) == (403, "USER_ACTION_INVALID")
        signed = ada.signed("POST", f"/keys/{signing_key}/signatures", {"kind": "Message", "message": "0x00"})
        assert signed.json()["status"] == "Signed"
        shown = {item["credentialId"] for item in ada.send("GET", "/auth/credentials").json()["items"]}
        assert shown == {key.credential_id, passkey.credential_id, next_recovery.credential_id}
    (entry,) = entries(tenants, "Recovered")
    assert len(entry["enrolled"]) == 3
    assert entry["details"]["clientAddress"] == "127.0.0.1"
    ended = [row[0] for row in tenants.execute("SELECT credential_uuid FROM credentials WHERE state = 'Archived'")]
    assert len(ended) == 3
    assert set(ended) < set(entry["entityIds"])
    assert [letter.kind for letter in letters(in_process, ADA)][-2:] == ["RecoveryCode", "Recovered"]
    assert answer["user"]["id"] in {letter.user_id for letter in letters(in_process, ADA)}


def test_a13_a_repeat_is_answered_as_before_and_nothing_else_comes_of_the_challenge(
    in_process: InProcess, admin: Caller, tenants: Tenants, keys: tuple[NewKey, NewKey]
) -> None:
    _, recovery = keys
    lost = begun(in_process, admin, recovery)
    challenge = begun(in_process, admin, recovery)
    new = NewKey()
    body = recovering(recovery, {"firstFactorCredential": factor(challenge, new)})
    first = complete(admin, challenge, body)
    assert first.status_code == 200, first.text
    before = count(tenants, "audit_entries"), count(tenants, "credentials"), len(letters(in_process, ADA))
    again = complete(admin, challenge, body)
    assert (again.status_code, again.json()) == (200, first.json())
    # Other credentials, and a challenge from before: the recovery key has ended with its use.
    assert refusal(recover(admin, challenge, recovery, NewKey())) == (400, "CHALLENGE_INVALID")
    assert refusal(recover(admin, lost, recovery, NewKey())) == (400, "CHALLENGE_INVALID")
    assert (count(tenants, "audit_entries"), count(tenants, "credentials"), len(letters(in_process, ADA))) == before
    assert session(admin, new).status_code == 200
    # Without a recovery key there is nothing more to recover with, and nobody is mailed a code.
    ask_code(admin)
    assert len(letters(in_process, ADA)) == before[2]


def test_a_lost_answer_leaves_a_way_on_at_every_step(
    in_process: InProcess, admin: Caller, keys: tuple[NewKey, NewKey]
) -> None:
    _, recovery = keys
    ask_code(admin)
    ask_code(admin, method="PUT")
    code = code_for(in_process, ADA)
    assert init(admin, code, recovery).status_code == 200
    # The answer was lost with the code: another is sent, whatever was sent before.
    assert refusal(init(admin, code, recovery)) == (403, "INVALID_CODE")
    for _ in range(3):
        ask_code(admin)
        assert init(admin, code_for(in_process, ADA), recovery).status_code == 200
    ask_code(admin)
    challenge = init(admin, code_for(in_process, ADA), recovery).json()
    in_process.clock.move(seconds=901)
    assert refusal(recover(admin, challenge, recovery, NewKey())) == (401, "UNAUTHENTICATED")
    in_process.clock.move(seconds=3600)
    challenge = begun(in_process, admin, recovery)
    new = NewKey()
    assert recover(admin, challenge, recovery, new).status_code == 200
    assert session(admin, new).status_code == 200


def test_threats_37_and_38_it_takes_the_named_recovery_key_over_exactly_these_credentials(
    in_process: InProcess, admin: Caller, keys: tuple[NewKey, NewKey]
) -> None:
    old, recovery = keys
    other = NewKey()
    registered(in_process, admin, "grace@example.com", NewKey(), other)
    challenge = begun(in_process, admin, recovery)
    new = {"firstFactorCredential": factor(challenge, NewKey())}
    thief = {"firstFactorCredential": factor(challenge, NewKey())}
    good = recovering(recovery, new)
    renamed = NewKey(key=old.key, credential_id=recovery.credential_id)
    cases = {
        "swapped": ({**good, "newCredentials": thief}, (401, "ASSERTION_INVALID")),
        "one more": (
            {**good, "newCredentials": {**new, "recoveryCredential": factor(challenge, NewKey(), "RecoveryKey")}},
            (401, "ASSERTION_INVALID"),
        ),
        "the old key under the recovery key's name": (recovering(renamed, new), (401, "ASSERTION_INVALID")),
        "the old key": (recovering(old, new), (401, "NOT_RECOVERY_FACTOR")),
        "another's recovery key": (recovering(other, new), (401, "NOT_RECOVERY_FACTOR")),
        "credentials of another challenge": (
            recovering(recovery, {"firstFactorCredential": factor({"challenge": "x"}, NewKey())}),
            (400, "ATTESTATION_INVALID"),
        ),
        "the old key again": (
            recovering(recovery, {"firstFactorCredential": factor(challenge, old)}),
            (400, "ATTESTATION_INVALID"),
        ),
    }
    for name, (body, expected) in cases.items():
        assert refusal(complete(admin, challenge, body)) == expected, name
    as_key = {**good, "recovery": {**good["recovery"], "kind": "Key"}}
    assert refusal(complete(admin, challenge, as_key)) == (400, "VALIDATION")
    assert complete(admin, challenge, good).status_code == 200


def test_threat_16_only_a_recovery_token_recovers_and_it_does_nothing_else(
    in_process: InProcess, admin: Caller, keys: tuple[NewKey, NewKey]
) -> None:
    _, recovery = keys
    invited(admin, "grace@example.com")
    registering = begin(admin, "grace@example.com", code_for(in_process, "grace@example.com")).json()
    challenge = begun(in_process, admin, recovery)
    assert refusal(finish(admin, challenge, NewKey())) == (401, "UNAUTHENTICATED")
    for token in (None, admin.token, registering["temporaryAuthenticationToken"], challenge["challenge"]):
        body = recovering(recovery, {"firstFactorCredential": factor(challenge, NewKey())})
        assert refusal(public(admin, "POST", "/auth/recover/user", body, token)) == (401, "UNAUTHENTICATED")
    admin.token = challenge["temporaryAuthenticationToken"]
    assert admin.send("GET", "/auth/credentials").status_code == 401


def test_a10_a9_whatever_is_wrong_is_answered_alike(
    in_process: InProcess, admin: Caller, tenants: Tenants, keys: tuple[NewKey, NewKey]
) -> None:
    old, recovery = keys
    invited(admin, "unregistered@example.com")
    registered(in_process, admin, "grace@example.com", NewKey())
    for name in ("unregistered@example.com", "grace@example.com", "nobody@example.com", "sandbox", "\u200b"):
        before = len(letters(in_process, name))
        answered = ask_code(admin, name)
        assert (answered.status_code, answered.json()) == (200, {"message": "success"})
        assert len(letters(in_process, name)) == before
    ask_code(admin)
    replaced = code_for(in_process, ADA)
    ask_code(admin)
    code = code_for(in_process, ADA)
    rows = tenants.execute("SELECT code_hash FROM mailed_codes") + tenants.execute("SELECT body, sealed FROM mail")
    assert codes.normalise(code) not in codes.normalise(str([tuple(row) for row in rows]))
    statements = []
    answers = []
    for name, typed, key, members in (
        (ADA, WRONG, recovery, {}),
        (ADA, replaced, recovery, {}),
        (ADA, code, old, {}),
        ("grace@example.com", WRONG, recovery, {}),
        ("nobody@example.com", code, recovery, {}),
        (ADA, code, recovery, {"orgId": "or-00000-00000-0000000000000000"}),
    ):
        before_ = in_process.statistics
        answers.append(init(admin, typed, key, name, **members))
        statements.append(in_process.statistics.statements - before_.statements)
    bodies = [{**answer.json()["error"], "id": ""} for answer in answers]
    assert all(body == bodies[0] for body in bodies)
    assert refusal(answers[0]) == (403, "INVALID_CODE")
    assert len(set(statements[:5])) == 1
    assert init(admin, f" {code.lower().replace('-', ' ')} ", recovery).status_code == 200
    assert refusal(init(admin, code, recovery)) == (403, "INVALID_CODE")


def test_threat_34_codes_end_and_are_sent_five_times_an_hour_and_no_stranger_takes_one_away(
    in_process: InProcess, admin: Caller, keys: tuple[NewKey, NewKey]
) -> None:
    _, recovery = keys
    for _ in range(7):
        ask_code(admin)
        letters(in_process, ADA)
    assert [letter.kind for letter in letters(in_process, ADA)].count("RecoveryCode") == 5
    # The newest is good for as long as no other is sent.
    in_process.clock.move(seconds=3500)
    ask_code(admin)
    newest = code_for(in_process, ADA)
    assert [letter.kind for letter in letters(in_process, ADA)].count("RecoveryCode") == 5
    for _ in range(5):
        assert refusal(init(admin, WRONG, recovery)) == (403, "INVALID_CODE")
    assert refusal(init(admin, newest, recovery)) == (403, "INVALID_CODE")
    in_process.clock.move(seconds=200)
    ask_code(admin)
    assert init(admin, code_for(in_process, ADA), recovery).status_code == 200


def test_a_recovery_ends_with_the_state_of_its_user_and_of_its_key_and_with_five_guesses(
    in_process: InProcess, admin: Caller, tenants: Tenants, keys: tuple[NewKey, NewKey]
) -> None:
    old, recovery = keys
    challenge = begun(in_process, admin, recovery)
    ask_code(admin)
    code = code_for(in_process, ADA)
    user_id = challenge["user"]["id"]
    for change in ("deactivate", "activate"):
        admin.signed("PUT", f"/auth/users/{user_id}/{change}", {} if change == "deactivate" else None)
        assert refusal(recover(admin, challenge, recovery, NewKey())) == (400, "CHALLENGE_INVALID")
        assert refusal(init(admin, code, recovery)) == (403, "INVALID_CODE")
    guessed, guess = begun(in_process, admin, recovery), NewKey(credential_id=recovery.credential_id)
    guessing = recovering(guess, {"firstFactorCredential": factor(guessed, NewKey())})
    for _ in range(5):
        assert refusal(complete(admin, guessed, guessing)) == (401, "ASSERTION_INVALID")
    assert refusal(recover(admin, guessed, recovery, NewKey())) == (400, "CHALLENGE_INVALID")
    challenge = begun(in_process, admin, recovery)
    ask_code(admin)
    code = code_for(in_process, ADA)
    with person(in_process, admin, old) as ada:
        items = ada.send("GET", "/auth/credentials").json()["items"]
        uuid = next(each["credentialUuid"] for each in items if each["kind"] == "RecoveryKey")
        ada.signed("PUT", "/auth/credentials/deactivate", {"credentialUuid": uuid})
    assert refusal(recover(admin, challenge, recovery, NewKey())) == (401, "NOT_RECOVERY_FACTOR")
    assert refusal(init(admin, code, recovery)) == (403, "INVALID_CODE")


def test_of_many_recoveries_at_once_one_wins(
    in_process: InProcess, admin: Caller, tenants: Tenants, keys: tuple[NewKey, NewKey]
) -> None:
    _, recovery = keys
    challenge = begun(in_process, admin, recovery)
    bodies = [recovering(recovery, {"firstFactorCredential": factor(challenge, NewKey())}) for _ in range(6)]
    token = challenge["temporaryAuthenticationToken"]
    lines = [(b"authorization", f"Bearer {token}".encode()), (b"content-type", b"application/json")]

    async def one(body: bytes) -> int:
        async def read_body(limit: int) -> bytes:
            return body

        face = in_process.runtime.face
        answered = await face.answer("POST", b"/auth/recover/user", lines, "127.0.0.1", read_body)
        return answered.response.status

    async def work() -> list[int]:
        return list(await asyncio.gather(*(one(json.dumps(body).encode()) for body in bodies)))

    assert sorted(in_process.runner.run(work())) == [200] + [400] * 5
    user_id = challenge["user"]["id"]
    assert count(tenants, f"credentials WHERE user_id = '{user_id}' AND state = 'Active'") == 1
    assert len(entries(tenants, "Recovered")) == 1


def delegate(caller: Caller, username: str, recovery: NewKey) -> httpx.Response:
    body = {"username": username, "credentialId": recovery.credential_id}
    return caller.signed("POST", "/auth/recover/user/delegated", body)


def delegated_user(program: Caller, username: str, kind: str, key: NewKey, recovery: NewKey) -> str:
    """Somebody whom a service account registered; their id."""
    body = {"email": username, "kind": kind}
    challenge = program.signed("POST", "/auth/registration/delegated", body).json()
    new = {
        "firstFactorCredential": factor(challenge, key),
        "recoveryCredential": factor(challenge, recovery, "RecoveryKey"),
    }
    done = public(program, "POST", "/auth/registration", new, challenge["temporaryAuthenticationToken"])
    assert done.status_code == 200, done.text
    user_id: str = done.json()["user"]["id"]
    return user_id


def test_a_service_account_begins_the_recovery_of_those_whom_it_vouches_for(
    in_process: InProcess, program: Caller, admin: Caller, tenants: Tenants, keys: tuple[NewKey, NewKey]
) -> None:
    _, of_employee = keys
    recovery = NewKey()
    user_id = delegated_user(program, "end user 1", "EndUser", NewKey(), recovery)
    # No code goes to a name that is no mail address.
    ask_code(admin, "end user 1")
    assert letters(in_process, "end user 1") == []
    assert refusal(delegate(program, ADA, of_employee)) == (403, "FORBIDDEN")
    assert refusal(delegate(program, "end user 2", recovery)) == (404, "NOT_FOUND")
    assert refusal(delegate(program, "sandbox", recovery)) == (404, "NOT_FOUND")
    assert refusal(delegate(program, "end user 1", of_employee)) == (404, "NOT_FOUND")
    assert refusal(delegate(admin, "end user 1", recovery)) == (403, "CALLER_KIND_REFUSED")
    admin.signed("PUT", f"/auth/users/{user_id}/deactivate", {})
    assert refusal(delegate(program, "end user 1", recovery)) == (400, "USER_DEACTIVATED")
    admin.signed("PUT", f"/auth/users/{user_id}/activate")
    lost, challenge = (delegate(program, "end user 1", recovery).json() for _ in range(2))
    assert challenge["allowedRecoveryCredentials"] == [{"id": recovery.credential_id, "encryptedRecoveryKey": ""}]
    new = NewKey()
    assert recover(program, challenge, recovery, new).status_code == 200
    assert refusal(recover(program, lost, recovery, NewKey())) == (400, "CHALLENGE_INVALID")
    # Nobody holds an end user up.
    with person(in_process, admin, new, "end user 1") as user:
        assert enrolled(user, NewKey())["kind"] == "Key"
    assert entries(tenants, "Recovered")[0]["details"]["actionId"].startswith("uj-")


def test_what_a_service_account_opened_and_began_ends_with_it(
    in_process: InProcess, program: Caller, admin: Caller, tenants: Tenants
) -> None:
    recovery, key = NewKey(), NewKey()
    delegated_user(program, "end user 1", "EndUser", key, recovery)

    def opened() -> Caller:
        token = program.signed("POST", "/auth/login/delegated", {"username": "end user 1"}).json()["token"]
        return in_process.caller({**admin.connection, "authToken": token})

    recovering = delegate(program, "end user 1", recovery).json()
    registering = program.signed("POST", "/auth/registration/delegated", {"email": "end user 2", "kind": "EndUser"})
    session_of_it, path = opened(), f"/auth/service-accounts/{in_process.values['userId']}"
    exchanged = session_of_it.send("POST", "/auth/tokens", {"target": admin.connection["orgId"]}).json()["token"]
    assert admin.signed("PUT", f"{path}/deactivate", {}).status_code == 200
    assert admin.signed("PUT", f"{path}/activate").status_code == 200
    in_process.clock.move(seconds=1)
    assert admin.http.get("/auth/credentials", headers={"Authorization": f"Bearer {exchanged}"}).status_code == 401
    assert refusal(recover(admin, recovering, recovery, NewKey())) == (400, "CHALLENGE_INVALID")
    assert refusal(finish(admin, registering.json(), NewKey())) == (400, "CHALLENGE_INVALID")
    again = opened()
    if tenants.url.startswith("postgresql"):
        services, caller = in_process.runtime.services, identified(in_process, again.token)
        in_process.runner.run(
            before_it_commits(
                services.database,
                tenants.url,
                lambda: sessions.exchange(services.ring, caller, services.world),
                lambda: service_accounts.set_active(caller.org_id, in_process.values["userId"], active=False),
            )
        )
        assert count(tenants, "tokens WHERE delegated_by IS NOT NULL AND state = 'Active'") == 0
        assert admin.signed("PUT", f"{path}/activate").status_code == 200
        again = opened()
    with person(in_process, admin, key, "end user 1") as own:
        assert again.send("GET", "/auth/credentials").status_code == 200
        assert admin.signed("DELETE", path).status_code == 200
        in_process.clock.move(seconds=1)
        assert again.send("GET", "/auth/credentials").status_code == 401
        assert own.send("GET", "/auth/credentials").status_code == 200


def test_a13_an_administrator_whom_a_service_account_recovers_is_held(
    in_process: InProcess, program: Caller, admin: Caller, tenants: Tenants
) -> None:
    recovery, again, key = NewKey(), NewKey(), NewKey()
    delegated_user(program, ADA, "CustomerEmployee", NewKey(), recovery)
    let(tenants, ADA)
    challenge = delegate(program, ADA, recovery).json()
    new = {
        "firstFactorCredential": factor(challenge, key),
        "recoveryCredential": factor(challenge, again, "RecoveryKey"),
    }
    assert complete(program, challenge, recovering(recovery, new)).status_code == 200
    (letter,) = [each for each in letters(in_process, ADA) if each.kind == "Recovered"]
    assert "Held until:" in letter.body
    with person(in_process, admin, key) as ada:
        assert ada.send("GET", "/auth/users").status_code == 200
        held = ada.signed("POST", "/auth/users", {"email": "x@example.com", "kind": "CustomerEmployee"})
        assert refusal(held) == (403, "RECOVERY_HOLD")
    # To recover once more, in another way, makes it no shorter.
    challenge, last = begun(in_process, admin, again), NewKey()
    key = NewKey()
    new = {
        "firstFactorCredential": factor(challenge, key),
        "recoveryCredential": factor(challenge, last, "RecoveryKey"),
    }
    assert complete(admin, challenge, recovering(again, new)).status_code == 200
    with person(in_process, admin, key) as ada:
        assert refusal(enrol(ada, NewKey())) == (403, "RECOVERY_HOLD")
    assert "Held until:" in letters(in_process, ADA)[-1].body
    in_process.clock.move(seconds=72 * 3600)
    with person(in_process, admin, key) as ada:
        assert enrolled(ada, NewKey())["kind"] == "Key"
    # The same person by code: the mail is one more thing that a thief would need.
    challenge = begun(in_process, admin, last)
    key = NewKey()
    assert recover(admin, challenge, last, key).status_code == 200
    with person(in_process, admin, key) as ada:
        assert enrolled(ada, NewKey())["kind"] == "Key"


def test_a13_everybody_is_held_where_the_settings_say_so_and_a12_tries_are_counted(
    runner: asyncio.Runner, tmp_path: Path, database_url: str
) -> None:
    settings = {"recovery_hold_hours": 2, "code_tries_per_minute": 5, "username_requests_per_minute": 20}
    with InProcess(runner, tmp_path / "data", database_url, background=False, **settings) as server:
        tenants = beside(server.files.directory, database_url, server.values["baseUrl"])
        with server.caller(server.admin) as admin:
            recovery, key = NewKey(), NewKey()
            registered(server, admin, ADA, NewKey(), recovery)
            challenge = begun(server, admin, recovery)
            assert recover(admin, challenge, recovery, key).status_code == 200
            assert entries(tenants, "Recovered")[0]["details"]["heldUntil"]
            with person(server, admin, key) as ada:
                assert refusal(enrol(ada, NewKey())) == (403, "RECOVERY_HOLD")
                server.clock.move(seconds=7201)
                assert enrol(ada, NewKey()).status_code == 200
            # Tries of codes are counted by address, and questions about one name by name and address too.
            for number, path in enumerate(("recover/user", "registration", "login")):
                with server.caller(server.admin, f"203.0.113.{number}") as stranger:
                    tries = [refusal(trying(stranger, path, recovery)) for _ in range(6)]
                assert tries == [(403, "INVALID_CODE")] * 5 + [(429, "RATE_LIMITED")], path
            asked = [ask_code(admin, "nobody@example.com").status_code for _ in range(21)]
            assert asked == [200] * 20 + [429]


def trying(caller: Caller, what: str, recovery: NewKey) -> httpx.Response:
    """A wrong code, where one begins something with a code."""
    body = {
        "recover/user": {"verificationCode": WRONG, "credentialId": recovery.credential_id},
        "registration": {"registrationCode": WRONG},
        "login": {"loginCode": WRONG},
    }[what]
    return public(caller, "POST", f"/auth/{what}/init", {"username": ADA, **body})
