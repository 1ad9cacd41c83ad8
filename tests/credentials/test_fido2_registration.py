from typing import Any
from uuid import UUID

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.credentials.authenticator_data import load_cose_key
from countersign.credentials.fido2_registration import Attested, Fido2Attestation, verify_registration
from countersign.credentials.outcome import Refused
from countersign.credentials.public_key import load
from countersign.credentials.relying_party import RelyingParty
from countersign.encoding import base64url
from tests.support.authenticator import (
    AT,
    BE,
    BS,
    CHALLENGE,
    ED,
    ORIGIN,
    PARTY,
    RP_ID,
    UP,
    UV,
    Authenticator,
    cbor,
    client_data,
    published_key,
    registration,
    sign,
    submitted,
)
from tests.support.vectors import auth_vectors, named

_TYPE = "webauthn.create"
_CLIENT = client_data(_TYPE)
_PASSKEY = Authenticator()
_ID = _PASSKEY.credential_id
_DATA = _PASSKEY.new_data()
_SELF = registration(_ID, _CLIENT, _DATA, "packed", _PASSKEY.self_statement(_CLIENT, _DATA))


def _verify(attestation: Fido2Attestation, parties: tuple[RelyingParty, ...] = (PARTY,), **options: Any) -> Any:
    return verify_registration(attestation, CHALLENGE, parties, **options)


def _refused(attestation: Fido2Attestation, reason: str) -> None:
    outcome = _verify(attestation)
    assert isinstance(outcome, Refused)
    assert reason in outcome.reason


@pytest.mark.parametrize("case", **named(auth_vectors()["fido2_registrations"]))
def test_published_registrations_enrol_or_are_refused_as_stated(case: dict[str, Any]) -> None:
    party = RelyingParty(case["policy"]["rpId"], frozenset(case["policy"]["origins"]))
    attestation = msgspec.convert(case["submitted"], Fido2Attestation)
    outcome = verify_registration(attestation, case["expected_challenge"], [party])
    assert isinstance(outcome, Attested) == case["valid"], outcome
    if isinstance(outcome, Attested):
        assert outcome.credential_id == case["submitted"]["credentialInfo"]["credId"]
        assert outcome.public_key == load(auth_vectors()["keys"][case["public_key"]]["public_spki_pem"])
        assert outcome.trust == ("self" if "packed" in case["name"] else "none")


@pytest.mark.parametrize("name", ["fido_p256", "fido_ed25519", "fido_rsa2048"])
def test_what_is_registered_is_what_the_authenticator_said(name: str) -> None:
    passkey = Authenticator(published_key(name), aaguid=bytes(range(16)))
    data = passkey.data(UP | UV | AT | BE | BS, 7, passkey.attested())
    outcome = _verify(registration(_ID, _CLIENT, data, "packed", passkey.self_statement(_CLIENT, data)))
    text = base64url.encode(_ID)
    facts = (7, True, True, UUID(bytes=bytes(range(16))), "packed", "self")
    assert outcome == Attested(text, passkey.public_key, PARTY, ORIGIN, *facts)


def test_the_relying_party_is_found_by_hash_and_origin_together() -> None:
    other = RelyingParty("example.net", frozenset({ORIGIN}))
    same_id = RelyingParty(RP_ID, frozenset({"https://other.example.org"}))
    attestation = registration(_ID, _CLIENT, _DATA)
    assert _verify(attestation, (other, same_id, PARTY)).party == PARTY
    assert "origin" in _verify(attestation, (other, same_id)).reason
    assert "rpIdHash" in _verify(attestation, (other,)).reason
    assert "rpIdHash" in _verify(attestation, ()).reason


@pytest.mark.parametrize(
    ("reason", "client"),
    [
        ("origin", client_data(_TYPE, origin="https://app.example.org.evil.test")),
        ("origin", client_data(_TYPE, origin="http://app.example.org")),
        ("origin", client_data(_TYPE, drop="origin")),
        ("type", client_data("webauthn.get")),
        ("type", client_data("key.create")),
        ("challenge", client_data(_TYPE, challenge=CHALLENGE[1:])),
        ("crossOrigin", client_data(_TYPE, crossOrigin=True)),
        ("topOrigin", client_data(_TYPE, topOrigin=ORIGIN)),
        ("4096", client_data(_TYPE, pad="x" * 4096)),
        ("not JSON", b"{"),
    ],
)
def test_a6_client_data_from_elsewhere_registers_nothing(reason: str, client: bytes) -> None:
    _refused(registration(_ID, client, _DATA), reason)


_P256 = _PASSKEY.cose_key
_ED25519 = Authenticator(published_key("fido_ed25519")).cose_key
_RSA = Authenticator(published_key("fido_rsa2048")).cose_key


@pytest.mark.parametrize(
    ("reason", "data"),
    [
        ("rpIdHash", Authenticator(rp_id="app.example.org").new_data()),
        ("UP", _PASSKEY.new_data(UV | AT)),
        ("UV", _PASSKEY.new_data(UP | AT)),
        ("BS", _PASSKEY.new_data(UP | UV | AT | BS)),
        ("trailing", _PASSKEY.new_data(behind=b"\x00")),
        ("trailing", _PASSKEY.new_data(UP | UV)),
        ("attests no credential", _PASSKEY.data(UP | UV)),
        ("too early", _PASSKEY.new_data(UP | UV | AT | ED)),
        ("too early", _PASSKEY.new_data()[:-77]),
        ("ends behind", _PASSKEY.new_data()[:-1]),
        ("cut off", _PASSKEY.new_data()[:54]),
        ("cut off", _PASSKEY.new_data()[:60]),
        ("credential id", Authenticator(credential_id=b"").new_data()),
        ("credential id", Authenticator(credential_id=bytes(1024)).new_data()),
        ("4096", _PASSKEY.new_data(UP | UV | AT | ED, cbor({"credBlob": bytes(4096)}))),
    ],
)
def test_a6_authenticator_data_that_is_not_exact_registers_nothing(reason: str, data: bytes) -> None:
    _refused(registration(_ID, _CLIENT, data), reason)


@pytest.mark.parametrize(
    "key",
    [
        _P256 | {3: -35},
        _P256 | {3: -257},
        _P256 | {3: -47},
        _P256 | {1: 1},
        _P256 | {-1: 2},
        _P256 | {-1: True},
        _P256 | {-1: 8},
        _P256 | {4: [2]},
        _P256 | {-3: True},
        _P256 | {-3: bytes(32)},
        _P256 | {-2: bytes(32), -3: bytes(32)},
        _P256 | {-2: _P256[-2][1:]},
        _P256 | {-2: b"\x00" + _P256[-2]},
        {name: value for name, value in _P256.items() if name != 3},
        {name: value for name, value in _P256.items() if name != -3},
        {str(name): value for name, value in _P256.items()},
        _ED25519 | {1: True},
        _ED25519 | {3: -7},
        _ED25519 | {-1: 7},
        _ED25519 | {-2: _ED25519[-2][1:]},
        _ED25519 | {-2: bytes(32)},
        _ED25519 | {-2: b"\x01" + bytes(31)},
        _ED25519 | {-2: b"\xff" * 32},
        _RSA | {3: -65535},
        _RSA | {3: -37},
        _RSA | {3: -259},
        _RSA | {-2: b"\x03"},
        _RSA | {-2: b"\x00" + _RSA[-2]},
        _RSA | {-2: b"\x01\x00\x02"},
        _RSA | {-1: b"\x00" + _RSA[-1]},
        _RSA | {-1: _RSA[-1][:-1]},
        _RSA | {-1: b"\xff" * 1025},
        _RSA | {-1: _RSA[-1][:-1] + b"\x00"},
        Authenticator(published_key("rsa1024")).cose_key,
        {},
        [],
        b"\x04" + bytes(64),
    ],
)
def test_a6_a_key_of_another_algorithm_or_form_is_not_registered(key: Any) -> None:
    assert isinstance(load_cose_key(key), Refused)
    data = _PASSKEY.data(UP | UV | AT, 0, _PASSKEY.attested(cbor(key)))
    assert isinstance(_verify(registration(_ID, _CLIENT, data)), Refused)


def test_a_large_rsa_key_may_be_registered() -> None:
    passkey = Authenticator(rsa.generate_private_key(65537, 3072))
    assert isinstance(_verify(registration(_ID, _CLIENT, passkey.new_data())), Attested)


def test_a6_the_credential_id_is_the_attested_one() -> None:
    assert isinstance(_verify(registration(_ID, _CLIENT, _DATA)), Attested)
    _refused(registration(_ID + b"\x00", _CLIENT, _DATA), "credId")
    _refused(registration(bytes(32), _CLIENT, _DATA), "credId")
    longest = Authenticator(credential_id=bytes(1023))
    info = registration(b"x", _CLIENT, longest.new_data()).credential_info
    whole = msgspec.structs.replace(info, cred_id=base64url.encode(bytes(1023)))
    assert isinstance(_verify(Fido2Attestation("Fido2", whole)), Attested)


@pytest.mark.parametrize(
    ("reason", "encoded"),
    [
        ("bytes behind", cbor({"fmt": "none", "attStmt": {}, "authData": _DATA}) + b"\x00"),
        ("ends behind", cbor({"fmt": "none", "attStmt": {}, "authData": _DATA})[:-1]),
        ("CBOR map of", cbor({"fmt": "none", "attStmt": {}, "authData": _DATA, "epAtt": True})),
        ("CBOR map of", cbor({"fmt": "none", "authData": _DATA})),
        ("CBOR map of", cbor([])),
        ("fmt", cbor({"fmt": "android-safetynet", "attStmt": {}, "authData": _DATA})),
        ("fmt", cbor({"fmt": "None", "attStmt": {}, "authData": _DATA})),
        ("fmt", cbor({"fmt": ["none"], "attStmt": {}, "authData": _DATA})),
        ("attStmt must be", cbor({"fmt": "none", "attStmt": [], "authData": _DATA})),
        ("attStmt must be", cbor({"fmt": "none", "attStmt": {}, "authData": "x"})),
        ("empty attStmt", cbor({"fmt": "none", "attStmt": {"alg": -7}, "authData": _DATA})),
        ("empty attStmt", cbor({"fmt": "none", "attStmt": {"": {}}, "authData": _DATA})),
        ("indefinite", b"\xbf" + cbor({"fmt": "none", "attStmt": {}, "authData": _DATA})[1:] + b"\xff"),
        ("32768", cbor({"fmt": "packed", "attStmt": {"x5c": [bytes(32768)]}, "authData": _DATA})),
    ],
)
def test_a6_an_attestation_object_is_exact(reason: str, encoded: bytes) -> None:
    _refused(submitted(_ID, _CLIENT, encoded), reason)


_SIGNATURE = _PASSKEY.self_statement(_CLIENT, _DATA)["sig"]


@pytest.mark.parametrize(
    "statement",
    [
        {"alg": -7, "sig": sign(_PASSKEY.key, _DATA)},
        {"alg": -7, "sig": _PASSKEY.self_statement(_CLIENT + b" ", _DATA)["sig"]},
        {"alg": -7, "sig": Authenticator(published_key("other_p256")).self_statement(_CLIENT, _DATA)["sig"]},
        {"alg": -7, "sig": b""},
        {"alg": -7, "sig": "x"},
        {"alg": -7, "sig": bytes(5000)},
        {"alg": -7, "sig": _SIGNATURE + b"\x00"},
        {"alg": -257, "sig": _SIGNATURE},
        {"alg": -7, "sig": _SIGNATURE, "ver": "2.0"},
        {"sig": _SIGNATURE},
        {"alg": -7},
        {"alg": -7, "sig": _SIGNATURE, "ecdaaKeyId": b"x"},
        {},
    ],
)
def test_a6_a_self_attestation_that_does_not_hold_is_refused(statement: dict[str, Any]) -> None:
    assert _verify(_SELF).trust == "self"
    assert isinstance(_verify(registration(_ID, _CLIENT, _DATA, "packed", statement)), Refused)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_a6_no_changed_cut_or_added_byte_of_a_self_attestation_goes_unnoticed(data: st.DataObject) -> None:
    info = _SELF.credential_info
    name = data.draw(st.sampled_from(["cred_id", "client_data", "attestation_data"]))
    raw = bytearray(base64url.decode(getattr(info, name)))
    position = data.draw(st.integers(0, len(raw) - 1))
    match data.draw(st.sampled_from(["change", "cut", "add", "remove"])):
        case "change":
            raw[position] ^= data.draw(st.integers(1, 255))
        case "cut":
            del raw[position:]
        case "add":
            raw.insert(data.draw(st.integers(0, len(raw))), data.draw(st.integers(0, 255)))
        case _:
            del raw[position]
    changed = msgspec.structs.replace(info, **{name: base64url.encode(bytes(raw))})
    assert isinstance(_verify(Fido2Attestation("Fido2", changed)), Refused)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_a6_a_changed_byte_without_attestation_never_changes_what_was_asked_for(data: st.DataObject) -> None:
    # Nothing signs an attestation of format none: a change may make another key or counter of it, or nothing.
    info = registration(_ID, _CLIENT, _DATA).credential_info
    raw = bytearray(base64url.decode(info.attestation_data))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    changed = msgspec.structs.replace(info, attestation_data=base64url.encode(bytes(raw)))
    outcome = _verify(Fido2Attestation("Fido2", changed))
    if isinstance(outcome, Attested):
        assert (outcome.party, outcome.origin, outcome.credential_id) == (PARTY, ORIGIN, info.cred_id)
        assert (outcome.format, outcome.trust) == ("none", "none")
