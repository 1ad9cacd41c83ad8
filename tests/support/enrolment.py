"""New credentials as clients make them: keys that attest themselves, and passkeys of a software authenticator."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from countersign.credentials.key_attestation import fingerprint_message
from countersign.encoding import base64url
from tests.support.authenticator import AT, UP, UV, Authenticator, PrivateKey, cbor, sign
from tests.support.caller import Caller, compact

#: The relying party of a sandbox, and the one origin that ``allow_origin`` gives it.
RP_ID = "localhost"
ORIGIN = "https://app.localhost"


def encoded(value: bytes) -> str:
    return base64url.encode(value)


@dataclass
class NewKey:
    """A key that its holder wants to enrol, and then signs with."""

    key: PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    credential_id: str = field(default_factory=lambda: encoded(os.urandom(24)))

    @property
    def pem(self) -> str:
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def info(self, challenge: str, /, **members: Any) -> dict[str, Any]:
        """``credentialInfo`` that answers the challenge; ``members`` replace those of the client data."""
        client_data = compact({"type": "key.create", "challenge": challenge, **members}).encode()
        signature = sign(self.key, fingerprint_message(client_data, self.pem))
        attestation = compact({"publicKey": self.pem, "signature": signature.hex()}).encode()
        return {
            "credId": self.credential_id,
            "clientData": encoded(client_data),
            "attestationData": encoded(attestation),
        }

    def factor(self, challenge: str, /, kind: str = "Key", **members: Any) -> dict[str, Any]:
        """An assertion over the challenge."""
        client_data = compact({"type": "key.get", "challenge": challenge, **members}).encode()
        assertion = {
            "credId": self.credential_id,
            "clientData": encoded(client_data),
            "signature": encoded(sign(self.key, client_data)),
        }
        return {"kind": kind, "credentialAssertion": assertion}


@dataclass
class NewPasskey:
    """An authenticator with one credential, as a browser drives it. ``counter``: of the answer to come."""

    user_id: str
    key: PrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    credential: bytes = field(default_factory=lambda: os.urandom(32))
    counter: int = 0
    rp_id: str = RP_ID
    origin: str = ORIGIN

    @property
    def authenticator(self) -> Authenticator:
        return Authenticator(self.key, self.credential, rp_id=self.rp_id)

    @property
    def credential_id(self) -> str:
        return encoded(self.credential)

    def client_data(self, type_: str, challenge: str, /, **members: Any) -> bytes:
        # A browser signer passes the text of the challenge as bytes, so it stands encoded once more.
        said = {"type": type_, "challenge": encoded(challenge.encode()), "origin": self.origin, "crossOrigin": False}
        return compact({**said, **members}).encode()

    def info(self, challenge: str, /, flags: int = UP | UV | AT, **members: Any) -> dict[str, Any]:
        """``credentialInfo`` of a registration without attestation."""
        client = self.client_data("webauthn.create", challenge, **members)
        data = self.authenticator.data(flags, self.counter, self.authenticator.attested())
        attestation = cbor({"fmt": "none", "attStmt": {}, "authData": data})
        return {
            "credId": self.credential_id,
            "clientData": encoded(client),
            "attestationData": encoded(attestation),
        }

    def factor(
        self, challenge: str, /, flags: int = UP | UV, *, user_handle: str | None = None, **members: Any
    ) -> dict[str, Any]:
        """An assertion over the challenge under the present counter."""
        client = self.client_data("webauthn.get", challenge, **members)
        data = self.authenticator.data(flags, self.counter)
        assertion = {
            "credId": self.credential_id,
            "clientData": encoded(client),
            "authenticatorData": encoded(data),
            "signature": encoded(sign(self.key, data + hashlib.sha256(client).digest())),
            "userHandle": encoded((self.user_id if user_handle is None else user_handle).encode()),
        }
        return {"kind": "Fido2", "credentialAssertion": assertion}


def challenge_for(caller: Caller, kind: str) -> dict[str, Any]:
    """``POST /auth/credentials/init``."""
    answer = caller.send("POST", "/auth/credentials/init", {"kind": kind})
    assert answer.status_code == 200, answer.text
    value: dict[str, Any] = answer.json()
    return value


def new_body(challenge: dict[str, Any], info: dict[str, Any], **members: Any) -> dict[str, Any]:
    """The body that completes an enrolment."""
    return {
        "challengeIdentifier": challenge["challengeIdentifier"],
        "credentialName": "a credential",
        "credentialKind": challenge["kind"],
        "credentialInfo": info,
        **members,
    }


def enrol(caller: Caller, new: NewKey | NewPasskey, kind: str = "Key", **members: Any) -> httpx.Response:
    """Both calls of an enrolment."""
    challenge = challenge_for(caller, kind)
    return caller.signed("POST", "/auth/credentials", new_body(challenge, new.info(challenge["challenge"]), **members))


def enrolled(caller: Caller, new: NewKey | NewPasskey, kind: str = "Key", **members: Any) -> dict[str, Any]:
    """The credential that was enrolled."""
    answer = enrol(caller, new, kind, **members)
    assert answer.status_code == 200, answer.text
    value: dict[str, Any] = answer.json()
    return value


def action_with(caller: Caller, method: str, path: str, body: Any, *factors: NewKey | NewPasskey) -> httpx.Response:
    """Sign an action with other credentials than the caller's own; ``POST /auth/action``'s answer."""
    challenge = caller.challenge(method, path, body)
    made = [factor.factor(challenge["challenge"]) for factor in factors]
    members = {"firstFactor": made[0]}
    if len(made) > 1:
        members["secondFactor"] = made[1]
    return caller.answer(challenge, **members)


def client_data_of(info: dict[str, Any]) -> dict[str, Any]:
    """What the client data of an enrolment says."""
    value: dict[str, Any] = json.loads(base64url.decode(info["clientData"]))
    return value
