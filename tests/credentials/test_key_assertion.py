import json
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.credentials.key_assertion import CredentialAssertion, KeyAssertion, Proven, verify_assertion
from countersign.credentials.outcome import Refused
from countersign.credentials.public_key import PublicKey, load
from countersign.encoding import base64url
from tests.support.vectors import auth_vectors, named

_PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
_CHALLENGE: str = auth_vectors()["challenges"]["action"]["challenge"]


def _key(pem: str) -> PublicKey:
    key = load(pem)
    assert isinstance(key, PublicKey)
    return key


_PUBLIC = _key(_PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def _assertion(signed: bytes, **members: Any) -> KeyAssertion:
    signature = base64url.encode(_PRIVATE.sign(signed))
    evidence = CredentialAssertion("id", base64url.encode(signed), signature)
    return KeyAssertion("Key", msgspec.structs.replace(evidence, **members))


def _client_data(**members: object) -> bytes:
    return json.dumps({"type": "key.get", "challenge": _CHALLENGE, **members}).encode()


@pytest.mark.parametrize("case", **named(auth_vectors()["key_assertions"]))
def test_published_assertions_prove_or_are_refused_as_stated(case: dict[str, Any]) -> None:
    key = _key(auth_vectors()["keys"][case["stored_public_key"]]["public_spki_pem"])
    if case["assertion"]["kind"] not in {"Key", "PasswordProtectedKey", "RecoveryKey"}:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(case["assertion"], KeyAssertion)
        return
    assertion = msgspec.convert(case["assertion"], KeyAssertion)
    outcome = verify_assertion(assertion, key, case["expected_challenge"])
    assert isinstance(outcome, Proven) == case["valid"], outcome


def test_the_outcome_names_the_credential_and_the_claimed_origin() -> None:
    assertion = _assertion(_client_data(origin="https://app.example.org", crossOrigin=False, topOrigin="x"))
    assert verify_assertion(assertion, _PUBLIC, _CHALLENGE) == Proven("id", "https://app.example.org")
    assert verify_assertion(_assertion(_client_data()), _PUBLIC, _CHALLENGE) == Proven("id", None)


@pytest.mark.parametrize(
    "client_data",
    [
        _client_data(type="key.GET"),
        _client_data(type=None),
        _client_data(challenge=_CHALLENGE + "A"),
        _client_data(challenge=_CHALLENGE + "="),
        _client_data(challenge=None),
        _client_data(challenge=[_CHALLENGE]),
        _client_data(crossOrigin=True),
        _client_data(crossOrigin="false"),
        _client_data(crossOrigin=None),
        _client_data(crossOrigin=0),
        _client_data(origin=None),
        _client_data(origin=["https://app.example.org"]),
        _client_data(pad="x" * 4096),
        b"[]",
        b"",
        b"\xff",
    ],
)
def test_signed_client_data_that_does_not_answer_the_challenge_is_refused(client_data: bytes) -> None:
    assert isinstance(verify_assertion(_assertion(client_data), _PUBLIC, _CHALLENGE), Refused)


@pytest.mark.parametrize(
    "members",
    [
        {"signature": ""},
        {"signature": "A" * 86},
        {"signature": "é"},
        {"signature": "A" * 2000},
        {"client_data": ""},
        {"client_data": "{}"},
        {"client_data": base64url.encode(_client_data()) + "\n"},
        {"client_data": base64url.encode(_client_data(x=1))},
        {"algorithm": "SHA256"},
        {"algorithm": "none"},
        {"algorithm": ""},
    ],
)
def test_assertions_that_do_not_hold_are_refused(members: dict[str, str]) -> None:
    assert isinstance(verify_assertion(_assertion(_client_data(), **members), _PUBLIC, _CHALLENGE), Refused)


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "Fido2", "credentialAssertion": {"credId": "a", "clientData": "a", "signature": "a"}},
        {"kind": "Key", "credentialAssertion": {"credId": "a", "clientData": "a", "signature": "a", "x": 1}},
        {"kind": "Key", "credentialAssertion": {"credId": "a", "clientData": "a"}},
        {"kind": "Key", "credentialAssertion": {"credId": "a" * 1025, "clientData": "a", "signature": "a"}},
        {"kind": "Key", "credentialAssertion": {"credId": "a\n", "clientData": "a", "signature": "a"}},
        {"kind": "Key", "credentialAssertion": {"credId": "a", "clientData": "a", "signature": "a "}},
        {"kind": "Key", "credentialAssertion": {"credId": "a", "clientData": "a", "signature": ["a"]}},
    ],
)
def test_the_shape_of_a_body_is_checked_before(body: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(body, KeyAssertion)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_a7_no_changed_byte_goes_unnoticed(data: st.DataObject) -> None:
    good = _assertion(_client_data()).credential_assertion
    name = data.draw(st.sampled_from(["client_data", "signature"]))
    raw = bytearray(base64url.decode(getattr(good, name)))
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    changed = msgspec.structs.replace(good, **{name: base64url.encode(bytes(raw))})
    assert isinstance(verify_assertion(KeyAssertion("Key", changed), _PUBLIC, _CHALLENGE), Refused)
