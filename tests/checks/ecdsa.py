"""A caller with an ECDSA credential, who writes down both signatures that hold."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from countersign.encoding import base64url
from tests.support.caller import Caller, compact
from tests.support.tenants import Identity, Tenants

CURVES: dict[str, tuple[ec.EllipticCurve, int]] = {
    "secp256k1": (ec.SECP256K1(), 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141),
    "p256": (ec.SECP256R1(), 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551),
}


class EcdsaCaller(Caller):
    """Signs with an ECDSA key that is enrolled as a further credential of the identity."""

    def __init__(self, identity: Identity, tenants: Tenants, curve: str) -> None:
        super().__init__(identity.connection)
        group, self.order = CURVES[curve]
        self.ecdsa = ec.generate_private_key(group)
        pem = self.ecdsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        self.ecdsa_id = tenants.credential(identity, pem)

    def both_assertions(self, challenge: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The same consent twice: with the low s, and with n - s."""
        client_data = compact({"type": "key.get", "challenge": challenge}).encode()
        r, s = decode_dss_signature(self.ecdsa.sign(client_data, ec.ECDSA(hashes.SHA256())))
        low, high = sorted((s, self.order - s))
        return self._factor(client_data, r, low), self._factor(client_data, r, high)

    def _factor(self, client_data: bytes, r: int, s: int) -> dict[str, Any]:
        return {
            "kind": "Key",
            "credentialAssertion": {
                "credId": self.ecdsa_id,
                "clientData": base64url.encode(client_data),
                "signature": base64url.encode(encode_dss_signature(r, s)),
            },
        }
