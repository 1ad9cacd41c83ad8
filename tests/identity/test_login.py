"""Login by key, passkey and protected key: what strangers learn, what a lost answer costs, how sessions end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pytest

from countersign.access import jwt, temporary_tokens
from countersign.credentials.outcome import Refused
from countersign.encoding import base64url
from countersign.identity import delegated_sessions, logins, sessions, users
from countersign.storage import Statement, Transaction
from tests.identity.conftest import allow_origin
from tests.support.answers import refusal
from tests.support.authenticator import UP
from tests.support.caller import Caller
from tests.support.enrolment import NewKey, NewPasskey, enrolled
from tests.support.entering import begin, code_for, factor, finish, identified, invited, letters, public, registered
from tests.support.inprocess import InProcess
from tests.support.interleaving import before_it_commits
from tests.support.tenants import Tenants

ADA = "ada@example.com"
UNKNOWN_ORGANISATION = "or-00000-00000-0000000000000000"
KEY = {"scheme": "EdDSA", "curve": "ed25519"}


@pytest.fixture(params=["open", "concealing"])
def conceals(request: pytest.FixtureRequest) -> bool:
    """Whether the server conceals who exists; a test that asks for this runs with both."""
    return bool(request.param == "concealing")


@pytest.fixture
def in_process(
    request: pytest.FixtureRequest, runner: asyncio.Runner, tmp_path: Path, database_url: str
) -> Iterator[InProcess]:
    """A server that conceals who exists, unless the test wants both."""
    both = "conceals" in request.fixturenames
    settings = {"login_enumeration_protection": request.getfixturevalue("conceals") if both else True}
    with InProcess(runner, tmp_path / "data", database_url, background=False, **settings) as server:
        yield server


@pytest.fixture
def ada(in_process: InProcess, admin: Caller) -> NewKey:
    """The key that Ada registered with."""
    key = NewKey()
    registered(in_process, admin, ADA, key)
    return key


def ask(caller: Caller, username: str | None = ADA, **members: Any) -> httpx.Response:
    body: dict[str, Any] = {"orgId": caller.connection["orgId"], **members}
    if username is not None:
        body["username"] = username
    return public(caller, "POST", "/auth/login/init", body)


def answer(caller: Caller, challenge: dict[str, Any], first: dict[str, Any], **members: Any) -> httpx.Response:
    body = {"challengeIdentifier": challenge["challengeIdentifier"], "firstFactor": first, **members}
    return public(caller, "POST", "/auth/login", body)


def log_in(caller: Caller, key: NewKey | NewPasskey, username: str | None = ADA) -> httpx.Response:
    challenge = ask(caller, username).json()
    return answer(caller, challenge, key.factor(challenge["challenge"]))


def token_of(answered: httpx.Response) -> str:
    assert answered.status_code == 200, answered.text
    token: str = answered.json()["token"]
    return token


def with_token(caller: Caller, token: str) -> httpx.Response:
    return caller.http.get("/auth/credentials", headers={"Authorization": f"Bearer {token}"})


def user_id_of(tenants: Tenants, username: str = ADA) -> str:
    user_id: str = tenants.execute("SELECT user_id FROM users WHERE username = ?", username)[0][0]
    return user_id


def claims(token: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(base64url.decode(token.split(".")[1]))
    return value


def let_her(tenants: Tenants) -> None:
    """Give Ada every right."""
    tenants.execute(
        "INSERT INTO permission_assignments (org_id, assignment_id, permission_id, identity_id, is_immutable, "
        "created_at, updated_at) SELECT p.org_id, 'as-of-a-test', p.permission_id, u.user_id, 0, 0, 0 FROM users u "
        "JOIN permissions p ON p.org_id = u.org_id AND p.name = 'ManagedFullAdminAccess' WHERE u.username = ?",
        ADA,
    )


def test_a_registered_user_logs_in_by_key(admin: Caller, ada: NewKey, tenants: Tenants) -> None:
    challenge = ask(admin, "ADA@example.com").json()
    assert challenge["allowCredentials"]["key"] == [{"type": "public-key", "id": ada.credential_id}]
    assert challenge["supportedCredentialKinds"] == [{"kind": "Key", "factor": "either", "requiresSecondFactor": False}]
    token = token_of(answer(admin, challenge, ada.factor(challenge["challenge"])))
    said = claims(token)
    assert said["sub"] == admin.connection["orgId"]
    assert said["jti"].startswith("uj-")
    assert said["exp"] - said["iat"] == 21_600
    assert said["https://custom/username"] == ADA
    assert said["https://custom/app_metadata"] == {
        "userId": user_id_of(tenants),
        "orgId": admin.connection["orgId"],
        "tokenKind": "Token",
    }
    assert with_token(admin, token).json()["items"][0]["credentialId"] == ada.credential_id


def test_who_registered_and_logged_in_signs_with_a_key(
    admin: Caller, in_process: InProcess, ada: NewKey, tenants: Tenants
) -> None:
    let_her(tenants)
    connection = {**admin.connection, "authToken": token_of(log_in(admin, ada)), "credentialId": ada.credential_id}
    with in_process.caller(connection) as person:
        person.key = ada.key
        key = person.create_key()
        signed = person.signed("POST", f"/keys/{key}/signatures", {"kind": "Message", "message": "0x00"})
        assert signed.json()["status"] == "Signed"


def test_a_passkey_logs_in_by_name_and_without(admin: Caller, in_process: InProcess, tenants: Tenants) -> None:
    made = invited(admin, ADA)
    challenge = begin(admin, ADA, code_for(in_process, ADA)).json()
    passkey = NewPasskey(made["userId"])
    assert finish(admin, challenge, passkey, "Fido2").status_code == 200
    for username in (ADA, None):
        passkey.counter += 1
        assert with_token(admin, token_of(log_in(admin, passkey, username))).status_code == 200
    discoverable = ask(admin, None).json()
    assert discoverable["allowCredentials"] == {"key": [], "passwordProtectedKey": [], "webauthn": []}
    assert [kind["kind"] for kind in discoverable["supportedCredentialKinds"]] == ["Fido2"]
    foreign = NewKey()
    registered(in_process, admin, "grace@example.com", foreign)
    passkey.counter += 1
    first, second = (each.factor(discoverable["challenge"]) for each in (passkey, foreign))
    assert refusal(answer(admin, discoverable, first, secondFactor=second)) == (401, "ASSERTION_INVALID")
    other = tenants.organisation()
    allow_origin(tenants, other.org_id)
    elsewhere = ask(admin, None, orgId=other.org_id).json()
    first = passkey.factor(elsewhere["challenge"])
    assert refusal(answer(admin, elsewhere, first)) == (401, "ASSERTION_INVALID")


def test_threat_31_without_a_name_the_user_handle_says_whose_the_passkey_is(
    admin: Caller, in_process: InProcess, tenants: Tenants
) -> None:
    made = invited(admin, ADA)
    passkey = NewPasskey(made["userId"])
    finish(admin, begin(admin, ADA, code_for(in_process, ADA)).json(), passkey, "Fido2")
    challenge = ask(admin, None).json()
    for handle in ("", user_id_of(tenants, "admin@sandbox.local")):
        first = passkey.factor(challenge["challenge"], user_handle=handle)
        assert refusal(answer(admin, challenge, first)) == (401, "ASSERTION_INVALID")


def test_a_key_does_not_log_in_without_a_name(admin: Caller, ada: NewKey, conceals: bool) -> None:
    expected = (401, "ASSERTION_INVALID" if conceals else "NO_CREDENTIAL")
    assert refusal(log_in(admin, ada, None)) == expected


@pytest.mark.parametrize(
    "members", [{"origin": "https://evil.example"}, {"crossOrigin": True}, {"challenge": "AAAA"}, {"flags": UP}]
)
def test_a6_threats_27_28_30_a_passkey_from_elsewhere_does_not_log_in(
    admin: Caller, in_process: InProcess, tenants: Tenants, members: dict[str, Any]
) -> None:
    made = invited(admin, ADA)
    passkey = NewPasskey(made["userId"])
    finish(admin, begin(admin, ADA, code_for(in_process, ADA)).json(), passkey, "Fido2")
    challenge = ask(admin).json()
    assert refusal(answer(admin, challenge, passkey.factor(challenge["challenge"], **members))) == (
        401,
        "ASSERTION_INVALID",
    )


def test_threat_29_a_cloned_passkey_does_not_log_in(admin: Caller, in_process: InProcess, tenants: Tenants) -> None:
    made = invited(admin, ADA)
    passkey = NewPasskey(made["userId"])
    finish(admin, begin(admin, ADA, code_for(in_process, ADA)).json(), passkey, "Fido2")
    for counter, expected in ((5, 200), (5, 401), (4, 401), (6, 200)):
        passkey.counter = counter
        assert log_in(admin, passkey).status_code == expected
    (row,) = tenants.execute("SELECT flagged_at FROM credentials WHERE user_id = ?", made["userId"])
    assert row[0] is not None


def test_threat_3_an_answer_opens_one_session(admin: Caller, ada: NewKey, tenants: Tenants) -> None:
    challenge = ask(admin).json()
    first = ada.factor(challenge["challenge"])
    assert answer(admin, challenge, first).status_code == 200
    # A lost answer: log in again.
    assert refusal(answer(admin, challenge, first)) == (400, "CHALLENGE_INVALID")
    assert log_in(admin, ada).status_code == 200
    rows = tenants.execute("SELECT COUNT(*) FROM tokens WHERE user_id = ? AND kind = 'Token'", user_id_of(tenants))
    assert rows[0][0] == 2


def test_threat_46_what_is_spent_is_not_forgotten_for_a_clock_that_is_behind(
    admin: Caller, ada: NewKey, in_process: InProcess
) -> None:
    challenge, services = ask(admin).json(), in_process.runtime.services
    first = ada.factor(challenge["challenge"])
    token_of(answer(admin, challenge, first))
    ahead = services.world.now() + 1_000_000
    in_process.runner.run(services.database.write(lambda: temporary_tokens.forget(ahead)))
    assert refusal(answer(admin, challenge, first)) == (400, "CHALLENGE_INVALID")


def test_a10_threat_32_names_that_cannot_log_in_are_answered_alike(
    admin: Caller, program: Caller, ada: NewKey, tenants: Tenants, conceals: bool
) -> None:
    invited(admin, "unregistered@example.com")
    grace = invited(admin, "grace@example.com")
    admin.signed("PUT", f"/auth/users/{grace['userId']}/deactivate", {})
    gone = invited(admin, "gone@example.com")
    admin.signed("DELETE", f"/auth/users/{gone['userId']}")
    names = {
        "nobody@example.com": (401, "USER_NOT_FOUND"),
        "\u200b": (401, "USER_NOT_FOUND"),
        "sandbox": (401, "USER_NOT_FOUND"),
        "gone@example.com": (401, "USER_NOT_FOUND"),
        "grace@example.com": (400, "USER_DEACTIVATED"),
        "unregistered@example.com": (401, "NO_CREDENTIAL"),
    }
    if not conceals:
        assert {name: refusal(ask(admin, name)) for name in names} == names
        return
    true = ask(admin, ADA).json()
    true_shape = shape_of(true)
    ids = set()
    for name in names:
        asked = ask(admin, name)
        assert asked.status_code == 200
        challenge = asked.json()
        assert shape_of(challenge) == true_shape
        (decoy,) = challenge["allowCredentials"]["webauthn"]
        assert len(base64url.decode(decoy["id"])) == 32
        assert ask(admin, name.upper()).json()["allowCredentials"]["webauthn"] == [decoy]
        ids.add(decoy["id"])
        stranger = NewPasskey("us-x", credential=base64url.decode(decoy["id"]))
        failed = answer(admin, challenge, stranger.factor(challenge["challenge"]))
        wrong = answer(admin, true, NewKey(credential_id=ada.credential_id).factor(true["challenge"]))
        assert told(failed) == told(wrong) if name == "grace@example.com" else refusal(failed)[0] == 401
    assert len(ids) == len(names)


def told(answered: httpx.Response) -> tuple[int, dict[str, Any]]:
    """All that a refusal tells."""
    return answered.status_code, {**answered.json(), "error": {**answered.json()["error"], "id": ""}}


def shape_of(challenge: dict[str, Any]) -> Any:
    """What of a challenge must not tell who it is for: members, lengths and readable claims."""
    token = challenge["challengeIdentifier"]
    readable = claims(token)
    metadata = readable["https://custom/app_metadata"]
    return (
        sorted(challenge),
        sorted(readable),
        sorted(metadata),
        {name: len(value) if isinstance(value, str) else value for name, value in metadata.items()},
        readable.get("https://custom/username", ""),
        len(token),
    )


def test_a10_wrong_credential_and_locked_user_are_answered_like_an_unknown_one(
    admin: Caller, ada: NewKey, tenants: Tenants, conceals: bool
) -> None:
    challenge = ask(admin).json()
    signed = challenge["challenge"]
    wrong_signature = answer(admin, challenge, NewKey(credential_id=ada.credential_id).factor(signed))
    unknown_credential = answer(admin, challenge, NewKey().factor(signed))
    another_kind = answer(admin, challenge, ada.factor(signed, "PasswordProtectedKey"))
    assert refusal(wrong_signature) == (401, "ASSERTION_INVALID")
    if conceals:
        assert told(wrong_signature) == told(unknown_credential) == told(another_kind)
    else:
        assert refusal(unknown_credential) == refusal(another_kind) == (401, "NO_CREDENTIAL")
    tenants.execute("UPDATE users SET state = 'Inactive' WHERE username = ?", ADA)
    locked = answer(admin, challenge, ada.factor(signed))
    if conceals:
        assert told(locked) == told(wrong_signature)
    else:
        assert refusal(locked) == (400, "USER_DEACTIVATED")


def test_a10_the_database_is_asked_the_same_whoever_is_named(admin: Caller, ada: NewKey, in_process: InProcess) -> None:
    challenge, decoy = ask(admin).json(), ask(admin, "nobody@example.com").json()
    wrong = NewKey(credential_id=ada.credential_id)
    pairs = [
        (lambda: ask(admin), lambda: ask(admin, "nobody@example.com")),
        (
            lambda: answer(admin, challenge, wrong.factor(challenge["challenge"])),
            lambda: answer(admin, decoy, NewKey().factor(decoy["challenge"])),
        ),
        (
            lambda: ask(admin, ADA, loginCode="2222-2222-2222-2222"),
            lambda: ask(admin, "nobody@example.com", loginCode="2222-2222-2222-2222"),
        ),
        (
            lambda: begin(admin, ADA, "2222-2222-2222-2222"),
            lambda: begin(admin, "nobody@example.com", "2222-2222-2222-2222"),
        ),
    ]
    for known, unknown in pairs:
        counted = []
        for call in (known, unknown):
            before = in_process.statistics
            call()
            now = in_process.statistics
            counted.append((now.statements - before.statements, now.commits - before.commits))
        assert counted[0] == counted[1]


def test_five_wrong_answers_end_a_challenge_and_no_other(admin: Caller, ada: NewKey) -> None:
    challenge, other = ask(admin).json(), ask(admin).json()
    for _ in range(5):
        bad = NewKey(credential_id=ada.credential_id).factor(challenge["challenge"])
        assert refusal(answer(admin, challenge, bad)) == (401, "ASSERTION_INVALID")
    good = ada.factor(challenge["challenge"])
    assert refusal(answer(admin, challenge, good)) == (400, "CHALLENGE_INVALID")
    assert answer(admin, other, ada.factor(other["challenge"])).status_code == 200


def test_a_challenge_ends_with_its_time_and_with_the_state_of_its_user(
    admin: Caller, ada: NewKey, tenants: Tenants, in_process: InProcess
) -> None:
    challenge = ask(admin).json()
    in_process.clock.move(seconds=901)
    assert refusal(answer(admin, challenge, ada.factor(challenge["challenge"]))) == (400, "CHALLENGE_INVALID")
    in_process.clock.move(seconds=-901)
    tenants.execute("UPDATE users SET epoch = epoch + 1 WHERE username = ?", ADA)
    assert refusal(answer(admin, challenge, ada.factor(challenge["challenge"]))) == (400, "CHALLENGE_INVALID")
    assert log_in(admin, ada).status_code == 200


def test_a_login_is_decided_by_what_holds_when_it_is_written(
    admin: Caller, ada: NewKey, in_process: InProcess, tenants: Tenants
) -> None:
    enter = logins.enter
    for change, back in (
        ("users SET is_sso_required = 1", "users SET is_sso_required = 0"),
        ("users SET state = 'Inactive'", "users SET state = 'Active'"),
        ("users SET epoch = epoch + 1", "users SET epoch = epoch - 1"),
        ("credentials SET state = 'Inactive'", "credentials SET state = 'Active'"),
        ("credentials SET epoch = epoch + 1", "credentials SET epoch = epoch - 1"),
        ("organisations SET is_active = 0", "organisations SET is_active = 1"),
    ):

        def meanwhile(*arguments: Any, sql: str = f"UPDATE {change}") -> Transaction[str | Refused]:
            yield Statement("of_a_test", sql), ()
            return (yield from enter(*arguments))

        with mock.patch.object(logins, "enter", meanwhile):
            assert refusal(log_in(admin, ada)) == (400, "CHALLENGE_INVALID"), change
        tenants.execute(f"UPDATE {back}")

    def too_late(*arguments: Any) -> Transaction[str | Refused]:
        in_process.clock.move(seconds=901)
        return enter(*arguments)

    with mock.patch.object(logins, "enter", too_late):
        assert refusal(log_in(admin, ada)) == (400, "CHALLENGE_INVALID")
    assert log_in(admin, ada).status_code == 200


def test_threat_18_who_is_shut_out_as_they_come_in_has_no_session(
    admin: Caller, program: Caller, ada: NewKey, in_process: InProcess, tenants: Tenants
) -> None:
    if not tenants.url.startswith("postgresql"):
        pytest.skip("on SQLite one transaction follows the other")
    enter, asked, services = logins.enter, list[Any](), in_process.runtime.services

    def not_yet(*arguments: Any) -> Transaction[str | Refused]:
        asked.extend(arguments)
        yield Statement("of_a_test", "SELECT 1"), ()
        return Refused("not yet")

    caller = identified(in_process, token_of(log_in(admin, ada)))
    with mock.patch.object(logins, "enter", not_yet):
        log_in(admin, ada)
    end_user(program)
    ring, world, org_id, by = services.ring, services.world, caller.org_id, in_process.values["userId"]
    ways: dict[str, tuple[str, Callable[[], Transaction[Any]]]] = {
        "login": (ADA, lambda: enter(*asked)),
        "exchange": (ADA, lambda: sessions.exchange(ring, caller, world)),
        "delegated": ("end user", lambda: delegated_sessions.open_for(ring, org_id, "end user", by, 60, world)),
    }
    for name, (username, come) in ways.items():
        user_id = user_id_of(tenants, username)
        tenants.execute("UPDATE users SET state = 'Active' WHERE user_id = ?", user_id)
        tenants.execute("UPDATE tokens SET state = 'Active' WHERE token_id = ?", caller.token_id)
        out = partial(users.deactivate, org_id, user_id)
        came, _ = in_process.runner.run(before_it_commits(services.database, tenants.url, come, out))
        assert not isinstance(came, Exception | Refused | None), (name, came)
        left = tenants.execute("SELECT name FROM tokens WHERE user_id = ? AND state = 'Active'", user_id)
        assert list(left) == [], name


def test_threat_32_only_who_holds_a_passkey_is_told_why_it_is_not_taken(
    admin: Caller, in_process: InProcess, ada: NewKey, tenants: Tenants
) -> None:
    session = token_of(log_in(admin, ada))
    passkey = NewPasskey(user_id_of(tenants))
    with in_process.caller({**admin.connection, "authToken": session, "credentialId": ada.credential_id}) as person:
        person.key = ada.key
        enrolled(person, passkey, "Fido2")
    stranger = NewPasskey(passkey.user_id, credential=passkey.credential)
    told = []
    for each in (passkey, stranger, NewPasskey(passkey.user_id)):
        challenge = ask(admin).json()
        first = each.factor(challenge["challenge"], origin="https://elsewhere.localhost")
        refused = answer(admin, challenge, first)
        assert refusal(refused) == (401, "ASSERTION_INVALID")
        told.append(refused.json()["error"]["details"].get("cause"))
    assert told == ["origin", None, None]


def test_threat_16_a_challenge_of_another_purpose_does_not_log_in(
    admin: Caller, ada: NewKey, in_process: InProcess
) -> None:
    key = NewKey()
    enrolled(admin, key)
    for challenge in (
        admin.challenge("POST", "/keys", KEY),
        admin.send("POST", "/auth/credentials/init", {"kind": "Key"}).json(),
    ):
        first = ada.factor(challenge["challenge"])
        assert refusal(answer(admin, challenge, first)) == (400, "CHALLENGE_INVALID")
    challenge = ask(admin).json()
    assert with_token(admin, challenge["challengeIdentifier"]).status_code == 401


def test_threat_14_a_credential_logs_in_to_its_own_organisation_only(
    admin: Caller, ada: NewKey, tenants: Tenants, conceals: bool
) -> None:
    other = tenants.organisation()
    allow_origin(tenants, other.org_id)
    for org_id in (other.org_id, UNKNOWN_ORGANISATION):
        asked = ask(admin, ADA, orgId=org_id)
        if conceals:
            challenge = asked.json()
            assert refusal(answer(admin, challenge, ada.factor(challenge["challenge"]))) == (401, "ASSERTION_INVALID")
        else:
            assert refusal(asked) == (401, "USER_NOT_FOUND")
    assert refusal(public(admin, "POST", "/auth/login/init", {"username": ADA})) == (400, "VALIDATION")


def test_a_second_factor_is_another_credential_of_the_same_user(
    admin: Caller, in_process: InProcess, ada: NewKey, conceals: bool
) -> None:
    session = token_of(log_in(admin, ada))
    second = NewKey()
    with in_process.caller({**admin.connection, "authToken": session, "credentialId": ada.credential_id}) as person:
        person.key = ada.key
        enrolled(person, second)
    foreign = NewKey()
    registered(in_process, admin, "grace@example.com", foreign)
    challenge = ask(admin).json()
    first = ada.factor(challenge["challenge"])
    refused = (401, "ASSERTION_INVALID" if conceals else "NO_CREDENTIAL")
    for wrong in (ada, foreign):
        with_wrong = answer(admin, challenge, first, secondFactor=wrong.factor(challenge["challenge"]))
        assert refusal(with_wrong) == refused
    bad = NewKey(credential_id=second.credential_id).factor(challenge["challenge"])
    assert refusal(answer(admin, challenge, first, secondFactor=bad)) == (401, "ASSERTION_INVALID")
    good = answer(admin, challenge, first, secondFactor=second.factor(challenge["challenge"]))
    assert good.status_code == 200


def test_passwords_recovery_keys_and_keys_of_tokens_do_not_log_in(
    admin: Caller, in_process: InProcess, ada: NewKey, tenants: Tenants, conceals: bool
) -> None:
    let_her(tenants)
    challenge = ask(admin).json()
    password = {"kind": "Password", "password": "x"}
    assert refusal(answer(admin, challenge, password)) == (400, "CREDENTIAL_KIND_DISABLED")
    recovery = ada.factor(challenge["challenge"], "RecoveryKey")
    assert refusal(answer(admin, challenge, recovery)) == (400, "VALIDATION")
    refused = (401, "ASSERTION_INVALID" if conceals else "NO_CREDENTIAL")
    session = token_of(log_in(admin, ada))
    with in_process.caller({**admin.connection, "authToken": session, "credentialId": ada.credential_id}) as person:
        person.key = ada.key
        key = NewKey()
        made = person.signed("POST", "/auth/pats", {"name": "program", "publicKey": key.pem}).json()
        key.credential_id = made["credId"]
    challenge = ask(admin).json()
    assert key.credential_id not in [item["id"] for item in challenge["allowCredentials"]["key"]]
    assert refusal(answer(admin, challenge, key.factor(challenge["challenge"]))) == refused
    in_service = in_process.service
    with in_process.caller(in_service) as program:
        stolen = program.assertion(challenge["challenge"])
    assert refusal(answer(admin, challenge, stolen)) == refused


@pytest.fixture
def protected(in_process: InProcess, admin: Caller) -> NewKey:
    """The key that Ada registered with, its private half kept on the server."""
    invited(admin, ADA)
    challenge = begin(admin, ADA, code_for(in_process, ADA)).json()
    key = NewKey()
    first = factor(challenge, key, "PasswordProtectedKey", encryptedPrivateKey="opaque")
    token = challenge["temporaryAuthenticationToken"]
    assert public(admin, "POST", "/auth/registration", {"firstFactorCredential": first}, token).status_code == 200
    return key


def send_code(caller: Caller, username: str = ADA) -> httpx.Response:
    return public(caller, "POST", "/auth/login/code", {"username": username, "orgId": caller.connection["orgId"]})


def test_a9_threat_33_an_encrypted_key_is_handed_out_once_for_a_mailed_code(
    admin: Caller, in_process: InProcess, protected: NewKey, conceals: bool
) -> None:
    without = ask(admin)
    assert "opaque" not in without.text
    if not conceals:
        assert refusal(without) == (401, "NO_CREDENTIAL")
    assert send_code(admin).json() == {"message": "success"}
    code = code_for(in_process, ADA)
    challenge = ask(admin, ADA, loginCode=code.lower()).json()
    assert challenge["allowCredentials"]["passwordProtectedKey"] == [
        {"type": "public-key", "id": protected.credential_id, "encryptedPrivateKey": "opaque"}
    ]
    signed = protected.factor(challenge["challenge"], "PasswordProtectedKey")
    assert answer(admin, challenge, signed).status_code == 200
    for typed in (code, code.replace("-", " "), f" {code.lower()}"):
        assert refusal(ask(admin, ADA, loginCode=typed)) == (403, "INVALID_CODE")
    # After a lost answer: another code.
    send_code(admin)
    assert ask(admin, ADA, loginCode=code_for(in_process, ADA)).status_code == 200


def test_threat_33_an_encrypted_key_does_not_log_in_without_a_code(admin: Caller, in_process: InProcess) -> None:
    invited(admin, ADA)
    challenge, key, kept = begin(admin, ADA, code_for(in_process, ADA)).json(), NewKey(), NewKey()
    second = factor(challenge, kept, "PasswordProtectedKey", encryptedPrivateKey="opaque")
    new = {"firstFactorCredential": factor(challenge, key), "secondFactorCredential": second}
    token = challenge["temporaryAuthenticationToken"]
    assert public(admin, "POST", "/auth/registration", new, token).status_code == 200
    challenge = ask(admin).json()
    assert challenge["allowCredentials"]["passwordProtectedKey"] == []
    signed = kept.factor(challenge["challenge"], "PasswordProtectedKey")
    assert refusal(answer(admin, challenge, signed)) == (401, "ASSERTION_INVALID")


def test_a_login_code_ends_after_ten_minutes_with_a_newer_one_and_with_the_state_of_its_user(
    admin: Caller, in_process: InProcess, protected: NewKey, tenants: Tenants
) -> None:
    send_code(admin)
    old = code_for(in_process, ADA)
    in_process.clock.move(seconds=3601)
    assert refusal(ask(admin, ADA, loginCode=old)) == (403, "INVALID_CODE")
    send_code(admin)
    older = code_for(in_process, ADA)
    send_code(admin)
    newer = code_for(in_process, ADA)
    assert refusal(ask(admin, ADA, loginCode=older)) == (403, "INVALID_CODE")
    tenants.execute("UPDATE users SET epoch = epoch + 1 WHERE username = ?", ADA)
    assert refusal(ask(admin, ADA, loginCode=newer)) == (403, "INVALID_CODE")


def test_login_codes_go_to_users_of_protected_keys_five_times_an_hour(
    admin: Caller, in_process: InProcess, protected: NewKey
) -> None:
    for _ in range(7):
        assert send_code(admin).json() == {"message": "success"}
        letters(in_process, ADA)
    assert [letter.kind for letter in letters(in_process, ADA)].count("LoginCode") == 5
    assert ask(admin, ADA, loginCode=code_for(in_process, ADA)).status_code == 200
    for name in ("admin@sandbox.local", "nobody@example.com", "sandbox", "\u200b"):
        assert send_code(admin, name).json() == {"message": "success"}
        assert letters(in_process, name) == []


def test_an_answer_that_is_lost_costs_a_code_and_no_login(
    admin: Caller, in_process: InProcess, protected: NewKey
) -> None:
    # Each code is used up by a challenge that never came: another is sent, beyond the five an hour too.
    for _ in range(7):
        send_code(admin)
        challenge = ask(admin, ADA, loginCode=code_for(in_process, ADA)).json()
    first = protected.factor(challenge["challenge"], "PasswordProtectedKey")
    for expected in (200, 400):
        assert answer(admin, challenge, first).status_code == expected
    send_code(admin)
    challenge = ask(admin, ADA, loginCode=code_for(in_process, ADA)).json()
    first = protected.factor(challenge["challenge"], "PasswordProtectedKey")
    assert answer(admin, challenge, first).status_code == 200


def test_a10_a_wrong_login_code_says_nothing_of_who_exists(
    admin: Caller, in_process: InProcess, protected: NewKey, conceals: bool
) -> None:
    wrong = "2222-2222-2222-2222"
    first = ask(admin, ADA, loginCode=wrong)
    assert refusal(first) == (403, "INVALID_CODE")
    if conceals:
        for name in ("nobody@example.com", "admin@sandbox.local", "\u200b"):
            assert told(ask(admin, name, loginCode=wrong)) == told(first)
    # A protected key is not used with a challenge that was made without a code.
    send_code(admin)
    good = ask(admin, ADA, loginCode=code_for(in_process, ADA)).json()
    assert good["allowCredentials"]["passwordProtectedKey"]
    if conceals:
        bare = ask(admin).json()
        signed = protected.factor(bare["challenge"], "PasswordProtectedKey")
        assert refusal(answer(admin, bare, signed)) == (401, "ASSERTION_INVALID")
    assert refusal(ask(admin, None, loginCode=wrong)) == (400, "VALIDATION")


def test_a_logout_ends_one_session_or_all_and_no_personal_access_token(
    admin: Caller, in_process: InProcess, ada: NewKey, tenants: Tenants
) -> None:
    let_her(tenants)
    one, two, three = (token_of(log_in(admin, ada)) for _ in range(3))
    with in_process.caller({**admin.connection, "authToken": one, "credentialId": ada.credential_id}) as person:
        person.key = ada.key
        program_key = NewKey()
        program = person.signed("POST", "/auth/pats", {"name": "p", "publicKey": program_key.pem}).json()
    bearer = {"Authorization": f"Bearer {one}"}
    # The TypeScript SDK sends neither a body nor its type.
    assert admin.http.put("/auth/logout", headers=bearer).json() == {"message": "success"}
    in_process.clock.move(seconds=1)
    assert [with_token(admin, token).status_code for token in (one, two, three)] == [401, 200, 200]
    bearer = {"Authorization": f"Bearer {two}"}
    assert admin.http.put("/auth/logout", headers=bearer, json={"allSessions": True}).status_code == 200
    in_process.clock.move(seconds=1)
    assert [with_token(admin, token).status_code for token in (two, three)] == [401, 401]
    token = program["accessToken"]
    assert with_token(admin, token).status_code == 200
    refused = admin.http.put("/auth/logout", headers={"Authorization": f"Bearer {token}"})
    assert refusal(refused) == (403, "CALLER_KIND_REFUSED")
    assert log_in(admin, ada).status_code == 200


def exchange(admin: Caller, token: str, target: str) -> httpx.Response:
    bearer = {"Authorization": f"Bearer {token}"}
    return admin.http.post("/auth/tokens", headers=bearer, json={"target": target})


def test_a_session_is_exchanged_once_for_one_that_lives_no_longer(
    admin: Caller, in_process: InProcess, ada: NewKey, tenants: Tenants
) -> None:
    let_her(tenants)
    first, org_id = token_of(log_in(admin, ada)), in_process.values["orgId"]
    in_process.clock.move(seconds=60)
    second = token_of(exchange(admin, first, org_id))
    assert claims(second)["exp"] <= claims(first)["exp"]
    assert with_token(admin, second).status_code == 200
    assert refusal(exchange(admin, first, org_id)) == (401, "UNAUTHENTICATED")
    in_process.clock.move(seconds=1)
    assert with_token(admin, first).status_code == 401
    rows = tenants.execute(
        "SELECT t.name, t.credential_uuid FROM tokens t JOIN users u ON u.org_id = t.org_id AND u.user_id = t.user_id "
        "WHERE u.username = ? AND t.kind = 'Token' ORDER BY t.token_id DESC LIMIT 2",
        ADA,
    )
    assert rows[0] == rows[1]


def test_a_logout_of_all_sessions_ends_one_that_is_exchanged_meanwhile(
    admin: Caller, ada: NewKey, in_process: InProcess, tenants: Tenants
) -> None:
    if not tenants.url.startswith("postgresql"):
        pytest.skip("on SQLite one transaction follows the other")
    services, caller = in_process.runtime.services, identified(in_process, token_of(log_in(admin, ada)))
    in_process.runner.run(
        before_it_commits(
            services.database,
            tenants.url,
            lambda: sessions.exchange(services.ring, caller, services.world),
            lambda: sessions.end(caller.org_id, caller.user_id, caller.token_id, every=True),
        )
    )
    left = tenants.execute("SELECT 1 FROM tokens WHERE user_id = ? AND state = 'Active'", caller.user_id)
    assert list(left) == []


def test_z2_a_session_is_exchanged_for_none_of_another_organisation(
    admin: Caller, in_process: InProcess, ada: NewKey, tenants: Tenants
) -> None:
    token = token_of(log_in(admin, ada))
    for target in ("or-00000-00000-0000000000000000", "", in_process.values["orgId"].upper()):
        assert refusal(exchange(admin, token, target)) == (403, "FORBIDDEN")
    assert refusal(exchange(admin, in_process.service["authToken"], in_process.values["orgId"])) == (
        403,
        "CALLER_KIND_REFUSED",
    )
    assert token_of(exchange(admin, token, in_process.values["orgId"]))


def test_a_session_that_ended_signs_nothing_at_once(admin: Caller, in_process: InProcess, ada: NewKey) -> None:
    session = token_of(log_in(admin, ada))
    connection = {**admin.connection, "authToken": session, "credentialId": ada.credential_id}
    with in_process.caller(connection) as person:
        person.key = ada.key
        body = {"credentialUuid": person.send("GET", "/auth/credentials").json()["items"][0]["credentialUuid"]}
        action = person.action_token("PUT", "/auth/credentials/activate", body)
        assert person.send("POST", "/auth/logout", {}).status_code == 200
        answered = person.send("PUT", "/auth/credentials/activate", body, action=action)
        assert refusal(answered)[0] in (401, 403)


def test_who_must_use_the_identity_provider_is_not_let_in_another_way(
    admin: Caller, ada: NewKey, tenants: Tenants
) -> None:
    tenants.execute("UPDATE users SET is_sso_required = 1 WHERE username = ?", ADA)
    assert refusal(log_in(admin, ada)) == (403, "SSO_REQUIRED")


def end_user(program: Caller, name: str = "end user", kind: str = "EndUser") -> NewKey:
    key = NewKey()
    challenge = program.signed("POST", "/auth/registration/delegated", {"email": name, "kind": kind}).json()
    assert finish(program, challenge, key).status_code == 200
    return key


def delegate(program: Caller, username: str = "end user") -> httpx.Response:
    return program.signed("POST", "/auth/login/delegated", {"username": username})


def test_a_service_account_opens_a_session_that_reads_and_signs_only_by_the_users_own_key(
    admin: Caller, program: Caller, in_process: InProcess, tenants: Tenants
) -> None:
    key = end_user(program)
    session = token_of(delegate(program, "END user"))
    assert with_token(program, session).json()["items"][0]["credentialId"] == key.credential_id
    user_id = claims(session)["https://custom/app_metadata"]["userId"]
    (row,) = tenants.execute("SELECT delegated_by FROM tokens WHERE user_id = ?", user_id)
    assert row[0] == in_process.values["userId"]
    connection = {**in_process.service, "authToken": session}
    with in_process.caller(connection) as person:
        challenge = person.challenge("POST", "/auth/credentials", {})
        # The service account's own key signs nothing here.
        assert refusal(person.answer(challenge)) == (401, "NO_CREDENTIAL")
        person.key, person.credential_id = key.key, key.credential_id
        enrolled(person, NewKey())
    entries = [json.loads(item[0]) for item in tenants.execute("SELECT entry FROM audit_entries")]
    (made,) = [entry for entry in entries if entry.get("path") == "/auth/credentials"]
    assert made["delegatedBy"] == in_process.values["userId"]


def test_threat_39_a_service_account_logs_in_as_nobody_who_logs_in_alone(
    admin: Caller, program: Caller, ada: NewKey, in_process: InProcess, tenants: Tenants
) -> None:
    assert refusal(delegate(program, ADA)) == (403, "FORBIDDEN")
    assert refusal(delegate(program, "admin@sandbox.local")) == (403, "FORBIDDEN")
    assert refusal(delegate(program, "sandbox")) == (401, "USER_NOT_FOUND")
    assert refusal(delegate(program, "nobody")) == (401, "USER_NOT_FOUND")
    assert refusal(delegate(admin, "end user")) == (403, "CALLER_KIND_REFUSED")
    program.signed("POST", "/auth/registration/delegated", {"email": "waiting", "kind": "EndUser"})
    assert refusal(delegate(program, "waiting")) == (401, "NO_CREDENTIAL")
    end_user(program, "grace@example.com", "CustomerEmployee")
    assert delegate(program, "grace@example.com").status_code == 200
    grace = user_id_of(tenants, "grace@example.com")
    for required, expected in ((True, 403), (False, 200)):
        assert admin.signed("PUT", f"/auth/users/{grace}", {"isSSORequired": required}).status_code == 200
        assert delegate(program, "grace@example.com").status_code == expected
    admin.signed("PUT", f"/auth/users/{grace}/deactivate", {})
    assert refusal(delegate(program, "grace@example.com")) == (400, "USER_DEACTIVATED")


def test_threat_15_a_session_is_a_token_of_this_server_only(admin: Caller, ada: NewKey) -> None:
    session = token_of(log_in(admin, ada))
    header, payload, signature = session.split(".")
    unsigned = base64url.encode(b'{"alg":"none","typ":"JWT"}')
    for forged in (
        f"{header}.{payload}.{'A' * len(signature)}",
        f"{unsigned}.{payload}.",
    ):
        assert with_token(admin, forged).status_code == 401
    assert len(session) < jwt.MAX_LENGTH
