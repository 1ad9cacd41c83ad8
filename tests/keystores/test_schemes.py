"""Keys and signatures through the sealed store, checked by libraries that did not make them."""

from __future__ import annotations

import os

import pytest
from coincurve import PublicKeyXOnly
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from countersign.keystores import schemes
from countersign.keystores.memory import LockedPage
from countersign.keystores.outcome import Refusal
from tests.keystores.builders import PAIRS, Bench
from tests.keystores.oracle import ask

HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
K7_SIGNATURES = 20_000


def test_ecdsa_signatures_are_low_s_and_verify_with_openssl() -> None:
    bench = Bench()
    key = bench.generate("ECDSA", "secp256k1")
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), key.public_key)
    for _ in range(50):
        digest = os.urandom(32)
        value = bench.sign(key, digest)
        r, s = int.from_bytes(value[:32], "big"), int.from_bytes(value[32:64], "big")
        assert len(value) == 65
        assert value[64] in (0, 1)
        assert s <= HALF_ORDER
        public.verify(utils.encode_dss_signature(r, s), digest, ec.ECDSA(utils.Prehashed(SHA256())))


@pytest.mark.parametrize("length", [0, 1, 32, 1000, 384 * 1024])
def test_eddsa_signs_the_whole_message_and_verifies_with_openssl(length: int) -> None:
    bench = Bench()
    key = bench.generate("EdDSA", "ed25519")
    message = os.urandom(length)
    value = bench.sign(key, message)
    assert (len(key.public_key), len(value)) == (32, 64)
    Ed25519PublicKey.from_public_bytes(key.public_key).verify(value, message)


def test_eddsa_is_deterministic() -> None:
    bench = Bench()
    key = bench.generate("EdDSA", "ed25519")
    assert bench.sign(key, b"message") == bench.sign(key, b"message")


@pytest.mark.parametrize("tweak", [None, b"", b"m" * 32], ids=["no tweak", "default tweak", "merkle root"])
def test_schnorr_signs_under_the_key_or_its_taproot_output_key(tweak: bytes | None) -> None:
    bench = Bench()
    key = bench.generate("Schnorr", "secp256k1")
    digest = os.urandom(32)
    value = bench.sign(key, digest, tweak)
    internal = PublicKeyXOnly(key.public_key[1:])
    if tweak is not None:
        internal.tweak_add(tagged(b"TapTweak", key.public_key[1:] + tweak))
    assert internal.verify(value, digest)


def tagged(tag: bytes, data: bytes) -> bytes:
    """The tagged hash of BIP340."""
    from hashlib import sha256

    return sha256(sha256(tag).digest() * 2 + data).digest()


def test_signatures_of_master_keys_verify_with_another_implementation() -> None:
    page, digest = LockedPage(), os.urandom(32)
    questions = []
    for name, curve, question in (
        ("Schnorr", "secp256k1", "bip340Verify"),
        ("EdDSA", "ed25519", "ed25519Verify"),
    ):
        scheme = schemes.SCHEMES[name, curve]
        public = schemes.generate(scheme, page, master=True)
        assert scheme.master_kind is not None
        value = schemes.sign(scheme, page, scheme.master_kind, public, digest, None)
        assert isinstance(value, bytes)
        about = {"publicKey": public[-32:].hex(), "message": digest.hex(), "signature": value.hex()}
        questions.append({"ask": question, **about})
    assert ask(questions) == [True, True]


def test_every_generated_secret_is_drawn_anew() -> None:
    page = LockedPage()
    for scheme in schemes.SCHEMES.values():
        for master in (False, True)[: 2 if scheme.master_kind else 1]:
            first = schemes.generate(scheme, page, master=master), bytes(page.secret_area)
            second = schemes.generate(scheme, page, master=master), bytes(page.secret_area)
            assert first[0] != second[0]
            assert first[1] != second[1]


def test_schnorr_keys_always_have_an_even_y() -> None:
    bench = Bench()
    assert {bench.generate("Schnorr").public_key[0] for _ in range(40)} == {2}


def test_ecdsa_keys_have_either_parity() -> None:
    bench = Bench()
    assert {bench.generate("ECDSA").public_key[0] for _ in range(40)} == {2, 3}


@pytest.mark.parametrize(("scheme", "curve"), PAIRS)
def test_every_generated_key_differs(scheme: str, curve: str) -> None:
    bench = Bench()
    assert len({bench.generate(scheme, curve).public_key for _ in range(20)}) == 20


@pytest.mark.parametrize(
    ("scheme", "curve", "kind", "payload", "tweak"),
    [
        ("ECDSA", "secp256k1", "digest32", b"x" * 31, None),
        ("ECDSA", "secp256k1", "digest32", b"x" * 33, None),
        ("ECDSA", "secp256k1", "message", b"x" * 32, None),
        ("ECDSA", "secp256k1", "digest32", b"x" * 32, b""),
        ("EdDSA", "ed25519", "digest32", b"x" * 32, None),
        ("EdDSA", "ed25519", "message", b"x", b""),
        ("EdDSA", "ed25519", "message", b"x" * (384 * 1024 + 1), None),
        ("Schnorr", "secp256k1", "digest32", b"x" * 31, None),
        ("Schnorr", "secp256k1", "digest32", b"x" * 32, b"x" * 31),
    ],
)
def test_payloads_a_scheme_can_not_sign_are_refused(
    scheme: str, curve: str, kind: str, payload: bytes, tweak: bytes | None
) -> None:
    refusal = schemes.payload_defect(schemes.SCHEMES[scheme, curve], kind, payload, tweak)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "Unsupported"


def test_a_signature_under_another_public_key_is_discarded() -> None:
    page = LockedPage()
    for scheme in (scheme for scheme in schemes.SCHEMES.values() if scheme.payload_kind):
        other = schemes.generate(scheme, page)
        schemes.generate(scheme, page)
        outcome = schemes.sign(scheme, page, scheme.secret_kind, other, b"\1" * 32, None)
        assert isinstance(outcome, Refusal)
        assert outcome.code == "Integrity"


@pytest.mark.parametrize(("scheme", "curve"), [("ECDSA", "secp256k1"), ("Schnorr", "secp256k1")])
def test_k7_no_two_of_20000_signatures_share_r(scheme: str, curve: str) -> None:
    page = LockedPage()
    kind = schemes.SCHEMES[scheme, curve]
    public = schemes.generate(kind, page)
    seen: set[bytes] = set()
    for number in range(K7_SIGNATURES):
        value = schemes.sign(kind, page, kind.secret_kind, public, number.to_bytes(32, "big"), None)
        assert isinstance(value, bytes)
        seen.add(value[:32])
    assert len(seen) == K7_SIGNATURES


def test_k7_the_same_digest_signed_twice_has_another_nonce() -> None:
    bench = Bench()
    for scheme in ("ECDSA", "Schnorr"):
        key = bench.generate(scheme)
        assert bench.sign(key, b"d" * 32)[:32] != bench.sign(key, b"d" * 32)[:32]
