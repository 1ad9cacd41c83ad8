import hashlib
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.credentials.fido2_registration import (
    FORMATS,
    AttestationPolicy,
    Attested,
    Format,
    verify_registration,
)
from countersign.credentials.outcome import Refused
from tests.support import attestations
from tests.support.attestations import Vendor
from tests.support.authenticator import CHALLENGE, PARTY, Authenticator, client_data, published_key, registration

_AAGUID = bytes(range(16))
_CLIENT = client_data("webauthn.create")
_KEY = Authenticator(aaguid=_AAGUID)
_U2F = Authenticator()
_VENDOR = Vendor()
_STRANGER = Vendor("Another Root")
_NAMESAKE = Vendor()


def _statement(format_: Format, vendor: Vendor = _VENDOR, passkey: Authenticator = _KEY) -> dict[str, Any]:
    data = passkey.new_data()
    match format_:
        case "packed":
            return attestations.packed(vendor, _CLIENT, data)
        case "fido-u2f":
            return attestations.fido_u2f(vendor, _CLIENT, passkey)
        case "tpm":
            return attestations.tpm(vendor, _CLIENT, data, passkey)
        case "apple":
            return attestations.apple(vendor, _CLIENT, data, passkey)
        case "android-key":
            return attestations.android_key(vendor, _CLIENT, data, passkey)
        case _:
            return {}


def _passkey(format_: Format) -> Authenticator:
    return _U2F if format_ == "fido-u2f" else _KEY


_STATEMENTS = {format_: _statement(format_, passkey=_passkey(format_)) for format_ in FORMATS}
_CERTIFIED = tuple(format_ for format_ in FORMATS if format_ != "none")


def _verify(format_: Format, statement: dict[str, Any], *anchors: Vendor, **policy: Any) -> Attested | Refused:
    passkey = _passkey(format_)
    attestation = registration(passkey.credential_id, _CLIENT, passkey.new_data(), format_, statement)
    roots = {format_: tuple(vendor.pem for vendor in anchors)}
    return verify_registration(attestation, CHALLENGE, [PARTY], policy=AttestationPolicy(roots, **policy))


@pytest.mark.parametrize("format_", _CERTIFIED)
def test_a_statement_under_a_trusted_root_is_certified(format_: Format) -> None:
    outcome = _verify(format_, _STATEMENTS[format_], _STRANGER, _VENDOR)
    assert isinstance(outcome, Attested), outcome
    assert (outcome.format, outcome.trust) == (format_, "certified")


@pytest.mark.parametrize("format_", _CERTIFIED)
def test_a_statement_under_another_root_is_refused(format_: Format) -> None:
    for vendor in (_STRANGER, _NAMESAKE):
        assert isinstance(_verify(format_, _STATEMENTS[format_], vendor), Refused)


@pytest.mark.parametrize("format_", _CERTIFIED)
def test_without_trust_anchors_nothing_is_certified(format_: Format) -> None:
    assert isinstance(_verify(format_, _STATEMENTS[format_]), Refused)
    passkey = _passkey(format_)
    data = passkey.new_data()
    attestation = registration(passkey.credential_id, _CLIENT, data, format_, _STATEMENTS[format_])
    policy = AttestationPolicy()
    assert isinstance(verify_registration(attestation, CHALLENGE, [PARTY], policy=policy), Refused)


@pytest.mark.parametrize("format_", _CERTIFIED)
def test_without_a_policy_a_statement_with_certificates_is_passed_over(format_: Format) -> None:
    passkey = _passkey(format_)
    for statement in (_STATEMENTS[format_], {"x5c": [b"x"]}):
        attestation = registration(passkey.credential_id, _CLIENT, passkey.new_data(), format_, statement)
        outcome = verify_registration(attestation, CHALLENGE, [PARTY])
        assert isinstance(outcome, Attested)
        assert outcome.trust == "unverified"


def test_a_policy_takes_neither_no_attestation_nor_a_self_attestation() -> None:
    data = _KEY.new_data()
    assert isinstance(_verify("none", {}, _VENDOR), Refused)
    assert isinstance(_verify("packed", _KEY.self_statement(_CLIENT, data), _VENDOR), Refused)


def test_a_policy_may_name_the_models() -> None:
    listed = {"aaguids": frozenset({UUID(bytes=_AAGUID)})}
    assert isinstance(_verify("packed", _STATEMENTS["packed"], _VENDOR, **listed), Attested)
    other = {"aaguids": frozenset({UUID(int=1)})}
    assert isinstance(_verify("packed", _STATEMENTS["packed"], _VENDOR, **other), Refused)


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ({}, True),
        ({"aaguid": _AAGUID}, True),
        ({"aaguid": bytes(16)}, False),
        ({"aaguid": _AAGUID[1:]}, False),
        ({"unit": "Web Server"}, False),
        ({"ca": True}, False),
        ({"expired": True}, False),
    ],
)
def test_a_packed_certificate_is_one_of_an_authenticator(changes: dict[str, Any], good: bool) -> None:
    statement = attestations.packed(_VENDOR, _CLIENT, _KEY.new_data(), **changes)
    assert isinstance(_verify("packed", statement, _VENDOR), Attested if good else Refused)


@pytest.mark.parametrize(
    ("algorithm", "digest", "good"), [(-257, hashes.SHA256(), True), (-65535, hashes.SHA1(), False)]
)
def test_a_signature_with_sha_1_certifies_nothing_but_a_tpm(
    algorithm: int, digest: hashes.HashAlgorithm, good: bool
) -> None:
    key, data = rsa.generate_private_key(65537, 2048), _KEY.new_data()
    signed = key.sign(data + hashlib.sha256(_CLIENT).digest(), padding.PKCS1v15(), digest)
    statement = attestations.packed(_VENDOR, _CLIENT, data, key=key) | {"alg": algorithm, "sig": signed}
    assert isinstance(_verify("packed", statement, _VENDOR), Attested if good else Refused)


@pytest.mark.parametrize("format_", _CERTIFIED)
@pytest.mark.parametrize(
    "change",
    [
        lambda statement: statement | {"x5c": []},
        lambda statement: statement | {"x5c": ["x"]},
        lambda statement: statement | {"x5c": [b"x"]},
        lambda statement: statement | {"x5c": statement["x5c"] * 9},
        lambda statement: statement | {"x5c": statement["x5c"][0]},
        lambda statement: statement | {"extra": 1},
        lambda statement: statement | {"alg": -65535},
        lambda statement: {name: value for name, value in statement.items() if name in ("x5c", "ver")} | {"x": 1},
        lambda statement: (
            {name: b"" if name in ("sig", "certInfo") else value for name, value in statement.items()}
            | ({"x5c": [b""]} if "sig" not in statement else {})
        ),
    ],
)
def test_a6_a_statement_of_another_form_is_refused(
    format_: Format, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    assert isinstance(_verify(format_, change(_STATEMENTS[format_]), _VENDOR), Refused)


@pytest.mark.parametrize("format_", _CERTIFIED)
def test_a6_a_statement_for_another_key_or_ceremony_is_refused(format_: Format) -> None:
    other = Authenticator(published_key("other_p256"), aaguid=_passkey(format_).aaguid)
    statement = _statement(format_, passkey=other)
    assert isinstance(_verify(format_, statement, _VENDOR), Refused)
    passkey = _passkey(format_)
    later = client_data("webauthn.create", extra=1)
    attestation = registration(passkey.credential_id, later, passkey.new_data(), format_, _STATEMENTS[format_])
    policy = AttestationPolicy({format_: (_VENDOR.pem,)})
    assert isinstance(verify_registration(attestation, CHALLENGE, [PARTY], policy=policy), Refused)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(_CERTIFIED), st.data())
def test_a6_a_changed_byte_of_a_statement_never_certifies(format_: Format, data: st.DataObject) -> None:
    statement = _STATEMENTS[format_]
    name = data.draw(st.sampled_from(sorted(name for name in statement if name not in ("alg", "ver"))))
    chain = name == "x5c"
    raw = bytearray(statement[name][0] if chain else statement[name])
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    changed = statement | {name: [bytes(raw), *statement[name][1:]] if chain else bytes(raw)}
    assert isinstance(_verify(format_, changed, _VENDOR), Refused)
