import json
from typing import Any

import msgspec
import pytest

from countersign.credentials.key_assertion import KeyAssertion, Proven
from countersign.credentials.outcome import Refused
from countersign.credentials.public_key import PublicKey, load
from countersign.credentials.recovery import verify_recovery
from countersign.encoding import base64url
from countersign.encoding.strictjson import parse_object
from tests.support.authenticator import published_key, sign
from tests.support.vectors import auth_vectors, named

_VECTOR = auth_vectors()["recovery"]
_NEW = {"firstFactorCredential": {"credentialKind": "Key", "n": 1}}


def _key() -> PublicKey:
    key = load(auth_vectors()["keys"][_VECTOR["stored_recovery_public_key"]]["public_spki_pem"])
    assert isinstance(key, PublicKey)
    return key


def _assertion(challenge: str, type_: str = "key.get", kind: Any = "RecoveryKey") -> KeyAssertion:
    client_data = json.dumps({"type": type_, "challenge": challenge}).encode()
    parts = {
        "credId": "cmVjb3Zlcnkx",
        "clientData": base64url.encode(client_data),
        "signature": base64url.encode(sign(published_key("recovery_p256"), client_data)),
    }
    return msgspec.convert({"kind": kind, "credentialAssertion": parts}, KeyAssertion)


def _challenge(text: str) -> str:
    return base64url.encode(text.encode())


@pytest.mark.parametrize("case", **named(_VECTOR["cases"]))
def test_published_recoveries_hold_or_are_refused_as_stated(case: dict[str, Any]) -> None:
    body = parse_object(json.dumps(case["body"]).encode())
    assertion = msgspec.convert(body["recovery"], KeyAssertion)
    outcome = verify_recovery(assertion, _key(), body["newCredentials"])
    assert isinstance(outcome, Proven) == case["valid"], outcome


@pytest.mark.parametrize(
    "challenge",
    [
        _challenge(json.dumps(_NEW)),
        _challenge(json.dumps(_NEW, indent=1)),
        _challenge("\n" + json.dumps(_NEW)),
        _challenge(_challenge(json.dumps(_NEW))),
        _challenge('{"firstFactorCredential":{"n":1.0,"credentialKind":"\\u004bey"}}'),
    ],
)
def test_new_credentials_are_compared_as_json_values(challenge: str) -> None:
    assert isinstance(verify_recovery(_assertion(challenge), _key(), _NEW), Proven)


@pytest.mark.parametrize(
    "challenge",
    [
        _challenge(json.dumps(_NEW)[:-1]),
        _challenge(json.dumps({})),
        _challenge(json.dumps([_NEW])),
        _challenge(json.dumps(_NEW | {"secondFactorCredential": None})),
        _challenge('{"firstFactorCredential":{"credentialKind":"Key","n":true}}'),
        _challenge('{"firstFactorCredential":{"credentialKind":"Key","n":"1"}}'),
        _challenge('{"firstFactorCredential":{"credentialKind":"Key","n":1,"n":1}}'),
        _challenge(_challenge(_challenge(json.dumps(_NEW)))),
        _VECTOR["session_challenge"],
        json.dumps(_NEW),
        "é",
        "",
    ],
)
def test_other_challenges_consent_to_nothing(challenge: str) -> None:
    assert isinstance(verify_recovery(_assertion(challenge), _key(), _NEW), Refused)


def test_only_a_recovery_key_recovers_and_only_by_its_own_signature() -> None:
    challenge = _challenge(json.dumps(_NEW))
    assert isinstance(verify_recovery(_assertion(challenge, kind="Key"), _key(), _NEW), Refused)
    assert isinstance(verify_recovery(_assertion(challenge, "key.create"), _key(), _NEW), Refused)
    other = load(auth_vectors()["keys"]["p256"]["public_spki_pem"])
    assert isinstance(other, PublicKey)
    assert isinstance(verify_recovery(_assertion(challenge), other, _NEW), Refused)


def test_the_client_data_of_a_recovery_has_room_for_the_credentials() -> None:
    for size, outcome in ((130 * 1024, Proven), (200 * 1024, Refused)):
        new = {"firstFactorCredential": {"pad": "x" * size}}
        assert isinstance(verify_recovery(_assertion(_challenge(json.dumps(new))), _key(), new), outcome)
