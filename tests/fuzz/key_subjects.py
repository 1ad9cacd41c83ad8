"""Keys and what they sign: PEM, COSE, DER, assertions, enrolments, recovery."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable
from typing import Any

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from countersign.credentials.authenticator_data import load_cose_key
from countersign.credentials.key_assertion import KeyAssertion, lookup_key, verify_assertion
from countersign.credentials.key_attestation import KeyAttestation, fingerprint_message, verify_attestation
from countersign.credentials.outcome import Refused
from countersign.credentials.public_key import PublicKey, load
from countersign.credentials.recovery import verify_recovery
from countersign.encoding import base64url, cbor
from countersign.encoding.strictjson import BadJson, parse_object
from tests.fuzz import readers
from tests.fuzz.mutations import Base64, Bytes, Codec, EcdsaSignature, Hex, Pem, Text
from tests.fuzz.readers import ORDERS, answers, client_data_of, only, read64, signature_of
from tests.fuzz.subjects import Case, Subject, compact, pem_of, private_key, public_key
from tests.fuzz.trees import Cbor, Json
from tests.support.authenticator import CHALLENGE, Authenticator
from tests.support.authenticator import cbor as write_cbor

KEYS = ("ed25519", "p256", "p384", "secp256k1", "rsa2048")
MESSAGE = b"what was signed"
_ALGORITHMS = {"rsa": {None: "SHA256", "RSA-SHA256": "SHA256"}, "ed25519": {}}


def sign(name: str, message: bytes) -> bytes:
    """By a published key; the same signature each time."""
    key = private_key(name)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(message)


def signature_codec(name: str) -> Codec[bytes]:
    kind = public_key(name).kind
    return EcdsaSignature(ORDERS[kind]) if kind in ORDERS else Bytes()


def algorithm_of(kind: str, name: Any) -> Hashable:
    """The digest that the name of an algorithm stands for."""
    return _ALGORITHMS.get(kind, {None: "SHA256"}).get(name, name)


def convert(message: bytes, kind: type[Any]) -> Any | None:
    """A request body as the server reads one, ``None`` if it is refused at that."""
    try:
        return msgspec.convert(parse_object(message), kind)
    except (BadJson, msgspec.ValidationError):
        return None


def _same(meaning: Callable[[bytes], Hashable], original: bytes, taken: Hashable) -> Callable[[bytes], Hashable]:
    """Allowed is what means the same as the original."""
    expected = meaning(original)
    return lambda message: taken if meaning(message) == expected else None


def _signatures(name: str) -> Subject:
    key = public_key(name)
    cases = []
    for number in range(3):
        message = MESSAGE + bytes([number])
        signature = sign(name, message)

        def accept(mutated: bytes, message: bytes = message) -> Hashable | None:
            return "holds" if key.verify(mutated, message) else None

        allowed = _same(lambda mutated: signature_of(key.kind, mutated), signature, "holds")
        cases.append(Case(signature, accept, allowed))
    return Subject(f"signature {key.kind}", signature_codec(name), cases, 0.3 if name == "p384" else 0.6)


class _PemCodec:
    """PEM as bytes."""

    def mutate(self, rng: Any, value: bytes, other: bytes) -> bytes:
        text = Pem().mutate(rng, value.decode("utf-8", "surrogatepass"), other.decode())
        return text.encode("utf-8", "surrogatepass")


def _pems() -> Subject:
    """A key may be any that is well-formed; it must not be another one for which the same signature holds."""
    cases = []
    for name in KEYS:
        signature, fingerprint = sign(name, MESSAGE), public_key(name).fingerprint

        def accept(mutated: bytes, signature: bytes = signature) -> Hashable | None:
            loaded = load(mutated.decode("utf-8", "surrogatepass"))
            if isinstance(loaded, Refused):
                return None
            assert load(loaded.pem) == loaded, "the normal form is another key"
            return loaded.fingerprint if loaded.verify(signature, MESSAGE) else None

        cases.append(Case(pem_of(name).encode(), accept, lambda _mutated, same=fingerprint: same))
    return Subject("public key PEM", _PemCodec(), cases, 1.5)


def _cose_keys() -> Subject:
    cases = []
    for name in ("fido_p256", "fido_ed25519", "fido_rsa2048"):
        authenticator = Authenticator(key=private_key(name))
        signature = sign(name, MESSAGE)

        def accept(mutated: bytes, signature: bytes = signature) -> Hashable | None:
            try:
                loaded = load_cose_key(cbor.decode(mutated))
            except cbor.BadCbor:
                return None
            if isinstance(loaded, Refused):
                return None
            return loaded[0].fingerprint if loaded[0].verify(signature, MESSAGE) else None

        def allowed(mutated: bytes, own: str = authenticator.public_key.fingerprint) -> Hashable | None:
            return own if readers.cose_fingerprint(readers.read_cbor(mutated)) == own else None

        cases.append(Case(write_cbor(authenticator.cose_key), accept, allowed))
    return Subject("COSE key", Cbor(), cases, 1.5)


CLIENT_DATA = Json({"challenge": Text(), "origin": Text(), "type": Text()})


def key_assertion(name: str, challenge: str, credential_id: str, client_data: bytes) -> dict[str, Any]:
    """A first factor as it stands in a request."""
    return {
        "kind": "Key",
        "credentialAssertion": {
            "credId": credential_id,
            "clientData": base64url.encode(client_data),
            "signature": base64url.encode(sign(name, client_data)),
        },
    }


def key_assertion_meaning(key_kind: str) -> Callable[[Any], Hashable]:
    """Of a factor, read already."""

    def meaning(factor: Any) -> Hashable:
        body = only(factor, needed={"kind", "credentialAssertion"})
        parts = only(body["credentialAssertion"], needed={"credId", "clientData", "signature"}, optional={"algorithm"})
        return (
            body["kind"],
            read64(parts["credId"]),
            read64(parts["clientData"]),
            signature_of(key_kind, read64(parts["signature"])),
            algorithm_of(key_kind, parts.get("algorithm")),
        )

    return meaning


def _assertions(name: str) -> Subject:
    key = public_key(name)
    meaning = key_assertion_meaning(key.kind)
    cases = []
    page = {"origin": "https://app.example.org", "crossOrigin": False}
    for number in range(3):
        issued = f"{CHALLENGE}{number}"
        members = {"challenge": base64url.encode(issued.encode()), **page} if number == 1 else {"challenge": issued}
        credential_id = base64url.encode(f"ci-{name}-{number}".encode())
        body = key_assertion(name, issued, credential_id, compact({"type": "key.get", **members}))
        if key.kind != "ed25519" and number:
            body["credentialAssertion"]["algorithm"] = "SHA256"

        def accept(mutated: bytes, issued: str = issued, credential_id: str = credential_id) -> Hashable | None:
            assertion = convert(mutated, KeyAssertion)
            # The caller looks the credential up by its id and wants it to be of the kind that it is stored as.
            if assertion is None or assertion.kind != "Key":
                return None
            if lookup_key(assertion.credential_assertion.cred_id) != credential_id:
                return None
            return None if isinstance(verify_assertion(assertion, key, issued), Refused) else "proven"

        message = compact(body)
        cases.append(Case(message, accept, _same(lambda raw: meaning(readers.read_json(raw)), message, "proven")))
    inner = {"clientData": Base64(CLIENT_DATA), "signature": Base64(signature_codec(name)), "credId": Base64(Bytes())}
    return Subject(f"Key assertion {key.kind}", Json(inner), cases, 1.5 if name != "p384" else 0.6)


def _signed_by_the_holder(name: str) -> Subject:
    """Client data that the holder of the key did sign: only what answers the challenge for this purpose counts."""
    key = public_key(name)

    def accept(mutated: bytes) -> Hashable | None:
        body = compact(key_assertion(name, CHALLENGE, "QUJD", mutated))
        assertion = convert(body, KeyAssertion)
        if assertion is None:
            return None
        outcome = verify_assertion(assertion, key, CHALLENGE)
        return None if isinstance(outcome, Refused) else ("proven", outcome.origin)

    def allowed(mutated: bytes) -> Hashable | None:
        data = client_data_of(mutated, "key.get")
        framed = data.get("crossOrigin", False)
        return ("proven", data.get("origin")) if answers(data, CHALLENGE) and framed is False else None

    double = base64url.encode(CHALLENGE.encode())
    messages = [
        {"type": "key.get", "challenge": CHALLENGE},
        {"type": "key.get", "challenge": double, "origin": "https://app.example.org", "crossOrigin": False},
    ]
    cases = [Case(compact(message), accept, allowed) for message in messages]
    return Subject("client data signed by its holder (Key)", CLIENT_DATA, cases, 1.5)


def key_enrolment(name: str, challenge: str, credential_id: str, **algorithm: str) -> dict[str, Any]:
    """The credential info of an enrolment."""
    client_data = compact({"type": "key.create", "challenge": challenge})
    signature = sign(name, fingerprint_message(client_data, pem_of(name)))
    data = compact({"publicKey": pem_of(name), "signature": signature.hex(), **algorithm})
    parts = {"credId": credential_id, "clientData": client_data, "attestationData": data}
    return {key: value if isinstance(value, str) else base64url.encode(value) for key, value in parts.items()}


def key_enrolment_meaning(key_kind: str, info: Any) -> tuple[Hashable, str]:
    """What the new key signed of a credential info, and the credential id, a text that it did not."""
    parts = only(info, needed={"credId", "clientData", "attestationData"})
    data = readers.read_json(read64(parts["attestationData"]))
    signature = signature_of(key_kind, bytes.fromhex(data["signature"]))
    signed = data["publicKey"], signature, algorithm_of(key_kind, data.get("algorithm")), read64(parts["clientData"])
    return signed, parts["credId"]


def enrolment_codec(name: str) -> dict[str, Codec[str]]:
    """The members of a credential info of a key."""
    attestation = Json({"publicKey": Pem(), "signature": Hex(signature_codec(name))})
    return {"clientData": Base64(CLIENT_DATA), "attestationData": Base64(attestation), "credId": Base64(Bytes())}


def _enrolments(name: str) -> Subject:
    kind = public_key(name).kind
    cases = []
    for number, challenge in enumerate((CHALLENGE, CHALLENGE + "B")):
        info = key_enrolment(name, challenge, f"QUJD{number}A", **({"algorithm": "SHA256"} if "p" in kind else {}))
        message = compact({"credentialKind": "Key", "credentialInfo": info})

        def accept(mutated: bytes, challenge: str = challenge) -> Hashable | None:
            attestation = convert(mutated, KeyAttestation)
            if attestation is None or attestation.credential_kind != "Key":
                return None
            outcome = verify_attestation(attestation, challenge)
            return None if isinstance(outcome, Refused) else (outcome.public_key.fingerprint, outcome.credential_id)

        def allowed(mutated: bytes, info: Any = info) -> Hashable | None:
            body = readers.read_object(
                mutated, needed={"credentialKind", "credentialInfo"}, optional={"encryptedPrivateKey"}
            )
            signed, credential_id = key_enrolment_meaning(kind, body["credentialInfo"])
            same = signed == key_enrolment_meaning(kind, info)[0] and body["credentialKind"] == "Key"
            return (public_key(name).fingerprint, credential_id) if same else None

        cases.append(Case(message, accept, allowed))
    return Subject(f"Key enrolment {kind}", Json(enrolment_codec(name)), cases, 0.5 if name == "p384" else 1.2)


def _recoveries() -> Subject:
    cases = []
    for number, name in enumerate(("recovery_p256", "new_recovery_p256")):
        key = public_key(name)
        new = {
            "firstFactorCredential": {
                "credentialKind": "Key",
                "credentialInfo": key_enrolment("ed25519", CHALLENGE, f"QUJ{number}"),
                "credentialName": "new é 1.0",
            },
            "recoveryCredential": {"credentialKind": "RecoveryKey", "encryptedPrivateKey": f"opaque {number}"},
        }
        text = compact(new)
        client_data = compact({"type": "key.get", "challenge": base64url.encode(text)})
        credential_id = f"UmV{number}"
        factor = key_assertion(name, "", credential_id, client_data) | {"kind": "RecoveryKey"}
        message = compact({"recovery": factor, "newCredentials": new})

        def accept(mutated: bytes, key: PublicKey = key, credential_id: str = credential_id) -> Hashable | None:
            try:
                body = parse_object(mutated)
            except BadJson:
                return None
            if body.keys() != {"recovery", "newCredentials"} or not isinstance(body["newCredentials"], dict):
                return None
            assertion = convert(json.dumps(body["recovery"], default=str).encode(), KeyAssertion)
            if assertion is None or lookup_key(assertion.credential_assertion.cred_id) != credential_id:
                return None
            outcome = verify_recovery(assertion, key, body["newCredentials"])
            return None if isinstance(outcome, Refused) else "proven"

        def meaning(mutated: bytes) -> Hashable:
            body = readers.read_object(mutated, needed={"recovery", "newCredentials"})
            return key_assertion_meaning("p256")(body["recovery"]), readers.value_of(body["newCredentials"])

        cases.append(Case(message, accept, _same(meaning, message, "proven")))
    signed = Json({"challenge": Base64(Json())})
    inner: dict[str, Codec[str]] = {"clientData": Base64(signed), "signature": Base64(signature_codec("p256"))}
    return Subject("recovery", Json({**inner, "attestationData": Base64(Json())}), cases, 1.0)


def subjects() -> list[Subject]:
    """All of them."""
    return [
        *(_signatures(name) for name in KEYS),
        _pems(),
        _cose_keys(),
        *(_assertions(name) for name in KEYS),
        _signed_by_the_holder("ed25519"),
        *(_enrolments(name) for name in KEYS),
        _recoveries(),
    ]
