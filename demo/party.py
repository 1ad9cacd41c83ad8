"""The client's side of the demo: the official SDK, and a library that knows nothing of the server."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from dfns_sdk import DfnsClient, DfnsClientConfig
from dfns_sdk.auth import KeySigner
from dfns_sdk.base_auth_api import BaseAuthApi


def new_credential() -> tuple[str, str]:
    """A key pair made here: PEM of the private key (PKCS 8) and of the public one (SPKI)."""
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public_pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode(), public_pem.decode()


@dataclass(frozen=True)
class Party:
    """Somebody who calls the server: an SDK client, and what it signs with."""

    client: DfnsClient
    signer: KeySigner
    base_url: str
    token: str

    @classmethod
    def of(cls, base_url: str, token: str, credential_id: str, private_key: str) -> Party:
        """Connect with a token and a credential (PEM private key)."""
        signer = KeySigner(credential_id, private_key)
        return cls(
            DfnsClient(DfnsClientConfig(auth_token=token, base_url=base_url, signer=signer)), signer, base_url, token
        )

    def countersigned(self, method: str, path: str, body: dict[str, Any]) -> str:
        """Consent to one request, in the SDK's two calls: gives the one-time token for it."""
        http = self.client._http
        challenge = BaseAuthApi.create_user_action_challenge(
            http, method, path, json.dumps(body, separators=(",", ":"))
        )
        answer = {
            "challengeIdentifier": challenge["challengeIdentifier"],
            "firstFactor": self.signer.sign(challenge),
        }
        token: str = BaseAuthApi.sign_user_action_challenge(http, answer)["userAction"]
        return token

    def send(self, method: str, path: str, body: dict[str, Any], one_time_token: str) -> httpx.Response:
        """The bare request, with a one-time token of one's choice."""
        headers = {"Authorization": f"Bearer {self.token}", "X-DFNS-USERACTION": one_time_token}
        return httpx.request(method, self.base_url + path, json=body, headers=headers, timeout=30)


def is_valid(verify: Callable[[bytes], None], message: bytes) -> bool:
    """Whether a signature is one over this message."""
    try:
        verify(message)
    except InvalidSignature:
        return False
    return True


def ecdsa_over(public_key: str, signature: dict[str, str]) -> Callable[[bytes], None]:
    """Checks that an ECDSA signature by a compressed secp256k1 point is over the SHA-256 of a message."""
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), bytes.fromhex(public_key))
    der = utils.encode_dss_signature(int(signature["r"], 16), int(signature["s"], 16))
    return lambda message: point.verify(der, message, ec.ECDSA(SHA256()))


def ed25519_over(public_key: str, signature: dict[str, str]) -> Callable[[bytes], None]:
    """Checks that an Ed25519 signature is over a message."""
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
    raw = bytes.fromhex(signature["r"][2:] + signature["s"][2:])
    return lambda message: key.verify(raw, message)
