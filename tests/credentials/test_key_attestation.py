import json
from typing import Any

import msgspec
import pytest

from countersign.credentials.key_attestation import (
    Attested,
    KeyAttestation,
    fingerprint_message,
    verify_attestation,
)
from countersign.credentials.outcome import Refused
from countersign.credentials.public_key import PublicKey, load
from countersign.encoding import base64url
from tests.support.vectors import auth_vectors, named

_CASES = auth_vectors()["key_attestations"]
_GOOD = _CASES[0]


def _submitted(case: dict[str, Any], **data: object) -> KeyAttestation:
    attestation = msgspec.convert(case["submitted"], KeyAttestation)
    members = json.loads(base64url.decode(attestation.credential_info.attestation_data)) | data
    changed = base64url.encode(json.dumps(members).encode())
    info = msgspec.structs.replace(attestation.credential_info, attestation_data=changed)
    return msgspec.structs.replace(attestation, credential_info=info)


@pytest.mark.parametrize("case", **named(_CASES))
def test_published_attestations_enrol_or_are_refused_as_stated(case: dict[str, Any]) -> None:
    outcome = verify_attestation(msgspec.convert(case["submitted"], KeyAttestation), case["expected_challenge"])
    assert isinstance(outcome, Attested) == case["valid"], outcome
    if isinstance(outcome, Attested):
        assert outcome.credential_id == case["submitted"]["credentialInfo"]["credId"]
        assert load(json.loads(case["attestation_data"])["publicKey"]) == outcome.public_key
        assert isinstance(outcome.public_key, PublicKey)


@pytest.mark.parametrize("case", **named([case for case in _CASES if case["valid"]]))
def test_the_signed_message_is_the_published_one(case: dict[str, Any]) -> None:
    pem = json.loads(case["attestation_data"])["publicKey"]
    assert fingerprint_message(case["client_data"].encode(), pem).decode() == case["fingerprint_json"]


def test_the_case_of_the_hex_digits_does_not_matter() -> None:
    signature = json.loads(_GOOD["attestation_data"])["signature"]
    for text in (signature.lower(), signature.upper()):
        outcome = verify_attestation(_submitted(_GOOD, signature=text), _GOOD["expected_challenge"])
        assert isinstance(outcome, Attested)


@pytest.mark.parametrize(
    "data",
    [
        {"signature": " " + json.loads(_GOOD["attestation_data"])["signature"]},
        {"signature": json.loads(_GOOD["attestation_data"])["signature"][:-1]},
        {"signature": "00"},
        {"signature": ""},
        {"signature": "0" * 5000},
        {"signature": None},
        {"publicKey": None},
        {"publicKey": "x" * 5000},
        {"algorithm": 1},
        {"algorithm": "SHA384"},
        {"algorithm": "none"},
    ],
)
def test_attestation_data_that_does_not_hold_is_refused(data: dict[str, object]) -> None:
    assert isinstance(verify_attestation(_submitted(_GOOD), _GOOD["expected_challenge"]), Attested)
    assert isinstance(verify_attestation(_submitted(_GOOD, **data), _GOOD["expected_challenge"]), Refused)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"publicKey":"a","publicKey":"b"}', b"x" * 100_000])
def test_attestation_data_must_be_one_small_json_object(data: bytes) -> None:
    good = msgspec.convert(_GOOD["submitted"], KeyAttestation)
    info = msgspec.structs.replace(good.credential_info, attestation_data=base64url.encode(data))
    attestation = msgspec.structs.replace(good, credential_info=info)
    assert isinstance(verify_attestation(attestation, _GOOD["expected_challenge"]), Refused)


def test_an_encrypted_private_key_has_at_most_16_kib() -> None:
    good = msgspec.convert(_GOOD["submitted"], KeyAttestation)
    for size, outcome in ((16 * 1024, Attested), (16 * 1024 + 1, Refused)):
        attestation = msgspec.structs.replace(good, encrypted_private_key="x" * size)
        assert isinstance(verify_attestation(attestation, _GOOD["expected_challenge"]), outcome)
