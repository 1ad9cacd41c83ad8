"""ECDSA on the STARK curve against StarkWare's published values and a second implementation."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from countersign import keystores
from countersign.keystores import stark
from tests.keystores.builders import vectors
from tests.keystores.oracle import ask

VECTORS = vectors("stark_vectors.json")
ORDER = int(stark.ORDER)


def sign(secret: bytes, digest: bytes, extra: bytes = b"") -> tuple[int, int, int]:
    value = stark.sign(bytearray(secret), digest, extra)
    assert len(value) == 65
    return int.from_bytes(value[:32], "big"), int.from_bytes(value[32:64], "big"), value[64]


def below_the_limit() -> bytes:
    draw = bytearray(os.urandom(32))
    draw[0] &= 7
    return bytes(draw)


@pytest.fixture(params=["GMP", "Python"], scope="module")
def arithmetic(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """The module over GMP's integers, and a second time over Python's own."""
    if request.param == "GMP":
        pytest.importorskip("gmpy2", reason="NOT TESTED: gmpy2 is not installed")
        yield stark
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "gmpy2", None)
        patch.delitem(sys.modules, "countersign.keystores.stark")
        patch.setattr(keystores, "stark", stark)  # so that the copy, which the import puts there, goes again
        module = importlib.import_module("countersign.keystores.stark")
        assert type(module.ORDER) is int
        yield module


def test_public_keys_are_the_published_ones(arithmetic: ModuleType) -> None:
    for case in VECTORS["publicKeys"]:
        public = arithmetic.public_key(bytearray.fromhex(case["secret"]))
        assert public[1:].hex() == case["x"]


def test_signatures_without_extra_entropy_are_the_published_ones(arithmetic: ModuleType) -> None:
    for case in VECTORS["signatures"]:
        secret, digest = bytearray.fromhex(case["secret"]), bytes.fromhex(case["hash"])
        value = arithmetic.sign(secret, digest, b"")
        s = int(case["s"], 16)
        assert value[:32].hex() == case["r"]
        assert int.from_bytes(value[32:64], "big") == min(s, ORDER - s)
        assert arithmetic.recovers(arithmetic.public_key(secret), digest, value)


def test_signatures_are_low_s_in_range_and_verify_elsewhere() -> None:
    made = []
    for _ in range(40):
        secret, digest = below_the_limit(), below_the_limit()
        r, s, recid = sign(secret, digest, os.urandom(32))
        assert 0 < r < stark.LIMIT
        assert 0 < s <= ORDER // 2
        assert pow(s, -1, ORDER) < stark.LIMIT
        about = {"digest": digest.hex(), "r": f"{r:064x}", "s": f"{s:064x}"}
        made.append((stark.public_key(bytearray(secret)).hex(), {**about, "recid": recid}))
    verified = ask([{"ask": "starkVerify", "publicKey": public, **about} for public, about in made])
    recovered = ask([{"ask": "starkRecover", **about} for _, about in made])
    assert verified == [True] * len(made)
    assert recovered == [public for public, _ in made]


def test_a_nonce_that_leads_out_of_range_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    secret, digest = bytearray(below_the_limit()), below_the_limit()
    # At the real limit that happens once in 2**58 signatures; at a tenth of it, with nearly every nonce.
    monkeypatch.setattr(stark, "LIMIT", 2**251 // 10)
    value = stark.sign(secret, digest, b"")
    r, s = (int.from_bytes(value[start : start + 32], "big") for start in (0, 32))
    assert max(r, pow(s, -1, ORDER)) < stark.LIMIT
    assert stark.recovers(stark.public_key(secret), digest, value)
    monkeypatch.undo()
    assert stark.recovers(stark.public_key(secret), digest, value)


def test_signatures_of_another_implementation_recover_their_key() -> None:
    cases = [(below_the_limit(), below_the_limit()) for _ in range(20)]
    answers = ask([{"ask": "starkSign", "secret": k.hex(), "digest": d.hex()} for k, d in cases])
    for (secret, digest), answer in zip(cases, answers, strict=True):
        public, value = stark.public_key(bytearray(secret)), bytes.fromhex(answer["r"] + answer["s"])
        assert sum(stark.recovers(public, digest, value + bytes((recid,))) for recid in (0, 1)) == 1


def test_public_keys_agree_with_another_implementation() -> None:
    edge = [number.to_bytes(32, "big") for number in (1, 2, 63, 64, 65, 2**251 - 1, ORDER - 2, ORDER - 1)]
    secrets = edge + [below_the_limit() for _ in range(20)]
    answers = ask([{"ask": "starkPublicKey", "secret": secret.hex()} for secret in secrets])
    assert [stark.public_key(bytearray(secret)).hex() for secret in secrets] == answers


def test_a_changed_signature_digest_or_key_does_not_pass() -> None:
    secret, digest = below_the_limit(), below_the_limit()
    public, value = stark.public_key(bytearray(secret)), stark.sign(bytearray(secret), digest, b"")
    other = stark.public_key(bytearray(below_the_limit()))
    high = value[:32] + (ORDER - int.from_bytes(value[32:64], "big")).to_bytes(32, "big")
    assert stark.recovers(public, digest, value)
    assert not stark.recovers(other, digest, value)
    assert not stark.recovers(public, below_the_limit(), value)
    for wrong in (
        value[:64] + bytes((value[64] ^ 1,)),
        value[:64] + b"\2",
        value[:64],
        bytes(32) + value[32:],
        value[:32] + bytes(32) + value[64:],
        value[:32] + ORDER.to_bytes(32, "big") + value[64:],
        stark.LIMIT.to_bytes(32, "big") + value[32:],
        high + value[64:],
        *(bytearray(value[:place] + bytes((value[place] ^ 1,)) + value[place + 1 :]) for place in (5, 31, 40, 63)),
    ):
        assert not stark.recovers(public, digest, bytes(wrong))
    # -s belongs to the nonce's negative, whose point has the other parity.
    assert stark.recovers(public, digest, high + bytes((value[64] ^ 1,)))


@pytest.mark.parametrize("digest", [b"\x08" + bytes(31), b"\xff" * 32, bytes(31), bytes(33)])
def test_only_numbers_below_2_to_the_251_are_signed(digest: bytes) -> None:
    assert not stark.is_signable(digest)
    with pytest.raises(ValueError, match="below"):
        stark.sign(bytearray(below_the_limit()), digest, b"")


@pytest.mark.parametrize("value", [0, ORDER, ORDER + 1, 2**256 - 1])
def test_scalars_out_of_range_are_no_keys(value: int) -> None:
    secret = bytearray(value.to_bytes(32, "big"))
    assert not stark.is_scalar(secret)
    with pytest.raises(ValueError, match="not a STARK private key"):
        stark.public_key(secret)


@pytest.mark.parametrize(
    "public",
    [b"", b"\2" * 32, b"\4" + b"\1" * 32, b"\2" + bytes(32), b"\2" + b"\xff" * 32],
    ids=lambda public: public.hex(),
)
def test_bytes_that_are_no_point_are_refused(public: bytes) -> None:
    with pytest.raises(ValueError, match="STARK curve"):
        stark.add_base(public, 1)


def test_sums_with_the_base_point_have_no_exceptions() -> None:
    base, doubled, minus = (stark.public_key(bytearray(n.to_bytes(32, "big"))) for n in (1, 2, ORDER - 1))
    assert stark.add_base(base, 0) == base
    assert stark.add_base(base, 1) == doubled
    assert stark.add_base(minus, 1) is None
    assert stark.add_base(base, ORDER - 1) is None
    assert stark.add_base(minus, 2) == base


def test_k7_no_two_stark_signatures_share_r() -> None:
    secret = bytearray(below_the_limit())
    again = {stark.sign(secret, bytes(32), os.urandom(32))[:32] for _ in range(200)}
    others = {stark.sign(secret, number.to_bytes(32, "big"), os.urandom(32))[:32] for number in range(1, 801)}
    deterministic = {stark.sign(secret, number.to_bytes(32, "big"), b"")[:32] for number in range(1, 801)}
    assert len(again | others | deterministic) == 1800
