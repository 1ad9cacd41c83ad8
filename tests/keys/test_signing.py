"""What a signature request asks the signer for, and how the answer is written down."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from countersign.api import UNSET
from countersign.keys.signing import SUPPORTED, ToSign, Unsupported, parts, to_sign
from countersign.keys.types import CreateSignature, SignatureParts

DIGEST = bytes(range(32))
HASH = {"kind": "Hash", "hash": "0x" + DIGEST.hex()}
ROOT = "ab" * 32
CURVES = {"ECDSA": "secp256k1", "EdDSA": "ed25519", "Schnorr": "secp256k1", "DH": "secp256k1"}


def request(**members: Any) -> Any:
    return msgspec.convert(members, CreateSignature)


@pytest.mark.parametrize(
    ("scheme", "members", "expected"),
    [
        ("ECDSA", HASH, ToSign("digest32", DIGEST, None)),
        ("ECDSA", {"kind": "Hash", "hash": DIGEST.hex().upper()}, ToSign("digest32", DIGEST, None)),
        # An EdDSA key takes the bytes as its message: they are never hashed before.
        ("EdDSA", HASH, ToSign("message", DIGEST, None)),
        ("EdDSA", {"kind": "Message", "message": "0x"}, ToSign("message", b"", None)),
        ("EdDSA", {"kind": "Message", "message": "00fF"}, ToSign("message", b"\x00\xff", None)),
        ("Schnorr", {**HASH, "taprootMerkleRoot": ""}, ToSign("digest32", DIGEST, b"")),
        ("Schnorr", {**HASH, "taprootMerkleRoot": ROOT}, ToSign("digest32", DIGEST, bytes.fromhex(ROOT))),
        ("Schnorr", {**HASH, "taprootMerkleRoot": "0x" + ROOT}, ToSign("digest32", DIGEST, bytes.fromhex(ROOT))),
    ],
)
def test_a_request_becomes_the_signers_input(scheme: str, members: dict[str, Any], expected: ToSign) -> None:
    assert to_sign(request(**members), scheme, CURVES[scheme]) == expected


@pytest.mark.parametrize(
    ("scheme", "members", "named"),
    [
        ("Schnorr", HASH, "taprootMerkleRoot"),
        ("ECDSA", {**HASH, "taprootMerkleRoot": ""}, "taprootMerkleRoot"),
        ("EdDSA", {**HASH, "taprootMerkleRoot": ROOT}, "taprootMerkleRoot"),
        ("ECDSA", {"kind": "Message", "message": "0x00"}, "EdDSA"),
        ("Schnorr", {"kind": "Message", "message": "0x00"}, "EdDSA"),
        ("EdDSA", {"kind": "Message", "message": "0x00", "network": "Solana"}, "network"),
        ("ECDSA", {**HASH, "blockchainKind": "Evm"}, "blockchainKind"),
        ("DH", HASH, "DH"),
        ("DH", {"kind": "Message", "message": "0x00"}, "DH"),
    ],
)
def test_what_a_key_cannot_sign_is_said(scheme: str, members: dict[str, Any], named: str) -> None:
    refused = to_sign(request(**members), scheme, CURVES[scheme])
    assert isinstance(refused, Unsupported)
    assert named in refused.reason


def test_every_supported_scheme_but_dh_signs_a_hash() -> None:
    for scheme, curve in SUPPORTED:
        root = {"taprootMerkleRoot": ""} if scheme == "Schnorr" else {}
        wanted = to_sign(request(**HASH, **root), scheme, curve)
        assert isinstance(wanted, Unsupported if scheme == "DH" else ToSign)


def test_a_stark_key_signs_digests_below_2_to_the_251() -> None:
    highest = (1 << 251) - 1
    below, above = (request(kind="Hash", hash=f"{value:064x}") for value in (highest, highest + 1))
    assert to_sign(below, "ECDSA", "stark") == ToSign("digest32", highest.to_bytes(32), None)
    refused = to_sign(above, "ECDSA", "stark")
    assert isinstance(refused, Unsupported)
    assert "2^251" in refused.reason


def test_leading_zeros_of_a_signature_are_kept() -> None:
    signature = bytes(31) + b"\x01" + bytes(31) + b"\x02"
    r, s = "0x" + "00" * 31 + "01", "0x" + "00" * 31 + "02"
    assert parts("ECDSA", signature, 1) == SignatureParts(r=r, s=s, recid=1)
    assert parts("ECDSA", signature, None).recid is UNSET
    for scheme in ("EdDSA", "Schnorr"):
        assert parts(scheme, signature, None) == SignatureParts(r=r, s=s, encoded="0x" + signature.hex())
