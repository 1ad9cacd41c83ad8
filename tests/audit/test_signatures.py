"""What a key signed, held against the request's body: every scheme, made by the signer's own functions."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from nacl import bindings as sodium

from countersign.audit.entry import Signature
from countersign.audit.signatures import check_signature
from countersign.keystores import stark
from countersign.keystores.native import bip340_sign, ecdsa_sign, secp256k1_public_key

SECRET = bytearray((3).to_bytes(32, "big"))  # its point has an even y, as those of Schnorr keys do
DIGEST, ROOT = bytes.fromhex("ab" * 32), bytes.fromhex("cd" * 32)
POINT = secp256k1_public_key(SECRET)
ED25519_KEY, ED25519_SECRET = sodium.crypto_sign_seed_keypair(bytes(range(32)))


def said(scheme: str, public_key: bytes, signature: bytes, tweak: bytes | None = None) -> Signature:
    return Signature(
        installation_id="in-1",
        org_id="or-1",
        id="uj-1",
        date_performed="2026-01-01T00:00:00.000Z",
        action_id="uj-2",
        signature_id="sig-1",
        key_id="key-1",
        public_key=public_key.hex(),
        scheme=scheme,
        curve="ed25519" if scheme == "EdDSA" else "secp256k1",
        payload_kind="message" if scheme == "EdDSA" else "digest32",
        payload_sha256="00" * 32,
        taproot_tweak=None if tweak is None else tweak.hex(),
        signature=signature.hex(),
        failure=None,
    )


def ed25519(message: bytes) -> Signature:
    return said("EdDSA", ED25519_KEY, sodium.crypto_sign(message, ED25519_SECRET)[:64])


def schnorr(tweak: bytes | None) -> Signature:
    return said("Schnorr", POINT, bip340_sign(SECRET, bytearray(96), POINT, DIGEST, tweak, bytes(32)), tweak)


ECDSA = said("ECDSA", POINT, ecdsa_sign(SECRET, DIGEST, bytes(32))[:64])
SMALL = bytes.fromhex("05" * 32)  # below 2^251, as all that the STARK curve signs
STARK = replace(said("ECDSA", stark.public_key(SECRET), stark.sign(SECRET, SMALL, bytes(32))[:64]), curve="stark")
HASH = f'"hash":"0x{DIGEST.hex()}","kind":"Hash"'


@pytest.mark.parametrize(
    ("entry", "payload"),
    [
        (ECDSA, f"{{{HASH}}}"),
        (ECDSA, f'{{"externalId":"a","hash":"{DIGEST.hex().upper()}","kind":"Hash"}}'),
        (STARK, f'{{"hash":"0x{SMALL.hex()}","kind":"Hash"}}'),
        (ed25519(DIGEST), f"{{{HASH}}}"),
        (ed25519(b"hello"), '{"kind":"Message","message":"0x68656c6c6f"}'),
        (ed25519(b""), '{"kind":"Message","message":""}'),
        (schnorr(b""), f'{{{HASH},"taprootMerkleRoot":""}}'),
        (schnorr(ROOT), f'{{{HASH},"taprootMerkleRoot":"0x{ROOT.hex()}"}}'),
    ],
)
def test_what_the_signer_makes_of_a_request_holds(entry: Signature, payload: str) -> None:
    assert check_signature(entry, payload) is None


@pytest.mark.parametrize(
    ("entry", "payload"),
    [
        (ECDSA, f'{{"hash":"0x{ROOT.hex()}","kind":"Hash"}}'),
        (STARK, f'{{"hash":"0x{"04" * 32}","kind":"Hash"}}'),
        (STARK, f"{{{HASH}}}"),
        (replace(STARK, curve="secp256k1"), f'{{"hash":"0x{SMALL.hex()}","kind":"Hash"}}'),
        (replace(ECDSA, curve="stark"), f"{{{HASH}}}"),
        (ed25519(b"hello"), '{"kind":"Message","message":"68"}'),
        (ed25519(DIGEST), '{"kind":"Hash"}'),
        (schnorr(b""), f"{{{HASH}}}"),
        (schnorr(None), f'{{{HASH},"taprootMerkleRoot":""}}'),
        (schnorr(ROOT), f'{{{HASH},"taprootMerkleRoot":""}}'),
        (said("Schnorr", POINT, bytes(64), b""), f'{{{HASH},"taprootMerkleRoot":""}}'),
        (said("ECDSA", b"\2" + b"\xff" * 32, bytes(64)), f"{{{HASH}}}"),
        (said("EdDSA", b"\2", bytes(64)), f"{{{HASH}}}"),
        (said("RSA", POINT, bytes(64)), f"{{{HASH}}}"),
        (ECDSA, "nonsense"),
    ],
)
def test_a_signature_of_anything_else_does_not(entry: Signature, payload: str) -> None:
    assert check_signature(entry, payload) is not None


def test_an_outcome_without_a_signature_has_nothing_to_check() -> None:
    members: dict[str, Any] = {"signature": None, "failure": "the signer refused: Integrity"}
    failed = Signature(**{name: getattr(ECDSA, name) for name in ECDSA.__struct_fields__} | members)
    assert check_signature(failed, "{}") is None
