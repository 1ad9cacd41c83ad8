"""Ed25519 by scalar and prefix against the seed's own signatures, and against OpenSSL."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from countersign.keystores import ed25519_scalar
from countersign.keystores.memory import LockedPage
from tests.keystores.builders import vectors


def expanded(page: LockedPage, seed: bytes) -> bytes:
    """The seed's scalar and prefix in the page; gives the public key."""
    page.secret[:] = seed
    ed25519_scalar.expand_seed(page.secret_pair, page.keypair)
    return ed25519_scalar.public_key(page.secret)


@pytest.mark.parametrize("case", vectors("signing_vectors.json")["rfc8032"], ids=lambda case: case["name"])
def test_signatures_by_scalar_and_prefix_are_those_of_rfc8032(case: dict[str, Any]) -> None:
    page = LockedPage()
    public = expanded(page, bytes.fromhex(case["seed"]))
    signature = ed25519_scalar.sign(page.secret_pair, page.keypair, public, bytes.fromhex(case["message"]))
    assert (public.hex(), signature.hex()) == (case["publicKey"], case["signature"])


def test_a_seed_expands_to_its_clamped_scalar_mod_l() -> None:
    page = LockedPage()
    for _ in range(20):
        seed = os.urandom(32)
        expanded(page, seed)
        hashed = hashlib.sha512(seed).digest()
        clamped = int.from_bytes(hashed[:32], "little") & ((1 << 254) - 8) | 1 << 254
        assert int.from_bytes(page.secret, "little") == clamped % ed25519_scalar.ORDER
        assert page.secret_area[32:64] == hashed[32:]


def test_a_random_scalar_and_prefix_sign_for_openssl() -> None:
    page = LockedPage()
    for length in (0, 1, 64, 1000):
        page.secret_area[:64] = os.urandom(64)
        ed25519_scalar.reduce_wide(page.secret_pair)
        page.secret_area[32:64] = os.urandom(32)
        public, message = ed25519_scalar.public_key(page.secret), os.urandom(length)
        signature = ed25519_scalar.sign(page.secret_pair, page.keypair, public, message)
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)


@pytest.mark.parametrize(
    ("value", "good"),
    [
        (0, False),
        (1, True),
        (ed25519_scalar.ORDER - 1, True),
        (ed25519_scalar.ORDER, False),
        (ed25519_scalar.ORDER + 1, False),
        (2**256 - 1, False),
    ],
)
def test_a_private_scalar_is_above_zero_and_below_the_order(value: int, good: bool) -> None:
    page = LockedPage()
    page.secret[:] = value.to_bytes(32, "little")
    assert ed25519_scalar.is_scalar(page.secret, page.keypair) is good


def test_zero_has_no_public_key() -> None:
    with pytest.raises(ValueError, match="not an Ed25519 private scalar"):
        ed25519_scalar.public_key(LockedPage().secret)


def test_wide_bytes_are_reduced_and_a_shift_is_added_mod_l() -> None:
    page, wide, shift = LockedPage(), os.urandom(64), int.from_bytes(os.urandom(31), "little")
    page.secret_pair[:] = wide
    ed25519_scalar.reduce_wide(page.secret_pair)
    reduced = int.from_bytes(wide, "little") % ed25519_scalar.ORDER
    assert bytes(page.secret_pair) == reduced.to_bytes(64, "little")
    ed25519_scalar.add(page.secret, shift.to_bytes(32, "little"))
    assert int.from_bytes(page.secret, "little") == (reduced + shift) % ed25519_scalar.ORDER
