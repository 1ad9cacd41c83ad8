"""What programs may do with credentials: rotate their own key, and nothing to the person they work for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.answers import refusal
from tests.support.caller import Caller
from tests.support.enrolment import NewKey, NewPasskey, action_with, challenge_for, enrol, enrolled
from tests.support.tenants import Identity, Tenants

KEY = {"scheme": "EdDSA", "curve": "ed25519"}


@pytest.fixture(params=["Pat", "ServiceAccount"])
def program(request: pytest.FixtureRequest, person: Identity, shared_tenants: Tenants) -> Identity:
    """A personal access token of the person, or a service account."""
    if request.param == "Pat":
        made = shared_tenants.personal_access_token(person)
    else:
        made = shared_tenants.service_account(person.org_id, everything=True)
    shared_tenants.introduce(made)
    return made


def test_a_program_rotates_its_key(program: Identity) -> None:
    with Caller(program.connection) as caller:
        new = NewKey()
        made = enrolled(caller, new)
        assert made["credentialUuid"] in [
            item["credentialUuid"] for item in caller.send("GET", "/auth/credentials").json()["items"]
        ]
        token = action_with(caller, "POST", "/keys", KEY, new).json()["userAction"]
        assert caller.send("POST", "/keys", KEY, action=token).status_code == 200


def test_threat_40_a_program_adds_no_credential_to_its_person(
    program: Identity, person: Identity, caller: Caller, shared_tenants: Tenants
) -> None:
    before = caller.send("GET", "/auth/credentials").json()
    with Caller(program.connection) as robot:
        for kind in ("Fido2", "PasswordProtectedKey", "RecoveryKey"):
            answer = robot.send("POST", "/auth/credentials/init", {"kind": kind})
            assert refusal(answer) == (403, "CALLER_KIND_REFUSED")
        new = NewKey()
        uuid = enrolled(robot, new)["credentialUuid"]
    assert caller.send("GET", "/auth/credentials").json() == before
    # The new key is the program's: the person's session cannot sign with it.
    answer = action_with(caller, "POST", "/keys", KEY, new)
    assert refusal(answer) == (401, "NO_CREDENTIAL")
    assert uuid not in str(before)


def test_threat_40_a_key_of_one_token_signs_for_no_other(person: Identity, shared_tenants: Tenants) -> None:
    first = shared_tenants.personal_access_token(person)
    second = shared_tenants.personal_access_token(person)
    new = NewKey()
    with Caller(first.connection) as robot, Caller(second.connection) as other:
        enrolled(robot, new)
        assert refusal(action_with(other, "POST", "/keys", KEY, new)) == (401, "NO_CREDENTIAL")


def test_a_program_changes_no_credentials(program: Identity) -> None:
    own: Any = {"credentialUuid": program.credential_uuid}
    with Caller(program.connection) as robot:
        for path in ("/auth/credentials/activate", "/auth/credentials/deactivate"):
            assert refusal(robot.signed("PUT", path, own)) == (403, "CALLER_KIND_REFUSED")
        answer = robot.signed("DELETE", f"/auth/credentials/{program.credential_uuid}")
        assert refusal(answer) == (403, "CALLER_KIND_REFUSED")


def test_a_challenge_of_a_program_ends_with_its_token(program: Identity, shared_tenants: Tenants) -> None:
    with Caller(program.connection) as robot:
        challenge_for(robot, "Key")
        epoch = "UPDATE tokens SET epoch = epoch + 1 WHERE token_id = ?"
        challenge = challenge_for(robot, "Key")
        shared_tenants.execute(epoch, program.token_id)
        new = NewKey()
        body = {
            "challengeIdentifier": challenge["challengeIdentifier"],
            "credentialName": "late",
            "credentialKind": "Key",
            "credentialInfo": new.info(challenge["challenge"]),
        }
        assert refusal(robot.signed("POST", "/auth/credentials", body)) == (400, "CHALLENGE_INVALID")


def test_a_passkey_of_the_person_signs_nothing_for_a_token(
    caller: Caller, person: Identity, shared_tenants: Tenants
) -> None:
    passkey = NewPasskey(person.user_id)
    assert enrol(caller, passkey, "Fido2").status_code == 200
    with Caller(shared_tenants.personal_access_token(person).connection) as robot:
        challenge = robot.challenge("POST", "/keys", KEY)
        assert challenge["allowCredentials"]["webauthn"] == []
        answer = robot.answer(challenge, firstFactor=passkey.factor(challenge["challenge"]))
        assert refusal(answer) == (401, "NO_CREDENTIAL")
