"""Passkeys over HTTP: registration, signing, counters, second factors, and what the log keeps of them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from countersign.access.store import ADVANCE_COUNTER
from countersign.audit.entry import Action, decode
from countersign.audit.evidence import check_action
from countersign.encoding import base64url
from countersign.storage import Transaction
from tests.identity.conftest import allow_origin
from tests.support.answers import refusal
from tests.support.authenticator import AT, BE, UP, UV
from tests.support.caller import Caller
from tests.support.enrolment import (
    NewKey,
    NewPasskey,
    action_with,
    challenge_for,
    enrol,
    enrolled,
    new_body,
)
from tests.support.inprocess import InProcess
from tests.support.tenants import Identity, Tenants, beside

KEY = {"scheme": "EdDSA", "curve": "ed25519"}
MESSAGE = {"kind": "Message", "message": "0x00"}


def sign(caller: Caller, *factors: NewKey | NewPasskey) -> httpx.Response:
    return action_with(caller, "POST", "/keys", KEY, *factors)


@pytest.fixture
def passkey(caller: Caller, person: Identity) -> NewPasskey:
    """One that is enrolled."""
    new = NewPasskey(person.user_id)
    enrolled(caller, new, "Fido2")
    return new


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(lambda: ec.generate_private_key(ec.SECP256R1()), id="ES256"),
        pytest.param(lambda: rsa.generate_private_key(65537, 2048), id="RS256"),
        pytest.param(Ed25519PrivateKey.generate, id="EdDSA"),
    ],
)
def test_a_passkey_is_enrolled_offered_and_signs(caller: Caller, person: Identity, key: Any) -> None:
    new = NewPasskey(person.user_id, key())
    made = enrolled(caller, new, "Fido2")
    assert (made["kind"], made["credentialId"]) == ("Fido2", new.credential_id)
    assert (made["relyingPartyId"], made["origin"]) == (new.rp_id, new.origin)
    assert challenge_for(caller, "Fido2")["excludeCredentials"] == [{"type": "public-key", "id": new.credential_id}]
    challenge = caller.challenge("POST", "/keys", KEY)
    assert challenge["allowCredentials"]["webauthn"] == [{"type": "public-key", "id": new.credential_id}]
    assert {item["kind"] for item in challenge["supportedCredentialKinds"]} == {"Key", "Fido2"}
    token = caller.answer(challenge, firstFactor=new.factor(challenge["challenge"])).json()["userAction"]
    made_key = caller.send("POST", "/keys", KEY, action=token)
    assert made_key.status_code == 200
    signed = action_with(caller, "POST", f"/keys/{made_key.json()['id']}/signatures", MESSAGE, new)
    path = f"/keys/{made_key.json()['id']}/signatures"
    answer = caller.send("POST", path, MESSAGE, action=signed.json()["userAction"])
    assert answer.json()["status"] == "Signed"


def test_mobile_clients_sign_the_challenge_as_it_stands(caller: Caller, passkey: NewPasskey) -> None:
    challenge = caller.challenge("POST", "/keys", KEY)
    factor = passkey.factor(challenge["challenge"], challenge=challenge["challenge"])
    assert caller.answer(challenge, firstFactor=factor).status_code == 200


REGISTRATIONS: dict[str, dict[str, Any]] = {
    "another origin": {"origin": "https://app.localhost.evil.example"},
    "another port": {"origin": "https://app.localhost:8443"},
    "http": {"origin": "http://app.localhost"},
    "framed": {"crossOrigin": True},
    "an assertion": {"type": "webauthn.get"},
    "another challenge": {"challenge": "AAAA"},
}


@pytest.mark.parametrize("members", REGISTRATIONS.values(), ids=REGISTRATIONS)
def test_threat_27_28_a_registration_from_elsewhere_is_refused(
    caller: Caller, person: Identity, members: dict[str, Any]
) -> None:
    challenge = challenge_for(caller, "Fido2")
    info = NewPasskey(person.user_id).info(challenge["challenge"], **members)
    answer = caller.signed("POST", "/auth/credentials", new_body(challenge, info))
    assert refusal(answer) == (400, "ATTESTATION_INVALID")


@pytest.mark.parametrize("flags", [UP | AT, UV | AT, UP | UV], ids=["no UV", "no UP", "no AT"])
def test_threat_30_a_registration_without_the_person_is_refused(caller: Caller, person: Identity, flags: int) -> None:
    challenge = challenge_for(caller, "Fido2")
    info = NewPasskey(person.user_id).info(challenge["challenge"], flags)
    answer = caller.signed("POST", "/auth/credentials", new_body(challenge, info))
    assert refusal(answer) == (400, "ATTESTATION_INVALID")


def test_threat_26_the_id_must_be_that_of_the_attested_credential(caller: Caller, person: Identity) -> None:
    challenge = challenge_for(caller, "Fido2")
    info = {**NewPasskey(person.user_id).info(challenge["challenge"]), "credId": base64url.encode(bytes(32))}
    answer = caller.signed("POST", "/auth/credentials", new_body(challenge, info))
    assert refusal(answer) == (400, "ATTESTATION_INVALID")


def test_an_id_of_a_passkey_is_known_once_on_the_whole_server(
    caller: Caller, passkey: NewPasskey, shared_tenants: Tenants
) -> None:
    foreign = shared_tenants.organisation()
    allow_origin(shared_tenants, foreign.org_id)
    with Caller(foreign.connection) as other:
        again = NewPasskey(foreign.user_id, credential=passkey.credential)
        answer = enrol(other, again, "Fido2")
        assert refusal(answer) == (409, "CREDENTIAL_EXISTS")
        assert "duplicate" not in answer.json()["error"]["details"]
    assert sign(caller, passkey).status_code == 200


@pytest.mark.parametrize("members", REGISTRATIONS.values(), ids=REGISTRATIONS)
def test_a6_threat_27_28_an_assertion_from_elsewhere_is_refused(
    caller: Caller, passkey: NewPasskey, members: dict[str, Any]
) -> None:
    members = {**members, "type": "webauthn.create"} if "type" in members else members
    challenge = caller.challenge("POST", "/keys", KEY)
    factor = passkey.factor(challenge["challenge"], **members)
    assert refusal(caller.answer(challenge, firstFactor=factor)) == (401, "ASSERTION_INVALID")


@pytest.mark.parametrize("flags", [UP, UV, 0, UP | UV | BE, UP | UV | AT], ids=["no UV", "no UP", "none", "BE", "AT"])
def test_a6_threat_30_an_assertion_without_the_person_is_refused(
    caller: Caller, passkey: NewPasskey, flags: int
) -> None:
    challenge = caller.challenge("POST", "/keys", KEY)
    factor = passkey.factor(challenge["challenge"], flags)
    assert refusal(caller.answer(challenge, firstFactor=factor)) == (401, "ASSERTION_INVALID")


def test_a6_an_assertion_for_another_relying_party_is_refused(caller: Caller, passkey: NewPasskey) -> None:
    passkey.rp_id = "localhost.example"
    assert refusal(sign(caller, passkey)) == (401, "ASSERTION_INVALID")


def test_the_holder_of_a_passkey_is_told_what_to_mend(caller: Caller, person: Identity, passkey: NewPasskey) -> None:
    def cause(answer: httpx.Response) -> str:
        return str(answer.json()["error"]["details"].get("cause"))

    for counter in (2, 1):
        passkey.counter = counter
        last = sign(caller, passkey)
    assert cause(last) == "signatureCounter"
    challenge = caller.challenge("POST", "/keys", KEY)
    for flags, members, expected in (
        (UP, {}, "userVerification"),
        (UP | UV, {"origin": "https://app.localhost:8443"}, "origin"),
        (UP | UV, {"challenge": "AAAA"}, "None"),
    ):
        factor = passkey.factor(challenge["challenge"], flags, **members)
        assert cause(caller.answer(challenge, firstFactor=factor)) == expected
    passkey.rp_id = "localhost.example"
    assert cause(sign(caller, passkey)) == "relyingParty"
    challenge = challenge_for(caller, "Fido2")
    for new, flags, expected in (
        (NewPasskey(person.user_id, rp_id="localhost.example"), UP | UV | AT, "relyingParty"),
        (NewPasskey(person.user_id, origin="https://localhost:1"), UP | UV | AT, "origin"),
        (NewPasskey(person.user_id), UP | AT, "userVerification"),
    ):
        body = new_body(challenge, new.info(challenge["challenge"], flags))
        assert cause(caller.signed("POST", "/auth/credentials", body)) == expected


def test_a6_cut_and_extended_authenticator_data_are_refused(caller: Caller, passkey: NewPasskey) -> None:
    for change in (lambda data: data[:-1], lambda data: data + b"\x00", lambda data: b""):
        challenge = caller.challenge("POST", "/keys", KEY)
        factor = passkey.factor(challenge["challenge"])
        assertion = factor["credentialAssertion"]
        data = change(base64url.decode(assertion["authenticatorData"]))
        assertion["authenticatorData"] = base64url.encode(data) or "AA"
        assert refusal(caller.answer(challenge, firstFactor=factor)) == (401, "ASSERTION_INVALID")


def test_threat_31_the_user_handle_is_that_of_the_owner(caller: Caller, passkey: NewPasskey) -> None:
    challenge = caller.challenge("POST", "/keys", KEY)
    factor = passkey.factor(challenge["challenge"], user_handle="us-00000-00000-0000000000000000")
    assert refusal(caller.answer(challenge, firstFactor=factor)) == (401, "ASSERTION_INVALID")
    factor = passkey.factor(challenge["challenge"])
    del factor["credentialAssertion"]["userHandle"]
    assert caller.answer(challenge, firstFactor=factor).status_code == 200


def test_threat_27_an_origin_that_is_taken_away_signs_no_longer(
    caller: Caller, person: Identity, shared_tenants: Tenants
) -> None:
    origin = "https://other.localhost"
    insert = "INSERT INTO origins (org_id, app_id, rp_id, origin, created_at) VALUES (?, '', 'localhost', ?, 0)"
    shared_tenants.execute(insert, person.org_id, origin)
    new = NewPasskey(person.user_id, origin=origin)
    enrolled(caller, new, "Fido2")
    assert sign(caller, new).status_code == 200
    shared_tenants.execute("DELETE FROM origins WHERE origin = ?", origin)
    assert refusal(sign(caller, new)) == (401, "ASSERTION_INVALID")


def test_threat_29_a_counter_that_runs_back_is_refused_audited_and_noted(
    caller: Caller, passkey: NewPasskey, person: Identity, shared_tenants: Tenants
) -> None:
    for counter in (1, 2, 10):
        passkey.counter = counter
        assert sign(caller, passkey).status_code == 200
    for counter in (10, 9, 0):
        passkey.counter = counter
        assert refusal(sign(caller, passkey)) == (401, "ASSERTION_INVALID")
    rows = shared_tenants.execute(
        "SELECT sign_count, flagged_at FROM credentials WHERE credential_id = ?", passkey.credential_id
    )
    assert rows[0][0] == 10
    assert rows[0][1] is not None
    entries = shared_tenants.execute(
        "SELECT entry FROM audit_entries WHERE user_id = ? ORDER BY performed_at, entry_id", person.user_id
    )
    events = [entry for row in entries if (entry := json.loads(row[0])).get("event") == "SecurityEvent"]
    assert [(item["details"]["stored"], item["details"]["received"]) for item in events] == [
        ("10", "10"),
        ("10", "9"),
        ("10", "0"),
    ]
    # What is refused costs the true authenticator nothing.
    passkey.counter = 11
    assert sign(caller, passkey).status_code == 200


def test_threat_29_the_same_answer_to_the_same_challenge_is_a_retry(
    caller: Caller, passkey: NewPasskey, shared_tenants: Tenants
) -> None:
    passkey.counter = 5
    challenge = caller.challenge("POST", "/keys", KEY)
    factor = passkey.factor(challenge["challenge"])
    first = caller.answer(challenge, firstFactor=factor)
    passkey.counter = 6
    assert sign(caller, passkey).status_code == 200
    again = caller.answer(challenge, firstFactor=factor)
    assert (first.status_code, again.status_code) == (200, 200)
    # Two tokens, one action.
    spent = [caller.send("POST", "/keys", KEY, action=item.json()["userAction"]).status_code for item in (first, again)]
    assert spent == [200, 400]
    # A further answer under an old counter is a clone's.
    passkey.counter = 5
    other = caller.challenge("POST", "/keys", KEY)
    assert refusal(caller.answer(other, firstFactor=passkey.factor(other["challenge"]))) == (401, "ASSERTION_INVALID")


def test_threat_29_of_two_answers_judged_by_one_counter_one_is_stored(
    caller: Caller, passkey: NewPasskey, person: Identity, shared_tenants: Tenants
) -> None:
    """A clone and its original at once: both read the counter before either has moved it on."""
    passkey.counter = 7
    assert sign(caller, passkey).status_code == 200
    read = "SELECT credential_uuid, sign_count, accepted FROM credentials WHERE credential_id = ?"
    ((uuid, count, accepted),) = shared_tenants.execute(read, passkey.credential_id)

    def advance(to: int, over: int, marks: str) -> bool:
        def work() -> Transaction[bool]:
            return bool((yield ADVANCE_COUNTER, (to, accepted, person.org_id, uuid, over, marks)))

        return shared_tenants.run(work)

    assert not advance(9, count - 1, accepted)
    assert not advance(9, count, "other answers")
    assert advance(9, count, accepted)
    assert not advance(10, count, accepted)


def test_a_counter_policy_of_warn_only_tells(runner: asyncio.Runner, tmp_path: Path, database_url: str) -> None:
    with InProcess(runner, tmp_path / "warn", database_url, background=False, sign_counter_policy="warn") as server:
        tenants = beside(server.files.directory, database_url, server.values["baseUrl"])
        allow_origin(tenants, server.values["orgId"])
        person = tenants.session(server.values["orgId"], everything=True)
        with server.caller(person.connection) as caller:
            new = NewPasskey(person.user_id, counter=7)
            enrolled(caller, new, "Fido2")
            assert sign(caller, new).status_code == 200
            (row,) = tenants.execute("SELECT sign_count, flagged_at FROM credentials WHERE kind = 'Fido2'")
            assert row[0] == 7
            assert row[1] is not None


def test_a_passkey_that_does_not_count_costs_no_write(in_process: InProcess, tenants: Tenants) -> None:
    person = tenants.session(in_process.values["orgId"], everything=True)
    with in_process.caller(person.connection) as caller:
        silent, counting = NewPasskey(person.user_id), NewPasskey(person.user_id)
        for new in (silent, counting):
            enrolled(caller, new, "Fido2")
        counting.counter = 1
        written = []
        for new in (silent, counting):
            challenge = caller.challenge("POST", "/keys", KEY)
            before = in_process.statistics.write_transactions
            assert caller.answer(challenge, firstFactor=new.factor(challenge["challenge"])).status_code == 200
            written.append(in_process.statistics.write_transactions - before)
    # The background work of the server may write meanwhile; a silent passkey alone never does.
    assert written[0] <= written[1]
    assert written[1] >= 1


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_factors_sign_one_action_and_both_are_in_the_log(
    caller: Caller, passkey: NewPasskey, shared_tenants: Tenants, order: tuple[int, int]
) -> None:
    key = NewKey()
    enrolled(caller, key)
    factors = [(key, passkey)[index] for index in order]
    token = sign(caller, *factors).json()["userAction"]
    made = caller.send("POST", "/keys", KEY, action=token)
    assert made.status_code == 200
    entry, payload = logged(shared_tenants, made.json()["id"])
    assert entry.second_factor is not None
    kinds = [entry.credential.kind, entry.second_factor.credential.kind]
    assert kinds == [("Key", "Fido2")[index] for index in order]
    assert check_action(entry, payload) is None
    assert {entry.credential.relying_party_id, entry.second_factor.credential.relying_party_id} == {None, "localhost"}


def logged(tenants: Tenants, entity_id: str) -> tuple[Action, str]:
    """The action that made the entity, and its payload as it was signed."""
    rows = tenants.execute("SELECT entry FROM audit_entries WHERE entry LIKE ?", f"%{entity_id}%")
    (entry,) = [item for row in rows if isinstance(item := decode(row[0]), Action)]
    return entry, json.dumps(KEY, separators=(",", ":"), sort_keys=True)


def test_a_consent_by_a_passkey_is_verified_from_the_log_alone(
    caller: Caller, passkey: NewPasskey, shared_tenants: Tenants
) -> None:
    token = sign(caller, passkey).json()["userAction"]
    made = caller.send("POST", "/keys", KEY, action=token).json()
    entry, payload = logged(shared_tenants, made["id"])
    assert (entry.credential.kind, entry.credential.relying_party_id) == ("Fido2", "localhost")
    assert check_action(entry, payload) is None


def test_a_bad_second_factor_fails_the_answer(caller: Caller, passkey: NewPasskey) -> None:
    key = NewKey()
    enrolled(caller, key)
    challenge = caller.challenge("POST", "/keys", KEY)
    good, text = key.factor(challenge["challenge"]), challenge["challenge"]
    bad = passkey.factor(text, UP)
    assert refusal(caller.answer(challenge, firstFactor=good, secondFactor=bad)) == (401, "ASSERTION_INVALID")
    assert refusal(caller.answer(challenge, firstFactor=good, secondFactor=good)) == (401, "ASSERTION_INVALID")


def test_a_second_factor_that_is_deactivated_cancels_the_action(caller: Caller, passkey: NewPasskey) -> None:
    key = NewKey()
    uuid = enrolled(caller, key)["credentialUuid"]
    token = sign(caller, passkey, key).json()["userAction"]
    caller.signed("PUT", "/auth/credentials/deactivate", {"credentialUuid": uuid})
    assert refusal(caller.send("POST", "/keys", KEY, action=token)) == (403, "USER_ACTION_INVALID")


def test_consents_by_passkeys_are_verified_anew_after_a_restart(in_process: InProcess, tenants: Tenants) -> None:
    person = tenants.session(in_process.values["orgId"], everything=True)
    tenants.introduce(person)
    with in_process.caller(person.connection) as caller:
        new, key = NewPasskey(person.user_id), NewKey()
        enrolled(caller, new, "Fido2")
        enrolled(caller, key)
        tokens = [sign(caller, *factors).json()["userAction"] for factors in ((new,), (key, new), (new, key))]
        in_process.restart()
    with in_process.caller(person.connection) as caller:
        assert [caller.send("POST", "/keys", KEY, action=token).status_code for token in tokens] == [200, 200, 200]
