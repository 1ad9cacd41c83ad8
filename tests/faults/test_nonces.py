"""No two signatures of a key share their nonce (check K7), seen from outside."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256

from tests.support.caller import Caller
from tests.support.server import Sandbox

MESSAGES = 30
#: Order of secp256k1's group (SEC 2, 2.4.1).
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@pytest.mark.parametrize(
    ("scheme", "curve", "members"),
    [("ECDSA", "secp256k1", {}), ("Schnorr", "secp256k1", {"taprootMerkleRoot": ""}), ("EdDSA", "ed25519", {})],
    ids=["ECDSA", "Schnorr", "EdDSA"],
)
def test_k7_no_two_messages_are_signed_with_one_nonce(
    shared_sandbox: Sandbox, scheme: str, curve: str, members: dict[str, str]
) -> None:
    with Caller(shared_sandbox.service) as caller:
        key = caller.create_key(scheme, curve)
        points = []
        for number in range(MESSAGES):
            body = {"kind": "Hash", "hash": f"0x{number:064x}", **members}
            points.append(caller.signed("POST", f"/keys/{key}/signatures", body).json()["signature"]["r"])
    assert len(set(points)) == MESSAGES


def test_k7_ecdsa_of_one_message_twice_is_hedged_valid_and_low_s(shared_sandbox: Sandbox) -> None:
    message = b"the same again"
    digest = hashlib.sha256(message).hexdigest()
    with Caller(shared_sandbox.service) as caller:
        key = caller.create_key("ECDSA", "secp256k1")
        public_key = caller.send("GET", f"/keys/{key}").json()["publicKey"]
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), bytes.fromhex(public_key))
        values = []
        for _ in range(2):
            signed = caller.signed("POST", f"/keys/{key}/signatures", {"kind": "Hash", "hash": f"0x{digest}"}).json()
            r, s = (int(signed["signature"][part], 16) for part in "rs")
            point.verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(SHA256()))
            assert s <= ORDER // 2
            values.append(r)
    assert values[0] != values[1]
