"""Signatures against published vectors and against a second implementation (OpenSSL, by way of ``cryptography``)."""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from countersign.keystores import native
from tests.keystores.builders import vectors

VECTORS = vectors("signing_vectors.json")
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@pytest.mark.parametrize("case", VECTORS["bip340"], ids=lambda case: case["name"])
def test_bip340_vectors(case: dict[str, Any]) -> None:
    public = b"\2" + bytes.fromhex(case["publicKey"])
    message, signature = bytes.fromhex(case["message"]), bytes.fromhex(case["signature"])
    assert native.bip340_verify(public, message, None, signature) is case["valid"]
    if case["secret"] is not None and len(message) == 32:  # the signer signs no other length
        secret = bytearray.fromhex(case["secret"])
        assert native.secp256k1_public_key(secret)[1:] == public[1:]
        aux = bytes.fromhex(case["aux"])
        assert native.bip340_sign(secret, bytearray(96), public, message, None, aux) == signature


@pytest.mark.parametrize("case", VECTORS["bip341"], ids=lambda case: case["outputKey"][:8])
def test_bip341_key_path_vectors_sign_under_the_tweaked_key(case: dict[str, Any]) -> None:
    secret, message = bytearray.fromhex(case["secret"]), bytes.fromhex(case["sigHash"])
    public = b"\2" + bytes.fromhex(case["internalKey"])
    tweak = bytes.fromhex(case["merkleRoot"] or "")
    assert native.secp256k1_public_key(secret)[1:] == public[1:]
    signature = native.bip340_sign(secret, bytearray(96), public, message, tweak, bytes(32))
    assert signature == bytes.fromhex(case["signature"])
    output_key = b"\2" + bytes.fromhex(case["outputKey"])
    assert native.bip340_verify(output_key, message, None, signature)
    assert native.bip340_verify(public, message, tweak, signature)
    assert not native.bip340_verify(public, message, None, signature)


@pytest.mark.parametrize("case", VECTORS["rfc8032"], ids=lambda case: case["name"])
def test_rfc8032_vectors(case: dict[str, Any]) -> None:
    seed, message = bytearray.fromhex(case["seed"]), bytes.fromhex(case["message"])
    public = native.ed25519_public_key(seed, bytearray(64))
    assert public.hex() == case["publicKey"]
    signature = native.ed25519_sign(seed + bytearray(public), message)
    assert signature.hex() == case["signature"]
    assert native.ed25519_verify(public, message, signature)
    assert not native.ed25519_verify(public, message + b"x", signature)
    Ed25519PrivateKey.from_private_bytes(bytes(seed)).public_key().verify(signature, message)


def test_public_keys_equal_the_published_ones_of_the_same_secret() -> None:
    published = vectors("keys-wallets-vectors.json")["addresses"]
    secret = bytearray.fromhex(published["secret"])
    assert native.secp256k1_public_key(secret).hex() == published["secp256k1"]
    assert native.ed25519_public_key(secret, bytearray(64)).hex() == published["ed25519"]


def test_published_ed25519_signatures_verify() -> None:
    solana = next(
        v for v in vectors("keys-wallets-vectors.json")["signing"]["vectors"] if v["network"] == "SolanaDevnet"
    )
    message = bytes.fromhex(solana["input"][2:])[1 + 64 :]  # after the array of one empty signature
    signature = bytes.fromhex(solana["signature"]["r"][2:] + solana["signature"]["s"][2:])
    assert native.ed25519_verify(bytes.fromhex(solana["publicKey"]), message, signature)


def rfc6979_nonce(secret: bytes, digest: bytes, extra: bytes) -> int:
    """RFC 6979 section 3.2 with the additional data of section 3.6, written from the text."""

    def mac(key: bytes, data: bytes) -> bytes:
        return hmac.digest(key, data, "sha256")

    reduced = (int.from_bytes(digest, "big") % ORDER).to_bytes(32, "big")
    seed = secret + reduced + extra
    key, value = b"\0" * 32, b"\1" * 32
    key = mac(key, value + b"\0" + seed)
    value = mac(key, value)
    key = mac(key, value + b"\1" + seed)
    value = mac(key, value)
    while True:
        value = mac(key, value)
        if 0 < (nonce := int.from_bytes(value, "big")) < ORDER:
            return nonce
        key = mac(key, value + b"\0")
        value = mac(key, value)


@pytest.mark.parametrize("case", VECTORS["rfc6979"], ids=lambda case: case["message"][:16])
def test_rfc6979_known_answers_of_the_deterministic_base(case: dict[str, Any]) -> None:
    secret, digest = bytearray.fromhex(case["secret"]), hashlib.sha256(case["message"].encode()).digest()
    signature = native.ecdsa_sign(secret, digest, None)
    assert signature[:64].hex() == case["signature"]
    assert native.ecdsa_recovers(native.secp256k1_public_key(secret), digest, signature)


def test_ecdsa_nonce_is_that_of_rfc6979_with_additional_data() -> None:
    for round_number in range(20):
        secret = hashlib.sha256(b"secret%d" % round_number).digest()
        digest, extra = hashlib.sha256(b"message%d" % round_number).digest(), os.urandom(32)
        nonce = rfc6979_nonce(secret, digest, extra)
        point = ec.derive_private_key(nonce, ec.SECP256K1()).public_key().public_numbers()
        r = point.x % ORDER
        s = pow(nonce, -1, ORDER) * (int.from_bytes(digest, "big") + r * int.from_bytes(secret, "big")) % ORDER
        low = min(s, ORDER - s)
        recid = (point.y & 1) ^ (s != low)
        expected = r.to_bytes(32, "big") + low.to_bytes(32, "big") + bytes((recid,))
        assert native.ecdsa_sign(bytearray(secret), digest, extra) == expected


def test_ecdsa_refuses_anything_but_a_32_byte_digest() -> None:
    with pytest.raises(ValueError, match="32-byte digest"):
        native.ecdsa_sign(bytearray(32), b"31", bytes(32))


def test_a_wrong_recovery_id_does_not_pass_for_the_key() -> None:
    secret, digest = bytearray(b"\7" * 32), os.urandom(32)
    public = native.secp256k1_public_key(secret)
    signature = native.ecdsa_sign(secret, digest, bytes(32))
    assert native.ecdsa_recovers(public, digest, signature)
    assert not native.ecdsa_recovers(public, digest, signature[:64] + bytes((signature[64] ^ 1,)))


@pytest.mark.parametrize("value", [0, ORDER, ORDER + 1, 2**256 - 1])
def test_scalars_out_of_range_are_no_keys(value: int) -> None:
    secret = bytearray(value.to_bytes(32, "big"))
    assert not native.is_scalar(secret)
    with pytest.raises(ValueError, match="not a secp256k1 private key"):
        native.secp256k1_public_key(secret)
