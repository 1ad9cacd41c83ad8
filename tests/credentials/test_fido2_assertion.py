import hashlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.credentials.fido2_assertion import (
    Advanced,
    Answer,
    Cloned,
    Fido2Assertion,
    Fido2Context,
    Proven,
    Unmoved,
    step_counter,
    verify_assertion,
)
from countersign.credentials.outcome import Refused
from countersign.credentials.public_key import PublicKey, load
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
    USER_ID,
    UV,
    Authenticator,
    cbor,
    client_data,
    published_key,
)
from tests.support.vectors import auth_vectors, named

_TYPE = "webauthn.get"
_PASSKEY = Authenticator()
_PUBLIC = _PASSKEY.public_key
_CONTEXT = Fido2Context(PARTY, backup_eligible=False)
_GOOD = _PASSKEY.answer()


def _verify(
    assertion: Fido2Assertion, key: PublicKey = _PUBLIC, context: Fido2Context = _CONTEXT, **options: Any
) -> Any:
    return verify_assertion(assertion, key, context, CHALLENGE, **{"user_id": USER_ID} | options)


def _answer(counter: int = 0, **members: object) -> Answer:
    outcome = _verify(_PASSKEY.answer(client_data(_TYPE, **members), _PASSKEY.data(UP | UV, counter)))
    assert isinstance(outcome, Proven)
    return outcome.answer


@pytest.mark.parametrize("case", **named(auth_vectors()["fido2_assertions"]))
def test_published_assertions_prove_or_are_refused_as_stated(case: dict[str, Any]) -> None:
    stored, policy = case["stored"], case["policy"]
    key = load(auth_vectors()["keys"][stored["public_key"]]["public_spki_pem"])
    assert isinstance(key, PublicKey)
    party = RelyingParty(stored["rpId"], frozenset(policy["origins"]))
    assertion = msgspec.convert(case["assertion"], Fido2Assertion)
    context = Fido2Context(party, None)
    outcome = verify_assertion(assertion, key, context, case["expected_challenge"], user_id=stored["userId"])
    cloned = isinstance(outcome, Proven) and isinstance(step_counter(stored["signCount"], outcome.answer, ()), Cloned)
    assert (isinstance(outcome, Proven) and not cloned) == case["valid"], outcome
    assert cloned == (case.get("reason") == "sign counter")


@pytest.mark.parametrize("name", ["fido_p256", "fido_ed25519", "fido_rsa2048"])
def test_an_answer_is_proven_under_each_algorithm(name: str) -> None:
    passkey = Authenticator(published_key(name))
    outcome = _verify(passkey.answer(), passkey.public_key)
    assert isinstance(outcome, Proven)
    assert (outcome.credential_id, outcome.origin) == (base64url.encode(passkey.credential_id), ORIGIN)


@pytest.mark.parametrize(
    ("reason", "client"),
    [
        ("origin", client_data(_TYPE, origin="https://app.example.org.evil.test")),
        ("origin", client_data(_TYPE, origin="https://example.org")),
        ("origin", client_data(_TYPE, origin="http://app.example.org")),
        ("origin", client_data(_TYPE, origin="https://app.example.org:8443")),
        ("origin", client_data(_TYPE, origin="https://app.example.org/")),
        ("origin", client_data(_TYPE, origin="https://APP.example.org")),
        ("origin", client_data(_TYPE, origin=None)),
        ("origin", client_data(_TYPE, drop="origin")),
        ("type", client_data("webauthn.create")),
        ("type", client_data("key.get")),
        ("type", client_data(_TYPE, drop="type")),
        ("challenge", client_data(_TYPE, challenge=CHALLENGE[:-1])),
        ("challenge", client_data(_TYPE, challenge=CHALLENGE + "=")),
        ("challenge", client_data(_TYPE, challenge=auth_vectors()["challenges"]["login"]["challenge"])),
        ("challenge", client_data(_TYPE, drop="challenge")),
        ("crossOrigin", client_data(_TYPE, crossOrigin=True)),
        ("crossOrigin", client_data(_TYPE, crossOrigin="false")),
        ("crossOrigin", client_data(_TYPE, crossOrigin=None)),
        ("topOrigin", client_data(_TYPE, topOrigin=ORIGIN)),
        ("topOrigin", client_data(_TYPE, topOrigin=None)),
        ("twice", client_data(_TYPE)[:-1] + b',"type":"webauthn.get"}'),
        ("4096", client_data(_TYPE, pad="x" * 4096)),
        ("not JSON", b""),
    ],
)
def test_a6_signed_client_data_from_elsewhere_is_refused(reason: str, client: bytes) -> None:
    outcome = _verify(_PASSKEY.answer(client))
    assert isinstance(outcome, Refused)
    assert reason in outcome.reason


@pytest.mark.parametrize(
    ("reason", "data"),
    [
        ("rpIdHash", Authenticator(rp_id="app.example.org").data(UP | UV)),
        ("rpIdHash", Authenticator(rp_id="Example.org").data(UP | UV)),
        ("UP", _PASSKEY.data(UV)),
        ("UV", _PASSKEY.data(UP)),
        ("BS", _PASSKEY.data(UP | UV | BS)),
        ("BE", _PASSKEY.data(UP | UV | BE)),
        ("shorter", _PASSKEY.data(UP | UV)[:36]),
        ("shorter", b""),
        ("trailing", _PASSKEY.data(UP | UV, 0, b"\x00")),
        ("trailing", _PASSKEY.data(UP | UV, 0, cbor({"credProtect": 2}))),
        ("trailing", _PASSKEY.data(UP | UV | ED, 0, cbor({"credProtect": 2}) + b"\xa0")),
        ("too early", _PASSKEY.data(UP | UV | ED)),
        ("too early", _PASSKEY.data(UP | UV | ED, 0, cbor({"credProtect": 2})[:-1])),
        ("no map", _PASSKEY.data(UP | UV | ED, 0, cbor(["credProtect", 2]))),
        ("no map", _PASSKEY.data(UP | UV | ED, 0, cbor({1: 2}))),
        ("AT", _PASSKEY.new_data()),
        ("cut off", _PASSKEY.data(UP | UV | AT)),
        ("4096", _PASSKEY.data(UP | UV | ED, 0, cbor({"credBlob": bytes(4096)}))),
    ],
)
def test_a6_signed_authenticator_data_that_is_not_exact_is_refused(reason: str, data: bytes) -> None:
    outcome = _verify(_PASSKEY.answer(data=data))
    assert isinstance(outcome, Refused)
    assert reason in outcome.reason


@pytest.mark.parametrize(
    "members",
    [
        {"algorithm": "SHA512"},
        {"algorithm": "SHA384"},
        {"algorithm": "RSA-SHA256"},
        {"algorithm": "RSA-SHA1"},
        {"algorithm": "none"},
        {"algorithm": ""},
        {"algorithm": "-7"},
        {"signature": ""},
        {"signature": "A" * 86},
        {"signature": "é"},
        {"signature": "A" * 2000},
        {"authenticator_data": "é"},
        {"client_data": "é"},
        {"user_handle": "é"},
        {"user_handle": base64url.encode(b"us-00000-00000-0000000000000000")},
    ],
)
def test_a6_another_algorithm_signature_or_user_is_refused(members: dict[str, str]) -> None:
    assert isinstance(_verify(_PASSKEY.answer(**members)), Refused)


@pytest.mark.parametrize(
    "signed",
    [
        _PASSKEY.data(UP | UV) + client_data(_TYPE),
        hashlib.sha256(client_data(_TYPE)).digest() + _PASSKEY.data(UP | UV),
        client_data(_TYPE),
        _PASSKEY.data(UP | UV) + hashlib.sha256(client_data(_TYPE) + b" ").digest(),
        _PASSKEY.data(UP | UV, 1) + hashlib.sha256(client_data(_TYPE)).digest(),
    ],
)
def test_a6_a_signature_over_other_bytes_is_refused(signed: bytes) -> None:
    assert isinstance(_verify(_PASSKEY.answer(signed=signed)), Refused)


def test_a6_a_key_of_another_kind_proves_nothing() -> None:
    for name in ("other_p256", "p384", "secp256k1", "fido_ed25519", "fido_rsa2048"):
        other = Authenticator(published_key(name)).public_key
        assert isinstance(_verify(_PASSKEY.answer(), other), Refused)
    p384 = Authenticator(published_key("p384"))
    assert isinstance(_verify(p384.answer(), p384.public_key), Refused)


def test_the_algorithm_may_repeat_that_of_the_key() -> None:
    assert isinstance(_verify(_PASSKEY.answer(algorithm="SHA256")), Proven)
    rsa = Authenticator(published_key("fido_rsa2048"))
    assert isinstance(_verify(rsa.answer(algorithm="RSA-SHA256"), rsa.public_key), Proven)
    ed25519 = Authenticator(published_key("fido_ed25519"))
    assert isinstance(_verify(ed25519.answer(algorithm="SHA256"), ed25519.public_key), Refused)


def test_extensions_and_unknown_members_do_no_harm() -> None:
    data = _PASSKEY.data(UP | UV | ED, 0, cbor({"credProtect": 2, "uvm": [[2, 4, 2]], "hmac-secret": True}))
    client = client_data(_TYPE, tokenBinding={"status": "supported"}, other_keys_can_be_added_here="x")
    assert isinstance(_verify(_PASSKEY.answer(client, data)), Proven)


def test_user_verification_is_dropped_only_where_the_context_says_so() -> None:
    relaxed = Fido2Context(PARTY, False, require_user_verification=False)
    assert isinstance(_verify(_PASSKEY.answer(data=_PASSKEY.data(UP)), context=relaxed), Proven)
    assert isinstance(_verify(_PASSKEY.answer(data=_PASSKEY.data(UV)), context=relaxed), Refused)


def test_eligibility_for_backup_never_changes() -> None:
    synced = Fido2Context(PARTY, backup_eligible=True)
    for flags in (BE, BE | BS):
        assert isinstance(_verify(_PASSKEY.answer(data=_PASSKEY.data(UP | UV | flags)), context=synced), Proven)
    assert isinstance(_verify(_PASSKEY.answer(), context=synced), Refused)
    assert isinstance(_verify(_PASSKEY.answer(), context=Fido2Context(PARTY, None)), Proven)


def test_framing_needs_permission_and_a_listed_top_origin() -> None:
    top = "https://portal.example.net"
    context = Fido2Context(RelyingParty(RP_ID, frozenset({ORIGIN}), frozenset({top})), False)
    for members, good in [
        ({"crossOrigin": True, "topOrigin": top}, True),
        ({"crossOrigin": True}, True),
        ({}, True),
        ({"crossOrigin": True, "topOrigin": top + ".evil.test"}, False),
        ({"crossOrigin": True, "topOrigin": ORIGIN}, False),
        ({"crossOrigin": True, "origin": top}, False),
    ]:
        outcome = _verify(_PASSKEY.answer(client_data(_TYPE, **members)), context=context)
        assert isinstance(outcome, Proven) == good, members


@pytest.mark.parametrize("handle", [None, "", base64url.encode(b"-"), base64url.encode(b"us-another")])
def test_a10_a_user_handle_saves_no_work(handle: str | None) -> None:
    forged = _PASSKEY.answer(user_handle=handle, signed=b"something else")
    refused = [_verify(forged, user_handle_required=required).reason for required in (False, True)]
    assert refused == ["the signature does not hold under the credential's public key"] * 2


@pytest.mark.parametrize("handle", [None, ""])
def test_without_a_user_handle_somebody_must_have_said_who_logs_in(handle: str | None) -> None:
    assertion = _PASSKEY.answer(user_handle=handle)
    assert isinstance(_verify(assertion), Proven)
    assert isinstance(_verify(assertion, user_handle_required=True), Refused)
    assert isinstance(_verify(_PASSKEY.answer(), user_handle_required=True), Proven)


@pytest.mark.parametrize(
    ("stored", "received", "expected"),
    [
        (0, 0, Unmoved),
        (0, 1, Advanced),
        (7, 8, Advanced),
        (7, 2**32 - 1, Advanced),
        (7, 7, Cloned),
        (7, 6, Cloned),
        (7, 0, Cloned),
        (2**32 - 1, 0, Cloned),
    ],
)
def test_a6_the_counter_moves_on_or_stays_at_zero(stored: int, received: int, expected: type) -> None:
    answer = _answer(received)
    outcome = step_counter(stored, answer, ())
    assert type(outcome) is expected
    if isinstance(outcome, Advanced):
        assert outcome == Advanced(received, answer.mark)


def test_an_answer_sent_again_is_a_retry_and_no_clone() -> None:
    first = step_counter(7, _answer(8), ())
    assert isinstance(first, Advanced)
    assert step_counter(first.sign_count, _answer(8), {first.mark}) == Unmoved()
    # Another challenge with the same counter, or the same with an older one, is none.
    assert step_counter(8, _answer(8, extra="x"), {first.mark}) == Cloned(8, 8)
    assert step_counter(8, _answer(7), {first.mark}) == Cloned(8, 7)


def test_the_mark_of_an_answer_does_not_depend_on_its_signature() -> None:
    one, two = _PASSKEY.answer(), _PASSKEY.answer()
    assert one.credential_assertion.signature != two.credential_assertion.signature
    assert _verify(one).answer.mark == _verify(two).answer.mark


def test_a_body_has_the_published_shape() -> None:
    body = json.loads(msgspec.json.encode(_PASSKEY.answer()))
    assert msgspec.convert(body, Fido2Assertion) == msgspec.json.decode(json.dumps(body), type=Fido2Assertion)
    for change in ({"kind": "Key"}, {"extra": 1}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(body | change, Fido2Assertion)
    for name in ("credId", "clientData", "authenticatorData", "signature"):
        evidence = {key: value for key, value in body["credentialAssertion"].items() if key != name}
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(body | {"credentialAssertion": evidence}, Fido2Assertion)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_a6_no_changed_cut_or_added_byte_goes_unnoticed(data: st.DataObject) -> None:
    evidence = _GOOD.credential_assertion
    name = data.draw(st.sampled_from(["client_data", "authenticator_data", "signature"]))
    raw = bytearray(base64url.decode(getattr(evidence, name)))
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
    changed = msgspec.structs.replace(evidence, **{name: base64url.encode(bytes(raw))})
    assert isinstance(_verify(Fido2Assertion("Fido2", changed)), Refused)
