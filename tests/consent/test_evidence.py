import json
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.consent.digest import action_digest, payload_hash
from countersign.consent.evidence import Evidence, Proven, verify_evidence
from countersign.credentials.fido2_assertion import Fido2Context
from countersign.credentials.outcome import Refused
from countersign.credentials.public_key import PublicKey, load
from countersign.credentials.relying_party import RelyingParty
from countersign.encoding import base64url
from countersign.encoding.strictjson import parse_object
from tests.consent.ceremony import INSTALLATION, PRIVATE, PUBLIC, Ceremony, public_key_of
from tests.support.authenticator import ED, PARTY, RP_ID, UP, UV, Authenticator, cbor, client_data, published_key
from tests.support.vectors import auth_vectors

_GOOD = Ceremony()
_DIGEST = _GOOD.challenge.action
_PASSKEY = Authenticator()
_ONLINE = Fido2Context(PARTY, backup_eligible=False)
_OFFLINE = Fido2Context(RelyingParty(RP_ID, None), backup_eligible=None)


def _signed(client_data: bytes, **members: Any) -> Evidence:
    signature = base64url.encode(PRIVATE.sign(client_data))
    evidence = Evidence(kind="Key", client_data=base64url.encode(client_data), signature=signature)
    return msgspec.structs.replace(evidence, **members)


def _fido2(client: bytes | None = None, data: bytes | None = None, passkey: Authenticator = _PASSKEY) -> Evidence:
    signed_client = client or client_data("webauthn.get", challenge=_GOOD.challenge.text)
    assertion = passkey.answer(signed_client, data).credential_assertion
    return Evidence("Fido2", assertion.client_data, assertion.signature, assertion.authenticator_data)


def _check_record(record: dict[str, Any], org_id: str) -> Proven | Refused:
    action = parse_object(record["action"])
    path, mark, query = action["userActionHttpPath"].partition("?")
    digest = action_digest(
        INSTALLATION,
        org_id,
        record["userId"],
        action["userActionHttpMethod"],
        path,
        mark + query,
        payload_hash(parse_object(action["userActionPayload"])),
    )
    credential = record["firstFactorCredential"]
    key = load(credential["publicKey"])
    assert isinstance(key, PublicKey)
    assertion = {name: value for name, value in credential["assertion"].items() if value is not None}
    evidence = msgspec.convert({"kind": credential["kind"], **assertion}, Evidence)
    return verify_evidence(evidence, key, digest)


def test_the_published_audit_record_proves_consent_offline() -> None:
    vector = auth_vectors()["audit_record"]
    outcome = _check_record(vector["record"], vector["orgId"])
    assert isinstance(outcome, Proven)
    assert outcome.challenge.text == auth_vectors()["challenges"]["action"]["challenge"]


def _tampered(change: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(json.dumps(auth_vectors()["audit_record"]["record"]))
    if change == "payload in action replaced":
        record["action"] = record["action"].replace("EthereumSepolia", "Ethereum")
    elif change == "userId replaced":
        record["userId"] = auth_vectors()["meta"]["service_account_id"]
    else:
        assert change == "publicKey replaced"
        record["firstFactorCredential"]["publicKey"] = auth_vectors()["keys"]["recovery_p256"]["public_spki_pem"]
    return record


@pytest.mark.parametrize("case", auth_vectors()["audit_record"]["tampered"])
def test_a_published_tampered_record_is_found_out(case: dict[str, str]) -> None:
    outcome = _check_record(_tampered(case["change"]), auth_vectors()["audit_record"]["orgId"])
    expected = {"digest mismatch": "digest", "signature": "signature"}[case["expected"]]
    assert isinstance(outcome, Refused)
    assert expected in outcome.reason


def test_a_record_under_another_organisation_is_found_out() -> None:
    outcome = _check_record(auth_vectors()["audit_record"]["record"], "or-zzzzz-9c4vd-8a1n3q5r7t9u1w3y")
    assert isinstance(outcome, Refused)


@pytest.mark.parametrize("double", [False, True])
def test_consent_in_either_form_of_the_challenge_is_proven(double: bool) -> None:
    ceremony = Ceremony(double=double)
    assert verify_evidence(ceremony.evidence, PUBLIC, _DIGEST) == Proven(ceremony.challenge, None)


def test_consent_to_another_action_or_by_another_key_is_refused() -> None:
    other_key = public_key_of(Ed25519PrivateKey.from_private_bytes(bytes(32)))
    assert isinstance(verify_evidence(_GOOD.evidence, PUBLIC, Ceremony(path="/wallets").challenge.action), Refused)
    assert isinstance(verify_evidence(_GOOD.evidence, other_key, _DIGEST), Refused)


@pytest.mark.parametrize(
    "client_data",
    [
        msgspec.json.encode({"type": "key.create", "challenge": _GOOD.challenge.text}),
        msgspec.json.encode({"type": "webauthn.get", "challenge": _GOOD.challenge.text}),
        msgspec.json.encode({"type": "key.get", "challenge": _DIGEST}),
        msgspec.json.encode({"type": "key.get", "challenge": auth_vectors()["challenges"]["login"]["challenge"]}),
        msgspec.json.encode({"type": "key.get", "challenge": _GOOD.challenge.text, "crossOrigin": True}),
        msgspec.json.encode({"type": "key.get", "challenge": _GOOD.challenge.text, "pad": "x" * 1024}),
        b"{}",
    ],
)
def test_signed_client_data_that_is_no_consent_is_refused(client_data: bytes) -> None:
    assert isinstance(verify_evidence(_signed(client_data), PUBLIC, _DIGEST), Refused)


@pytest.mark.parametrize("members", [{"authenticator_data": ""}, {"algorithm": "SHA256"}, {"signature": "AA"}])
def test_evidence_with_a_member_that_does_not_fit_is_refused(members: dict[str, str]) -> None:
    evidence = msgspec.structs.replace(_GOOD.evidence, **members)
    assert isinstance(verify_evidence(evidence, PUBLIC, _DIGEST), Refused)


@pytest.mark.parametrize("kind", ["RecoveryKey", "Password", "Totp", "fido2", "key"])
def test_kinds_that_sign_no_actions_have_no_evidence(kind: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"kind": kind, "clientData": "", "signature": ""}, Evidence)


def test_actions_are_not_signed_with_rsa_keys_above_4096_bits() -> None:
    rsa = load(auth_vectors()["keys"]["rsa2048"]["public_spki_pem"])
    assert isinstance(rsa, PublicKey)
    large = PublicKey(rsa.pem, "rsa", rsa.fingerprint, 4097, rsa._key)
    outcome = verify_evidence(_GOOD.evidence, large, _DIGEST)
    assert isinstance(outcome, Refused)
    assert "4096 bits" in outcome.reason


@pytest.mark.parametrize("context", [_ONLINE, _OFFLINE])
@pytest.mark.parametrize("name", ["fido_p256", "fido_ed25519", "fido_rsa2048"])
def test_consent_by_a_passkey_is_proven_online_and_offline(name: str, context: Fido2Context) -> None:
    passkey = Authenticator(published_key(name))
    double = base64url.encode(_GOOD.challenge.text.encode())
    for challenge in (_GOOD.challenge.text, double):
        evidence = _fido2(client_data("webauthn.get", challenge=challenge), passkey.data(UP | UV, 7), passkey)
        outcome = verify_evidence(evidence, passkey.public_key, _DIGEST, context)
        assert isinstance(outcome, Proven)
        assert outcome.challenge == _GOOD.challenge
        assert outcome.answer is not None
        assert outcome.answer.authenticator_data.sign_count == 7


@pytest.mark.parametrize(
    "evidence",
    [
        _fido2(client_data("webauthn.get", challenge=_GOOD.challenge.text, origin="https://evil.test")),
        _fido2(client_data("webauthn.get", challenge=_GOOD.challenge.text, crossOrigin=True)),
    ],
)
def test_origins_are_judged_where_they_are_known(evidence: Evidence) -> None:
    assert isinstance(verify_evidence(evidence, _PASSKEY.public_key, _DIGEST, _ONLINE), Refused)
    assert isinstance(verify_evidence(evidence, _PASSKEY.public_key, _DIGEST, _OFFLINE), Proven)


@pytest.mark.parametrize(
    "evidence",
    [
        msgspec.structs.replace(_fido2(), authenticator_data=None),
        msgspec.structs.replace(_fido2(), kind="Key"),
        msgspec.structs.replace(_fido2(), algorithm="SHA512"),
        _fido2(client_data("webauthn.get", challenge=Ceremony(path="/wallets").challenge.text)),
        _fido2(client_data("webauthn.create", challenge=_GOOD.challenge.text)),
        _fido2(client_data("key.get", challenge=_GOOD.challenge.text)),
        _fido2(client_data("webauthn.get", challenge=_DIGEST)),
        _fido2(client_data("webauthn.get", challenge=_GOOD.challenge.text, pad="x" * 1024)),
        _fido2(data=Authenticator(rp_id="evil.test").data(UP | UV)),
        _fido2(data=_PASSKEY.data(UP)),
        _fido2(data=_PASSKEY.data(UV)),
        _fido2(data=_PASSKEY.data(UP | UV | ED, 0, cbor({"credBlob": bytes(512)}))),
        _fido2(passkey=Authenticator(published_key("other_p256"))),
    ],
)
def test_a6_evidence_of_a_passkey_that_is_no_consent_is_refused(evidence: Evidence) -> None:
    for context in (_ONLINE, _OFFLINE):
        assert isinstance(verify_evidence(evidence, _PASSKEY.public_key, _DIGEST, context), Refused)


def test_evidence_of_a_passkey_needs_its_relying_party() -> None:
    assert isinstance(verify_evidence(_fido2(), _PASSKEY.public_key, _DIGEST), Refused)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_a7_changed_evidence_is_never_proof(data: st.DataObject) -> None:
    good = _GOOD.evidence
    name = data.draw(st.sampled_from(["client_data", "signature"]))
    raw = bytearray(base64url.decode(getattr(good, name)))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    changed = msgspec.structs.replace(good, **{name: base64url.encode(bytes(raw))})
    assert isinstance(verify_evidence(changed, PUBLIC, _DIGEST), Refused)
