"""Credentials over HTTP: adding, listing, activating, deactivating, deleting, in session."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from countersign.credentials.key_attestation import MAX_ENCRYPTED_PRIVATE_KEY
from countersign.encoding import base64url
from tests.clients.connection import Connection
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
from tests.support.server import Sandbox
from tests.support.tenants import Identity, Tenants
from tests.support.vectors import auth_vectors, named

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
KEY = {"scheme": "EdDSA", "curve": "ed25519"}


def code_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def listed(caller: Caller) -> dict[str, Any]:
    return {item["credentialUuid"]: item for item in caller.send("GET", "/auth/credentials").json()["items"]}


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(lambda: ec.generate_private_key(ec.SECP256K1()), id="secp256k1"),
        pytest.param(lambda: ec.generate_private_key(ec.SECP384R1()), id="P-384"),
        pytest.param(lambda: rsa.generate_private_key(65537, 2048), id="RSA"),
    ],
)
def test_a_key_is_enrolled_listed_and_signs(caller: Caller, key: Any) -> None:
    new = NewKey(key())
    made = enrolled(caller, new)
    assert made["name"] == "a credential"
    assert (made["kind"], made["isActive"], made["credentialId"]) == ("Key", True, new.credential_id)
    assert made["publicKey"].startswith("SHA256:")
    assert (made["relyingPartyId"], made["origin"]) == ("", "")
    assert listed(caller)[made["credentialUuid"]] == made
    token = action_with(caller, "POST", "/keys", KEY, new).json()["userAction"]
    assert caller.send("POST", "/keys", KEY, action=token).status_code == 200


def test_a_challenge_says_who_and_what(caller: Caller, person: Identity) -> None:
    for kind in ("Key", "PasswordProtectedKey", "RecoveryKey", "Fido2"):
        challenge = challenge_for(caller, kind)
        assert challenge["kind"] == kind
        assert challenge["user"]["id"] == person.user_id
        assert challenge["temporaryAuthenticationToken"] == challenge["challengeIdentifier"]
        assert challenge["rp"]["id"] == "localhost"
        assert [item["alg"] for item in challenge["pubKeyCredParams"]] == [-7, -257, -8]
        assert ("authenticatorSelection" in challenge) == ("excludeCredentials" in challenge) == (kind == "Fido2")


def test_a_password_protected_key_signs_and_its_ciphertext_comes_with_the_challenge(caller: Caller) -> None:
    new, wrapped = NewKey(), "opaque, whatever it is"
    enrolled(caller, new, "PasswordProtectedKey", encryptedPrivateKey=wrapped)
    challenge = caller.challenge("POST", "/keys", KEY)
    assert challenge["allowCredentials"]["passwordProtectedKey"] == [
        {"type": "public-key", "id": new.credential_id, "encryptedPrivateKey": wrapped}
    ]
    assert {item["kind"] for item in challenge["supportedCredentialKinds"]} == {"Key", "PasswordProtectedKey"}
    answer = caller.answer(challenge, firstFactor=new.factor(challenge["challenge"], "PasswordProtectedKey"))
    assert caller.send("POST", "/keys", KEY, action=answer.json()["userAction"]).status_code == 200


def test_a_recovery_key_is_kept_and_signs_nothing(caller: Caller) -> None:
    new = NewKey()
    made = enrolled(caller, new, "RecoveryKey", encryptedPrivateKey="opaque")
    assert listed(caller)[made["credentialUuid"]]["kind"] == "RecoveryKey"
    challenge = caller.challenge("POST", "/keys", KEY)
    assert new.credential_id not in str(challenge["allowCredentials"])
    for kind in ("Key", "PasswordProtectedKey"):
        answer = caller.answer(challenge, firstFactor=new.factor(challenge["challenge"], kind))
        assert code_of(answer) == (401, "NO_CREDENTIAL")
    refused = caller.answer(challenge, firstFactor=new.factor(challenge["challenge"], "RecoveryKey"))
    assert refused.status_code == 400


@pytest.mark.parametrize(
    ("kind", "members", "code"),
    [
        ("PasswordProtectedKey", {}, "VALIDATION"),
        ("PasswordProtectedKey", {"encryptedPrivateKey": "x" * (MAX_ENCRYPTED_PRIVATE_KEY + 1)}, "VALIDATION"),
        ("Key", {"encryptedPrivateKey": "x"}, "VALIDATION"),
        ("Key", {"credentialName": ""}, "VALIDATION"),
        ("Key", {"credentialName": "x" * 101}, "VALIDATION"),
        ("Key", {"credentialKind": "RecoveryKey"}, "CHALLENGE_INVALID"),
        ("Key", {"challengeIdentifier": "no.such.token"}, "CHALLENGE_INVALID"),
    ],
)
def test_what_does_not_fit_is_refused(caller: Caller, kind: str, members: dict[str, Any], code: str) -> None:
    before = listed(caller)
    assert code_of(enrol(caller, NewKey(), kind, **members)) == (400, code)
    assert listed(caller) == before


@pytest.mark.parametrize("kind", ["Password", "Totp", "SessionKey"])
def test_kinds_of_old_clients_are_disabled(caller: Caller, kind: str) -> None:
    answer = caller.send("POST", "/auth/credentials/init", {"kind": kind})
    assert code_of(answer) == (400, "CREDENTIAL_KIND_DISABLED")


@pytest.mark.parametrize("factor", [{"kind": "Password", "password": "x"}, {"kind": "Totp", "otpCode": "1"}])
def test_threat_60_factors_of_old_clients_are_disabled(caller: Caller, factor: dict[str, str]) -> None:
    challenge = caller.challenge("POST", "/keys", KEY)
    assert code_of(caller.answer(challenge, firstFactor=factor)) == (400, "CREDENTIAL_KIND_DISABLED")
    assert code_of(caller.answer(challenge, secondFactor=factor)) == (400, "CREDENTIAL_KIND_DISABLED")
    info = {"password": "x"} if factor["kind"] == "Password" else {"otpCode": "1"}
    answer = enrol(caller, NewKey(), "Key", credentialKind=factor["kind"], credentialInfo=info)
    assert code_of(answer) == (400, "CREDENTIAL_KIND_DISABLED")


def test_an_id_and_a_key_are_enrolled_once_even_after_deletion(caller: Caller, shared_tenants: Tenants) -> None:
    first = NewKey()
    made = enrolled(caller, first)
    for again in (NewKey(credential_id=first.credential_id + "=="), NewKey(first.key)):
        answer = enrol(caller, again)
        assert code_of(answer) == (409, "CREDENTIAL_EXISTS")
        assert answer.json()["error"]["details"]["duplicate"]["id"] == made["credentialUuid"]
    assert caller.signed("DELETE", f"/auth/credentials/{made['credentialUuid']}").json() == {}
    assert code_of(enrol(caller, first)) == (409, "CREDENTIAL_EXISTS")
    gone = {"credentialUuid": made["credentialUuid"]}
    assert code_of(caller.signed("PUT", "/auth/credentials/activate", gone)) == (404, "NOT_FOUND")
    org_id = caller.connection["orgId"]
    with Caller(shared_tenants.session(org_id, everything=True).connection) as other:
        answer = enrol(other, first)
        assert code_of(answer) == (409, "CREDENTIAL_EXISTS")
        assert "duplicate" not in answer.json()["error"]["details"]


def test_two_enrolments_of_one_key_at_once_make_one_credential(caller: Caller) -> None:
    new = NewKey()
    bodies = []
    for _ in range(4):
        challenge = challenge_for(caller, "Key")
        bodies.append(new_body(challenge, new.info(challenge["challenge"])))
    tokens = [caller.action_token("POST", "/auth/credentials", body) for body in bodies]
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(
                lambda pair: caller.send("POST", "/auth/credentials", pair[0], action=pair[1]),
                zip(bodies, tokens, strict=True),
            )
        )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]


def test_many_changes_at_once_of_the_callers_own_row_are_all_made(caller: Caller) -> None:
    path, body = (
        f"/auth/users/{caller.send('GET', '/auth/users').json()['items'][0]['userId']}",
        {"isSSORequired": False},
    )
    tokens = [caller.action_token("PUT", path, body) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda token: caller.send("PUT", path, body, action=token), tokens))
    assert [answer.status_code for answer in answers] == [200] * 6


def test_a_challenge_is_completed_once_whatever_key_answers_it(caller: Caller) -> None:
    challenge = challenge_for(caller, "Key")
    bodies = [new_body(challenge, NewKey().info(challenge["challenge"])) for _ in range(3)]
    tokens = [caller.action_token("POST", "/auth/credentials", body) for body in bodies]
    with ThreadPoolExecutor(3) as pool:
        answers = list(
            pool.map(
                lambda pair: caller.send("POST", "/auth/credentials", pair[0], action=pair[1]),
                zip(bodies, tokens, strict=True),
            )
        )
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400]
    assert {code_of(answer) for answer in answers if answer.status_code == 400} == {(400, "CHALLENGE_INVALID")}


@pytest.mark.parametrize("case", **named(auth_vectors()["key_attestations"]))
def test_published_attestations_in_the_body_of_a_request(caller: Caller, case: dict[str, Any]) -> None:
    """Their challenges are not this server's, so each is refused; what is malformed never gets a fault."""
    challenge = challenge_for(caller, case["submitted"]["credentialKind"])
    body = {**new_body(challenge, case["submitted"]["credentialInfo"]), **case["submitted"]}
    answer = caller.signed("POST", "/auth/credentials", body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] in ("ATTESTATION_INVALID", "PUBLIC_KEY_REFUSED", "VALIDATION")


def test_deactivation_ends_signing_and_activation_brings_it_back(caller: Caller) -> None:
    new = NewKey()
    uuid = enrolled(caller, new)["credentialUuid"]
    token = action_with(caller, "POST", "/keys", KEY, new).json()["userAction"]
    reference = {"credentialUuid": uuid}
    for _ in range(2):
        done = caller.signed("PUT", "/auth/credentials/deactivate", reference)
        assert (done.status_code, done.json()) == (200, {"message": "success"})
    assert listed(caller)[uuid]["isActive"] is False
    assert code_of(caller.send("POST", "/keys", KEY, action=token)) == (403, "USER_ACTION_INVALID")
    assert code_of(action_with(caller, "POST", "/keys", KEY, new)) == (401, "NO_CREDENTIAL")
    for _ in range(2):
        assert caller.signed("PUT", "/auth/credentials/activate", reference).json() == {"message": "success"}
    # What was signed before stays cancelled.
    assert code_of(caller.send("POST", "/keys", KEY, action=token)) == (403, "USER_ACTION_INVALID")
    assert action_with(caller, "POST", "/keys", KEY, new).status_code == 200


def test_a11_a_credential_that_is_deactivated_refuses_from_the_next_request_on(caller: Caller) -> None:
    new = NewKey()
    uuid = enrolled(caller, new)["credentialUuid"]
    challenge = caller.challenge("POST", "/keys", KEY)
    caller.signed("PUT", "/auth/credentials/deactivate", {"credentialUuid": uuid})
    answer = caller.answer(challenge, firstFactor=new.factor(challenge["challenge"]))
    assert code_of(answer) == (401, "NO_CREDENTIAL")


def test_the_last_credential_that_signs_stays(caller: Caller, person: Identity, shared_tenants: Tenants) -> None:
    # Its key signs for the token alone, and lets nobody log in.
    shared_tenants.personal_access_token(person)
    enrolled(caller, NewKey(), "RecoveryKey")
    own = {"credentialUuid": person.credential_uuid}
    assert code_of(caller.signed("PUT", "/auth/credentials/deactivate", own)) == (400, "LAST_CREDENTIAL")
    assert code_of(caller.signed("DELETE", f"/auth/credentials/{person.credential_uuid}")) == (400, "LAST_CREDENTIAL")
    assert listed(caller)[person.credential_uuid]["isActive"] is True


def test_two_credentials_taken_away_at_once_leave_one(caller: Caller, person: Identity) -> None:
    uuids = [person.credential_uuid, enrolled(caller, NewKey())["credentialUuid"]]
    bodies = [{"credentialUuid": uuid} for uuid in uuids]
    tokens = [caller.action_token("PUT", "/auth/credentials/deactivate", body) for body in bodies]
    with ThreadPoolExecutor(2) as pool:
        list(
            pool.map(
                lambda pair: caller.send("PUT", "/auth/credentials/deactivate", pair[0], action=pair[1]),
                zip(bodies, tokens, strict=True),
            )
        )
    assert sum(item["isActive"] for item in listed(caller).values()) == 1


def test_only_own_credentials_can_be_changed(caller: Caller, person: Identity, shared_tenants: Tenants) -> None:
    other = shared_tenants.session(person.org_id, everything=True)
    pat = shared_tenants.personal_access_token(person)
    foreign = shared_tenants.organisation()
    for uuid in (other.credential_uuid, pat.credential_uuid, foreign.credential_uuid, "cr-none"):
        for path in ("/auth/credentials/activate", "/auth/credentials/deactivate"):
            assert code_of(caller.signed("PUT", path, {"credentialUuid": uuid})) == (404, "NOT_FOUND")
        assert code_of(caller.signed("DELETE", f"/auth/credentials/{uuid}")) == (404, "NOT_FOUND")


def test_a5_a_challenge_is_completed_by_whoever_asked_for_it(
    caller: Caller, person: Identity, shared_tenants: Tenants, shared_sandbox: Sandbox
) -> None:
    challenge = challenge_for(caller, "Key")
    body = new_body(challenge, NewKey().info(challenge["challenge"]))
    others: list[Connection] = [
        shared_tenants.session(person.org_id, everything=True).connection,
        shared_tenants.personal_access_token(person).connection,
        shared_tenants.organisation().connection,
        shared_sandbox.service,
    ]
    for connection in others:
        with Caller(connection) as other:
            assert code_of(other.signed("POST", "/auth/credentials", body)) == (400, "CHALLENGE_INVALID")
    assert code_of(caller.send("POST", "/auth/credentials/code/verify", body)) == (400, "CHALLENGE_INVALID")
    with Caller(shared_tenants.another_session(person).connection) as again:
        assert again.signed("POST", "/auth/credentials", body).status_code == 200


def test_a5_challenge_identifiers_are_good_at_their_place_only(caller: Caller) -> None:
    challenge = challenge_for(caller, "Key")
    identifier = challenge["challengeIdentifier"]
    action = caller.challenge("POST", "/keys", KEY)
    as_bearer = caller.send("GET", "/auth/credentials", headers={"Authorization": f"Bearer {identifier}"})
    assert as_bearer.status_code == 401
    assert code_of(caller.answer({**action, "challengeIdentifier": identifier})) == (400, "CHALLENGE_INVALID")
    body = new_body(challenge, NewKey().info(challenge["challenge"]))
    swapped = {**body, "challengeIdentifier": action["challengeIdentifier"]}
    assert code_of(caller.signed("POST", "/auth/credentials", swapped)) == (400, "CHALLENGE_INVALID")


def test_threat_19_20_keys_under_which_anything_holds_are_refused(caller: Caller) -> None:
    for case in auth_vectors()["refused_public_keys"]["cases"]:
        new = NewKey()
        challenge = challenge_for(caller, "Key")
        info = new.info(challenge["challenge"])
        forged = _with_pem(info, case["pem"])
        answer = caller.signed("POST", "/auth/credentials", new_body(challenge, forged))
        assert code_of(answer) == (400, "PUBLIC_KEY_REFUSED"), case["name"]


def test_threat_25_a_key_swapped_on_the_way_is_refused(caller: Caller) -> None:
    challenge = challenge_for(caller, "Key")
    forged = _with_pem(NewKey().info(challenge["challenge"]), NewKey().pem)
    answer = caller.signed("POST", "/auth/credentials", new_body(challenge, forged))
    assert code_of(answer) == (400, "ATTESTATION_INVALID")


def test_threat_23_24_kinds_and_algorithms_of_the_callers_choice_are_refused(caller: Caller, person: Identity) -> None:
    new, passkey = NewKey(), NewPasskey(person.user_id)
    enrolled(caller, new)
    enrolled(caller, passkey, "Fido2")
    challenge = caller.challenge("POST", "/keys", KEY)
    text = challenge["challenge"]
    fido2 = passkey.factor(text)["credentialAssertion"]
    key = new.factor(text)["credentialAssertion"]
    as_key = {name: fido2[name] for name in ("credId", "clientData", "signature")}
    swapped = [
        {"kind": "Key", "credentialAssertion": as_key},
        {"kind": "PasswordProtectedKey", "credentialAssertion": key},
        {"kind": "Fido2", "credentialAssertion": {**fido2, "credId": new.credential_id}},
        new.factor(text, type="webauthn.get"),
        passkey.factor(text, type="key.get"),
    ]
    codes = [code_of(caller.answer(challenge, firstFactor=factor)) for factor in swapped]
    assert codes == [(401, "NO_CREDENTIAL")] * 3 + [(401, "ASSERTION_INVALID")] * 2
    for algorithm in ("none", "RSA-SHA1", "SHA256"):
        again = caller.challenge("POST", "/keys", KEY)
        factor = new.factor(again["challenge"])
        factor["credentialAssertion"]["algorithm"] = algorithm
        assert code_of(caller.answer(again, firstFactor=factor)) == (401, "ASSERTION_INVALID")


def test_threat_21_22_signatures_have_one_form_and_nothing_is_keyed_on_them(caller: Caller) -> None:
    new = NewKey(ec.generate_private_key(ec.SECP256R1()))
    enrolled(caller, new)
    challenge = caller.challenge("POST", "/keys", KEY)
    factor = new.factor(challenge["challenge"])
    good = base64url.decode(factor["credentialAssertion"]["signature"])
    r, s = decode_dss_signature(good)
    for bad in (r.to_bytes(32, "big") + s.to_bytes(32, "big"), good + b"\x00", good[:-1]):
        factor["credentialAssertion"]["signature"] = base64url.encode(bad)
        assert code_of(caller.answer(challenge, firstFactor=factor)) == (401, "ASSERTION_INVALID")
    tokens = []
    for either in (s, P256_ORDER - s):
        factor["credentialAssertion"]["signature"] = base64url.encode(encode_dss_signature(r, either))
        tokens.append(caller.answer(challenge, firstFactor=factor).json()["userAction"])
    assert caller.send("POST", "/keys", KEY, action=tokens[0]).status_code == 200
    assert code_of(caller.send("POST", "/keys", KEY, action=tokens[1])) == (400, "USER_ACTION_REUSED")


def _with_pem(info: dict[str, Any], pem: str) -> dict[str, Any]:
    attestation = json.loads(base64url.decode(info["attestationData"]))
    return {**info, "attestationData": base64url.encode(json.dumps({**attestation, "publicKey": pem}).encode())}


def test_threat_33_an_encrypted_private_key_is_for_its_owner_alone(
    caller: Caller, person: Identity, shared_tenants: Tenants, shared_sandbox: Sandbox
) -> None:
    wrapped = "ciphertext of a key behind a password"
    new = NewKey()
    made = enrolled(caller, new, "PasswordProtectedKey", encryptedPrivateKey=wrapped)
    assert wrapped not in json.dumps(made)
    assert wrapped not in caller.send("GET", "/auth/credentials").text
    assert wrapped in json.dumps(caller.challenge("POST", "/keys", KEY))
    strangers = [
        shared_sandbox.admin,
        shared_tenants.personal_access_token(person).connection,
        shared_tenants.session(person.org_id, everything=True).connection,
    ]
    for connection in strangers:
        with Caller(connection) as stranger:
            assert wrapped not in json.dumps(stranger.challenge("POST", "/keys", KEY))
            assert wrapped not in stranger.send("GET", "/auth/credentials").text
    rows = shared_tenants.execute(
        "SELECT entry_id, entry FROM audit_entries WHERE entry LIKE ?", f"%{made['credentialUuid']}%"
    )
    assert wrapped not in str(rows)
    for entry_id, _ in rows:
        assert refused_or_silent(caller, entry_id, wrapped)


def refused_or_silent(caller: Caller, entry_id: str, wrapped: str) -> bool:
    answer = caller.send("GET", f"/auth/action/logs/{entry_id}")
    return answer.status_code == 403 and wrapped not in answer.text
