"""Passkeys: assertions, what an authenticator may sign, registrations and statements of vendors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from typing import Any
from uuid import UUID

from countersign.credentials.fido2_assertion import Fido2Assertion, Fido2Context, verify_assertion
from countersign.credentials.fido2_registration import (
    AttestationPolicy,
    Attested,
    Fido2Attestation,
    verify_registration,
)
from countersign.credentials.key_assertion import lookup_key
from countersign.credentials.outcome import Refused
from countersign.encoding import base64url
from tests.fuzz import readers
from tests.fuzz.key_subjects import CLIENT_DATA, algorithm_of, convert, sign, signature_codec
from tests.fuzz.mutations import AUTHENTICATOR_DATA, Base64, Bytes, Codec
from tests.fuzz.readers import AuthenticatorData, answers, client_data_of, only, read64, signature_of
from tests.fuzz.subjects import Case, Subject, compact, private_key, public_key
from tests.fuzz.trees import Cbor, Json
from tests.support import attestations
from tests.support.authenticator import CHALLENGE, ED, ORIGIN, PARTY, UP, USER_ID, UV, Authenticator, cbor, client_data

KEYS = ("fido_p256", "fido_ed25519", "fido_rsa2048")
_HASH = hashlib.sha256(PARTY.rp_id.encode()).digest()


def passkey_factor(name: str, authenticator: Authenticator, client: bytes, data: bytes, user_id: str) -> dict[str, Any]:
    """A first factor as it stands in a request."""
    signature = sign(name, data + hashlib.sha256(client).digest())
    parts = {
        "credId": authenticator.credential_id,
        "clientData": client,
        "authenticatorData": data,
        "signature": signature,
        "userHandle": user_id.encode(),
    }
    return {
        "kind": "Fido2",
        "credentialAssertion": {part: base64url.encode(value) for part, value in parts.items()},
    }


def passkey_factor_meaning(key_kind: str, user_id: str) -> Callable[[Any], Hashable]:
    """Of a factor, read already. A user handle may be left out or empty, but name nobody else."""

    def meaning(factor: Any) -> Hashable:
        body = only(factor, needed={"kind", "credentialAssertion"})
        parts = only(
            body["credentialAssertion"],
            needed={"credId", "clientData", "authenticatorData", "signature"},
            optional={"algorithm", "userHandle"},
        )
        handle = parts.get("userHandle") or ""
        return (
            body["kind"],
            *(read64(parts[name]) for name in ("credId", "clientData", "authenticatorData")),
            signature_of(key_kind, read64(parts["signature"])),
            algorithm_of(key_kind, parts.get("algorithm")),
            read64(handle) in (b"", user_id.encode()),
        )

    return meaning


def passkey_codec(name: str) -> dict[str, Codec[str]]:
    """The members of such a factor."""
    return {
        "clientData": Base64(CLIENT_DATA),
        "authenticatorData": Base64(AUTHENTICATOR_DATA),
        "signature": Base64(signature_codec(name)),
        "credId": Base64(Bytes()),
        "userHandle": Base64(Bytes()),
    }


def _assertions(name: str) -> Subject:
    key = public_key(name)
    authenticator = Authenticator(key=private_key(name))
    meaning = passkey_factor_meaning(key.kind, USER_ID)
    cases = []
    for number in range(3):
        issued = f"{CHALLENGE}{number}"
        double = base64url.encode(issued.encode())
        client = client_data("webauthn.get", challenge=double if number == 1 else issued)
        extensions = cbor({"credProtect": 2}) if number == 2 else b""
        data = authenticator.data(UP | UV | (ED if extensions else 0), 7 * number, extensions)
        message = compact(passkey_factor(name, authenticator, client, data, USER_ID))
        context = Fido2Context(PARTY, backup_eligible=False)

        def accept(mutated: bytes, issued: str = issued, context: Fido2Context = context) -> Hashable | None:
            assertion = convert(mutated, Fido2Assertion)
            wanted = base64url.encode(authenticator.credential_id)
            if assertion is None or lookup_key(assertion.credential_assertion.cred_id) != wanted:
                return None
            outcome = verify_assertion(assertion, key, context, issued, user_id=USER_ID)
            return None if isinstance(outcome, Refused) else outcome.answer.mark

        expected, mark = meaning(readers.read_json(message)), accept(message)

        def allowed(mutated: bytes, expected: Hashable = expected, mark: Hashable = mark) -> Hashable | None:
            return mark if meaning(readers.read_json(mutated)) == expected else None

        cases.append(Case(message, accept, allowed))
    return Subject(f"Fido2 assertion {key.kind}", Json(passkey_codec(name)), cases, 2.0)


def _page_allowed(client: dict[str, Any]) -> bool:
    """Whether the page is one of the relying party, and in no foreign frame."""
    framed = client.get("crossOrigin", False) is not False or "topOrigin" in client
    return client.get("origin") == ORIGIN and not framed


def _signed_by_the_authenticator() -> Subject:
    """What the authenticator did sign: only what its holder may say to this relying party counts."""
    key, name = public_key("fido_p256"), "fido_p256"
    authenticator = Authenticator(key=private_key(name))

    def accept(mutated: bytes) -> Hashable | None:
        parts = readers.read_json(mutated)
        if not isinstance(parts, dict) or not all(isinstance(parts.get(part), str) for part in ("client", "data")):
            return None
        try:
            client, data = read64(parts["client"]), read64(parts["data"])
        except ValueError:
            return None
        factor = passkey_factor(name, authenticator, client, data, USER_ID)
        assertion = convert(compact(factor), Fido2Assertion)
        if assertion is None:
            return None
        outcome = verify_assertion(assertion, key, Fido2Context(PARTY, False), CHALLENGE, user_id=USER_ID)
        return None if isinstance(outcome, Refused) else (outcome.origin, outcome.answer.authenticator_data.sign_count)

    def guarded(mutated: bytes) -> Hashable | None:
        try:
            return accept(mutated)
        except (ValueError, RecursionError):
            # The wrapping of both parts is of this test, not of the API.
            return None

    def allowed(mutated: bytes) -> Hashable | None:
        parts = readers.read_json(mutated)
        client = client_data_of(read64(parts["client"]), "webauthn.get")
        data = AuthenticatorData(read64(parts["data"]))
        good = answers(client, CHALLENGE) and _page_allowed(client) and data.rp_id_hash == _HASH
        good = good and data.present and data.verified and not data.eligible and not data.attests
        return (ORIGIN, data.counter) if good else None

    cases = []
    for extensions in (b"", cbor({"a": [1, {"b": b"c"}]})):
        data = authenticator.data(UP | UV | (ED if extensions else 0), 1, extensions)
        parts = {"client": client_data("webauthn.get"), "data": data}
        cases.append(Case(compact({part: base64url.encode(raw) for part, raw in parts.items()}), guarded, allowed))
    codec = Json({"client": Base64(CLIENT_DATA), "data": Base64(AUTHENTICATOR_DATA)})
    return Subject("what an authenticator signs (Fido2)", codec, cases, 2.5)


def registration_reading(info: Any, challenge: str) -> tuple[dict[str, Any], AuthenticatorData, Any, str]:
    """Client data, authenticator data, the attestation object and the credential id's text, all rules kept."""
    parts = only(info, needed={"credId", "clientData", "attestationData"})
    client = client_data_of(read64(parts["clientData"]), "webauthn.create")
    statement = readers.read_cbor(read64(parts["attestationData"]))
    if statement.keys() != {"fmt", "attStmt", "authData"}:
        raise ValueError("other members")
    data = AuthenticatorData(statement["authData"])
    good = answers(client, challenge) and data.attests and data.present and data.verified
    if not good or read64(parts["credId"]) != data.credential_id:
        raise ValueError("not an answer to this challenge, or another credential")
    return client, data, statement, parts["credId"]


def registered(data: AuthenticatorData, credential_id: str, format_: str) -> Hashable:
    """What is to be stored of a registration."""
    flags = data.eligible, data.backed_up
    return credential_id, data.fingerprint, data.counter, flags, UUID(bytes=data.aaguid), format_


def outcome_of(attested: Attested) -> Hashable:
    """The same as the server has it."""
    flags = attested.backup_eligible, attested.backed_up
    stored = attested.public_key.fingerprint, attested.sign_count, flags, attested.aaguid, attested.format
    return attested.credential_id, *stored


def registration_codec() -> dict[str, Codec[str]]:
    """The members of a credential info of a passkey."""
    statement = Cbor({"authData": AUTHENTICATOR_DATA, "sig": signature_codec("p256")})
    return {"clientData": Base64(CLIENT_DATA), "attestationData": Base64(statement), "credId": Base64(Bytes())}


def registration_info(authenticator: Authenticator, client: bytes, data: bytes, format_: str, statement: Any) -> Any:
    """A credential info as it stands in a request."""
    attestation = cbor({"fmt": format_, "attStmt": statement, "authData": data})
    parts = {"credId": authenticator.credential_id, "clientData": client, "attestationData": attestation}
    return {part: base64url.encode(raw) for part, raw in parts.items()}


def _registrations(name: str) -> Subject:
    """Without a policy: nobody vouches for what the authenticator says of itself, so it may say other things.

    But what is stored must be what it says, and a self attestation must be by the key over exactly this.
    """
    authenticator = Authenticator(key=private_key(name))
    kind = public_key(name).kind
    cases = []
    for format_ in ("none", "packed"):
        client = client_data("webauthn.create")
        data = authenticator.new_data()
        signature = sign(name, data + hashlib.sha256(client).digest())
        statement = {} if format_ == "none" else {"alg": authenticator.cose_key[3], "sig": signature}
        self_signed = data, client, signature_of(kind, signature)
        info = registration_info(authenticator, client, data, format_, statement)

        def accept(mutated: bytes) -> Hashable | None:
            attestation = convert(mutated, Fido2Attestation)
            outcome = None if attestation is None else verify_registration(attestation, CHALLENGE, [PARTY])
            return None if outcome is None or isinstance(outcome, Refused) else (*outcome_of(outcome), outcome.trust)

        def allowed(mutated: bytes, signed: Hashable = self_signed) -> Hashable | None:
            body = readers.read_object(mutated, needed={"credentialKind", "credentialInfo"})
            read, data, statement, credential_id = registration_reading(body["credentialInfo"], CHALLENGE)
            if body["credentialKind"] != "Fido2" or not _page_allowed(read) or data.rp_id_hash != _HASH:
                return None
            trust = "none" if statement["fmt"] == "none" else "unverified"
            if statement["fmt"] == "packed" and "x5c" not in statement["attStmt"]:
                client = read64(body["credentialInfo"]["clientData"])
                if (data.raw, client, signature_of(kind, statement["attStmt"]["sig"])) != signed:
                    return None
                trust = "self"
            return (*registered(data, credential_id, statement["fmt"]), trust)

        cases.append(Case(compact({"credentialKind": "Fido2", "credentialInfo": info}), accept, allowed))
    return Subject(f"Fido2 registration {kind}", Json(registration_codec()), cases, 2.0)


def _certified() -> Subject:
    """With a policy: a vendor vouches for the key and, but for U2F, for everything the authenticator says."""
    vendor, authenticator = attestations.Vendor(), Authenticator(key=private_key("fido_p256"))
    data = authenticator.new_data()
    make: dict[str, Callable[[bytes], dict[str, Any]]] = {
        "packed": lambda client: attestations.packed(vendor, client, data),
        "fido-u2f": lambda client: attestations.fido_u2f(vendor, client, authenticator),
        "apple": lambda client: attestations.apple(vendor, client, data, authenticator),
        "android-key": lambda client: attestations.android_key(vendor, client, data, authenticator),
        "tpm": lambda client: attestations.tpm(vendor, client, data, authenticator),
    }
    policy = AttestationPolicy(anchors=dict.fromkeys(make, (vendor.pem,)))
    own = _HASH, authenticator.credential_id, authenticator.public_key.fingerprint
    cases = []
    for number, format_ in enumerate(make):
        challenge = base64url.encode(f"challenge {number}".encode())
        client = client_data("webauthn.create", challenge=challenge)
        info = registration_info(authenticator, client, data, format_, make[format_](client))

        def accept(mutated: bytes, challenge: str = challenge) -> Hashable | None:
            attestation = convert(mutated, Fido2Attestation)
            if attestation is None:
                return None
            outcome = verify_registration(attestation, challenge, [PARTY], policy=policy)
            if isinstance(outcome, Refused):
                return None
            assert outcome.trust == "certified"
            return outcome_of(outcome)

        def allowed(
            mutated: bytes, format_: str = format_, challenge: str = challenge, client: bytes = client
        ) -> Hashable | None:
            body = readers.read_object(mutated, needed={"credentialKind", "credentialInfo"})
            _, read, statement, credential_id = registration_reading(body["credentialInfo"], challenge)
            same_client = read64(body["credentialInfo"]["clientData"]) == client
            if body["credentialKind"] != "Fido2" or not same_client or statement["fmt"] != format_:
                return None
            # U2F signs relying party, challenge, credential id and key, not flags, counter and model.
            named = read.rp_id_hash, read.credential_id, read.fingerprint
            same = named == own if format_ == "fido-u2f" else read.raw == data
            return registered(read, credential_id, format_) if same else None

        cases.append(Case(compact({"credentialKind": "Fido2", "credentialInfo": info}), accept, allowed))
    return Subject("Fido2 registration certified", Json(registration_codec()), cases, 1.0)


def subjects() -> list[Subject]:
    """All of them."""
    return [
        *(_assertions(name) for name in KEYS),
        _signed_by_the_authenticator(),
        *(_registrations(name) for name in KEYS),
        _certified(),
    ]
