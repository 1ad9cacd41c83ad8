"""An authenticator in software, whose every byte a test can change."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from countersign.credentials.fido2_assertion import Fido2Assertion, Fido2CredentialAssertion
from countersign.credentials.fido2_registration import Fido2Attestation
from countersign.credentials.key_attestation import CredentialInfo
from countersign.credentials.public_key import PublicKey, load
from countersign.credentials.relying_party import RelyingParty
from countersign.encoding import base64url
from tests.support.vectors import auth_vectors

RP_ID = "example.org"
ORIGIN = "https://app.example.org"
PARTY = RelyingParty(RP_ID, frozenset({ORIGIN}))
USER_ID = "us-3f8ha-2p7kd-9b2m4p6r8t0v2x4z"
CHALLENGE: str = auth_vectors()["challenges"]["action"]["challenge"]
UP, UV, BE, BS, AT, ED = 0x01, 0x04, 0x08, 0x10, 0x40, 0x80
ES256, EDDSA, RS256 = -7, -8, -257

PrivateKey = ec.EllipticCurvePrivateKey | Ed25519PrivateKey | rsa.RSAPrivateKey


def cbor(value: Any) -> bytes:
    """The CBOR of integers, strings, booleans, lists and maps (members in their order)."""
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        return _head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return _head(4, len(value)) + b"".join(map(cbor, value))
    assert isinstance(value, dict)
    return _head(5, len(value)) + b"".join(cbor(name) + cbor(member) for name, member in value.items())


def _head(major: int, argument: int) -> bytes:
    if argument < 24:
        return bytes([major << 5 | argument])
    size = next(size for size in (1, 2, 4, 8) if argument < 1 << 8 * size)
    return bytes([major << 5 | 24 + size.bit_length() - 1]) + argument.to_bytes(size, "big")


def sign(key: PrivateKey, message: bytes) -> bytes:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(message, ec.ECDSA(hashes.SHA256()))
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(message)


def published_key(name: str) -> Any:
    """A private key of the published vectors."""
    return load_pem_private_key(auth_vectors()["keys"][name]["private_pkcs8_pem"].encode(), None)


def client_data(type_: str, *, drop: str = "", **members: object) -> bytes:
    value = {"type": type_, "challenge": CHALLENGE, "origin": ORIGIN, "crossOrigin": False, **members}
    value.pop(drop, None)
    return json.dumps(value, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Authenticator:
    """One credential for ``example.org``; ``key`` signs."""

    key: PrivateKey = field(default_factory=lambda: published_key("fido_p256"))
    credential_id: bytes = bytes(range(32))
    aaguid: bytes = bytes(16)
    rp_id: str = RP_ID

    @property
    def public_key(self) -> PublicKey:
        pem = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        key = load(pem)
        assert isinstance(key, PublicKey)
        return key

    @property
    def cose_key(self) -> dict[int, Any]:
        public = self.key.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            numbers = public.public_numbers()
            n = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")
            return {1: 3, 3: RS256, -1: n, -2: numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8, "big")}
        if isinstance(public, ec.EllipticCurvePublicKey):
            point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
            return {1: 2, 3: ES256, -1: 1, -2: point[1:33], -3: point[33:]}
        return {1: 1, 3: EDDSA, -1: 6, -2: public.public_bytes_raw()}

    def data(self, flags: int, counter: int = 0, behind: bytes = b"") -> bytes:
        return hashlib.sha256(self.rp_id.encode()).digest() + bytes([flags]) + counter.to_bytes(4, "big") + behind

    def attested(self, cose_key: bytes | None = None) -> bytes:
        encoded = cbor(self.cose_key) if cose_key is None else cose_key
        return self.aaguid + len(self.credential_id).to_bytes(2, "big") + self.credential_id + encoded

    def new_data(self, flags: int = UP | UV | AT, behind: bytes = b"") -> bytes:
        """Authenticator data of a registration."""
        return self.data(flags, 0, self.attested() + behind)

    def answer(
        self,
        client: bytes | None = None,
        data: bytes | None = None,
        *,
        signed: bytes | None = None,
        **members: Any,
    ) -> Fido2Assertion:
        """An assertion over the given parts; ``signed`` if something else shall be signed."""
        client = client_data("webauthn.get") if client is None else client
        data = self.data(UP | UV) if data is None else data
        message = data + hashlib.sha256(client).digest() if signed is None else signed
        parts = {
            "cred_id": base64url.encode(self.credential_id),
            "client_data": base64url.encode(client),
            "authenticator_data": base64url.encode(data),
            "signature": base64url.encode(sign(self.key, message)),
            "user_handle": base64url.encode(USER_ID.encode()),
        }
        return Fido2Assertion("Fido2", Fido2CredentialAssertion(**parts | members))

    def self_statement(self, client: bytes, data: bytes) -> dict[str, Any]:
        return {"alg": self.cose_key[3], "sig": sign(self.key, data + hashlib.sha256(client).digest())}


def registration(
    credential_id: bytes, client: bytes, data: bytes, format_: str = "none", statement: Any = None, **members: Any
) -> Fido2Attestation:
    """What a client submits; ``members`` replace or add to those of the attestation object."""
    encoded = cbor({"fmt": format_, "attStmt": statement or {}, "authData": data, **members})
    return submitted(credential_id, client, encoded)


def submitted(credential_id: bytes, client: bytes, attestation_object: bytes) -> Fido2Attestation:
    parts = (base64url.encode(part) for part in (credential_id, client, attestation_object))
    return Fido2Attestation("Fido2", CredentialInfo(*parts))
