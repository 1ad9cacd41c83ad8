"""Which keys a payload shows, and whether a code was somebody's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from countersign.audit.enrolments import shown_fingerprints
from countersign.audit.entry import Action, Credential, Enrolled, Evidence, Outcome, System
from countersign.audit.facts import Facts
from countersign.audit.report import Summary
from countersign.credentials.public_key import PublicKey, load
from tests.support.enrolment import NewKey, NewPasskey

USER, OTHER = "us-00000-00000-0000000000000001", "us-00000-00000-0000000000000002"
CODE_ACTION = "uj-00000-00000-0000000000000001"


def fingerprint(pem: str) -> str:
    loaded = load(pem)
    assert isinstance(loaded, PublicKey)
    return loaded.fingerprint


def payload(info: dict[str, Any]) -> str:
    return json.dumps({"credentialKind": "x", "credentialInfo": info})


def test_a_key_is_shown_by_its_attestation() -> None:
    key = NewKey()
    assert list(shown_fingerprints(payload(key.info("challenge")))) == [fingerprint(key.pem)]


def test_a_passkey_is_shown_by_its_attestation_object() -> None:
    passkey = NewPasskey(USER)
    expected = passkey.authenticator.public_key.fingerprint
    assert list(shown_fingerprints(payload(passkey.info("challenge")))) == [expected]


@pytest.mark.parametrize("text", ["", "AA", "not base64!", "oA", "e30", "omRmbXRkbm9uZWhhdXRoRGF0YUEA"])
def test_what_is_no_attestation_shows_nothing(text: str) -> None:
    assert list(shown_fingerprints(payload({"attestationData": text}))) == []


def common(entry_id: str) -> dict[str, Any]:
    return {
        "installation_id": "in-1",
        "org_id": "or-1",
        "id": entry_id,
        "date_performed": "2026-01-01T00:00:00.000Z",
    }


def code_made(status: int = 200, path: str = "/auth/credentials/code") -> Action:
    return Action(
        **common(CODE_ACTION),
        user_id=USER,
        username="somebody",
        token_id="uj-1",
        token_kind="Token",
        app_id=None,
        delegated_by=None,
        method="POST",
        path=path,
        query="",
        actual_query="",
        query_signed=True,
        payload_sha256="",
        digest="",
        credential=Credential(uuid="cr-1", kind="Key", public_key=PEM),
        evidence=Evidence(client_data="", signature=""),
        date_signed="2026-01-01T00:00:00.000Z",
        response=Outcome(status=status),
        client_address=None,
    )


PEM = NewKey().pem
ENROLMENT = System(
    **common("uj-2"),
    event="Initialised",
    enrolled=(Enrolled(credential_uuid="cr-1", user_id=USER, kind="Key", fingerprint=fingerprint(PEM)),),
)


def enrolled_by_code(uuid: str = "cr-2", user_id: str = USER, action_id: str = CODE_ACTION) -> System:
    return System(
        **common(f"uj-{uuid}"),
        event="CredentialEnrolledWithCode",
        enrolled=(Enrolled(credential_uuid=uuid, user_id=user_id, kind="Key", fingerprint="SHA256:x"),),
        user_id=user_id,
        details={"actionId": action_id},
    )


def contradictions(*entries: Action | System) -> list[str]:
    facts = Facts(Summary())
    for position, entry in enumerate((ENROLMENT, *entries)):
        facts.add(entry, None, position, position)
    return [item.reason for item in facts.contradictions()]


def test_an_enrolment_by_a_code_of_the_same_user_is_sound_in_either_order() -> None:
    assert contradictions(code_made(), enrolled_by_code()) == []
    assert contradictions(enrolled_by_code(), code_made()) == []


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param((enrolled_by_code(),), id="no code was made"),
        pytest.param((code_made(status=400), enrolled_by_code()), id="the code was refused"),
        pytest.param((code_made(path="/keys"), enrolled_by_code()), id="the action made something else"),
        pytest.param((code_made(), enrolled_by_code(user_id=OTHER)), id="the code is of another user"),
        pytest.param((code_made(), enrolled_by_code(action_id="")), id="no action is named"),
        pytest.param((code_made(), enrolled_by_code(), enrolled_by_code("cr-3")), id="the code was used twice"),
    ],
)
def test_an_enrolment_by_a_code_that_its_user_never_made_is_found(entries: tuple[Action | System, ...]) -> None:
    assert contradictions(*entries) == ["a credential was enrolled with a code that its user never made"]
