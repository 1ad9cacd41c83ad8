"""A sealed record opens only where it belongs."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from countersign.keystores import record
from countersign.keystores.memory import LockedPage
from countersign.keystores.outcome import Refusal

BINDING = record.Binding("ks-1", "or-1", "ke-1", "ECDSA", "secp256k1", "secp256k1.scalar", b"\2" * 33, 1, 1)
ROOT = bytearray(b"r" * 32)
SECRET = bytes(range(32))


@pytest.fixture
def page() -> LockedPage:
    page = LockedPage()
    page.secret[:] = SECRET
    return page


def opened(page: LockedPage, binding: record.Binding, sealed: bytes, root: bytearray = ROOT) -> bytes | Refusal:
    page.wipe_all()
    refusal = record.unseal(page, memoryview(root), binding, sealed)
    assert refusal is None or bytes(page.secret) == bytes(32), "a refused record leaves nothing behind"
    return refusal or bytes(page.secret)


def test_a_record_opens_where_it_belongs(page: LockedPage) -> None:
    sealed = record.seal(page, memoryview(ROOT), BINDING)
    assert len(sealed) == 4 + 1 + 1 + 4 + 4 + 12 + 32 + 16
    assert SECRET not in sealed
    assert opened(page, BINDING, sealed) == SECRET


def test_a_flipped_bit_anywhere_is_refused(page: LockedPage) -> None:
    sealed = record.seal(page, memoryview(ROOT), BINDING)
    for position in range(len(sealed) * 8):
        broken = bytearray(sealed)
        broken[position // 8] ^= 1 << position % 8
        outcome = opened(page, BINDING, bytes(broken))
        assert isinstance(outcome, Refusal), f"bit {position}"
        assert outcome.code == "Integrity"


@pytest.mark.parametrize(
    "moved",
    [
        replace(BINDING, key_id="ke-2"),
        replace(BINDING, org_id="or-2"),
        replace(BINDING, store_id="ks-2"),
        replace(BINDING, scheme="Schnorr"),
        replace(BINDING, curve="ed25519"),
        replace(BINDING, secret_kind="ed25519.seed"),
        replace(BINDING, public_key=b"\3" * 33),
        replace(BINDING, root_version=2),
        replace(BINDING, generation=2),
    ],
    ids=["row", "organisation", "store", "scheme", "curve", "kind", "public key", "root version", "generation"],
)
def test_a_record_moved_or_relabelled_is_refused(page: LockedPage, moved: record.Binding) -> None:
    sealed = record.seal(page, memoryview(ROOT), BINDING)
    outcome = opened(page, moved, sealed)
    assert isinstance(outcome, Refusal)
    assert outcome.code == "Integrity"


def test_a_rewritten_header_does_not_help_a_relabelled_generation(page: LockedPage) -> None:
    sealed = bytearray(record.seal(page, memoryview(ROOT), BINDING))
    sealed[10:14] = (2).to_bytes(4, "big")
    assert isinstance(opened(page, replace(BINDING, generation=2), bytes(sealed)), Refusal)


def test_the_record_is_as_documented(page: LockedPage) -> None:
    sealed = record.seal(page, memoryview(ROOT), BINDING)
    key = HKDF(SHA256(), 32, b"ks-1", b"csk/1/wrapke-1").derive(bytes(ROOT))
    bound = ["csk/1", "ks-1", "or-1", "ke-1", "ECDSA", "secp256k1", "secp256k1.scalar"]
    data = msgspec.msgpack.encode([*bound, hashlib.sha256(b"\2" * 33).digest(), 1, 1])
    assert AESGCM(key).decrypt(sealed[14:26], sealed[26:], data) == SECRET


def test_another_root_key_is_refused(page: LockedPage) -> None:
    sealed = record.seal(page, memoryview(ROOT), BINDING)
    assert isinstance(opened(page, BINDING, sealed, bytearray(b"x" * 32)), Refusal)


@pytest.mark.parametrize("length", [0, 1, 25, 26, 73, 75])
def test_a_record_of_the_wrong_length_is_refused(page: LockedPage, length: int) -> None:
    sealed = record.seal(page, memoryview(ROOT), BINDING)
    assert isinstance(opened(page, BINDING, (sealed + b"x")[:length]), Refusal)


def test_the_same_secret_never_seals_to_the_same_bytes(page: LockedPage) -> None:
    assert record.seal(page, memoryview(ROOT), BINDING) != record.seal(page, memoryview(ROOT), BINDING)
