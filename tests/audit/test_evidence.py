"""The published audit record, checked offline, and the ways in which it was tampered with."""

from __future__ import annotations

import hashlib
import json

import msgspec
import pytest

from countersign.audit.entry import Action, Credential, Evidence, Outcome, SecondFactor
from countersign.audit.evidence import check_action
from countersign.consent.action_token import action_id
from countersign.consent.challenge import ActionChallenge, parse_challenge
from countersign.encoding import base64url
from tests.audit.logs import Log, Person, counting_world
from tests.support.authenticator import RP_ID, Authenticator
from tests.support.vectors import auth_vectors

VECTORS = auth_vectors()
RECORD = VECTORS["audit_record"]["record"]
SIGNED = json.loads(RECORD["action"])
PAYLOAD = SIGNED["userActionPayload"]
STRANGER = Person(counting_world(), b"stranger")


def published() -> Action:
    factor = RECORD["firstFactorCredential"]
    assertion = factor["assertion"]
    client_data = json.loads(base64url.decode(assertion["clientData"]))
    challenge = parse_challenge(client_data["challenge"])
    assert isinstance(challenge, ActionChallenge)
    return Action(
        installation_id=VECTORS["action_digest"]["cases"][0]["installationId"],
        org_id=VECTORS["audit_record"]["orgId"],
        id=action_id(challenge.id),
        date_performed=RECORD["datePerformed"],
        user_id=RECORD["userId"],
        username=RECORD["username"],
        token_id="to-00000-00000-0000000000000000",
        token_kind="Token",
        app_id=None,
        delegated_by=None,
        method=SIGNED["userActionHttpMethod"],
        path=SIGNED["userActionHttpPath"],
        query="",
        actual_query="",
        query_signed=True,
        payload_sha256=hashlib.sha256(PAYLOAD.encode()).hexdigest(),
        digest=challenge.action,
        credential=Credential(uuid=factor["id"], kind=factor["kind"], public_key=factor["publicKey"]),
        evidence=Evidence(client_data=assertion["clientData"], signature=assertion["signature"]),
        date_signed="2026-09-21T14:13:20.000Z",
        response=Outcome(status=200),
        client_address=None,
    )


def test_the_published_record_proves_consent() -> None:
    assert check_action(published(), PAYLOAD) is None
    assert check_action(published(), None) is None


def test_the_published_ways_of_tampering_are_found() -> None:
    payload = PAYLOAD.replace("Sepolia", "")
    replaced = msgspec.structs.replace(published(), payload_sha256=hashlib.sha256(payload.encode()).hexdigest())
    assert "digest" in str(check_action(replaced, payload))
    assert "payload" in str(check_action(published(), payload))
    other_user = msgspec.structs.replace(published(), user_id=VECTORS["meta"]["service_account_id"])
    assert "digest" in str(check_action(other_user, PAYLOAD))
    credential = msgspec.structs.replace(published().credential, public_key=STRANGER.pem)
    other_key = msgspec.structs.replace(published(), credential=credential)
    assert "signature does not hold" in str(check_action(other_key, PAYLOAD))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"payload_sha256": "zz"}, "malformed"),
        ({"date_signed": "yesterday"}, "malformed"),
        ({"actual_query": "?force=true", "query_signed": False}, None),
        ({"actual_query": "?"}, None),
        ({"actual_query": "?force=true"}, "query"),
    ],
)
def test_malformed_or_uncovered_members(change: dict[str, object], reason: str | None) -> None:
    found = check_action(msgspec.structs.replace(published(), **change), PAYLOAD)
    assert found is None if reason is None else reason in str(found)


def test_kinds_that_do_not_sign_actions_are_refused() -> None:
    credential = msgspec.structs.replace(published().credential, kind="RecoveryKey")
    assert "RecoveryKey" in str(check_action(msgspec.structs.replace(published(), credential=credential), PAYLOAD))


def test_consent_by_a_passkey_is_checked_against_the_relying_party_of_the_entry() -> None:
    passkey = Authenticator()
    assertion = passkey.answer().credential_assertion
    evidence = Evidence(
        client_data=assertion.client_data,
        signature=assertion.signature,
        authenticator_data=assertion.authenticator_data,
    )
    for relying_party_id, reason in ((RP_ID, None), ("éxample.org", "rpIdHash"), (None, "relying party")):
        credential = Credential(
            uuid=published().credential.uuid,
            kind="Fido2",
            public_key=passkey.public_key.pem,
            relying_party_id=relying_party_id,
        )
        found = check_action(msgspec.structs.replace(published(), credential=credential, evidence=evidence), PAYLOAD)
        assert found is None if reason is None else reason in str(found)


def test_a_second_factor_is_another_credential_that_signed_the_same_challenge() -> None:
    log = Log()
    action, again = log.action(), log.action()
    second, stranger = Person(log.world, b"second"), Person(log.world, b"stranger")

    def checked(of: Action, by: Person, named: Person = second, uuid: str = second.credential_uuid) -> str | None:
        signed = base64url.decode(of.evidence.client_data)
        evidence = Evidence(client_data=of.evidence.client_data, signature=base64url.encode(by.sign(signed)))
        credential = Credential(uuid=uuid, kind="Key", public_key=named.pem)
        factor = SecondFactor(credential=credential, evidence=evidence)
        return check_action(msgspec.structs.replace(action, second_factor=factor), '{"name":"cold"}')

    assert checked(action, second) is None
    assert checked(action, second, uuid=action.credential.uuid) == "the second factor is the first one again"
    assert checked(again, second) == "the second factor signed another challenge"
    assert str(checked(action, stranger)).startswith("second factor: the evidence")
