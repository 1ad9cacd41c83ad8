"""Child keys: published vectors, a second implementation, and both sides of each step against each other."""

from __future__ import annotations

import hmac
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.keystores import ed25519_scalar, hd, native, stark
from countersign.keystores.derivation_path import MAX_DEPTH, parse_path
from countersign.keystores.memory import LockedPage
from countersign.keystores.outcome import Refusal
from tests.keystores.builders import vectors
from tests.keystores.oracle import ask

VECTORS = vectors("hd_vectors.json")
CURVES = ("secp256k1", "ed25519", "stark")
ORDERS = {"secp256k1": hd.SECP256K1_ORDER, "ed25519": ed25519_scalar.ORDER, "stark": int(stark.ORDER)}
PAGE = LockedPage()

indices = st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=4)
chain_codes = st.binary(min_size=32, max_size=32)


def put(curve: str, scalar: int) -> bytes:
    """Write a scalar into the page, in the encoding of its curve; gives the public key."""
    PAGE.secret[:] = scalar.to_bytes(32, "little" if curve == "ed25519" else "big")
    if curve == "ed25519":
        return ed25519_scalar.public_key(PAGE.secret)
    return stark.public_key(PAGE.secret) if curve == "stark" else native.secp256k1_public_key(PAGE.secret)


def held(curve: str) -> int:
    return int.from_bytes(PAGE.secret, "little" if curve == "ed25519" else "big")


def parsed(path: str) -> tuple[int, ...]:
    found = parse_path(path)
    assert not isinstance(found, Refusal)
    return found


@pytest.mark.parametrize(
    ("curve", "case"),
    [(curve, case) for curve in ("secp256k1", "ed25519") for case in VECTORS[curve]],
    ids=lambda value: value if isinstance(value, str) else value["path"].replace("/", "-"),
)
def test_published_vectors_of_both_sides(curve: str, case: dict[str, Any]) -> None:
    chain_code, path, child = bytes.fromhex(case["chainCode"]), parsed(case["path"]), case["child"]
    public = put(curve, int(case["secret"], 16))
    assert public.hex() == case["publicKey"]
    derived = hd.derive_scalar(curve, PAGE.secret, public, chain_code, path)
    assert f"{held(curve):064x}" == child["secret"]
    assert derived.public_key.hex() == child["publicKey"]
    assert derived.chain_code.hex() == child.get("chainCode", derived.chain_code.hex())
    assert hd.derive_public(curve, hd.ExtendedPublicKey(public, chain_code), path) == derived


@pytest.mark.parametrize("curve", CURVES)
@settings(max_examples=25, deadline=None)
@given(data=st.data(), chain_code=chain_codes, path=indices)
def test_the_secret_and_the_public_side_derive_the_same_child(
    curve: str, data: st.DataObject, chain_code: bytes, path: list[int]
) -> None:
    public = put(curve, data.draw(st.integers(1, ORDERS[curve] - 1)))
    child = hd.derive_scalar(curve, PAGE.secret, public, chain_code, path)
    assert child == hd.derive_public(curve, hd.ExtendedPublicKey(public, chain_code), path)
    assert child.public_key == put(curve, held(curve))


@pytest.mark.parametrize("curve", CURVES)
def test_children_agree_with_another_implementation(curve: str) -> None:
    cases = [(7 * number + 1, bytes((number,)) * 32, [number, 2**31 - 1 - number]) for number in range(1, 9)]
    parents = [(put(curve, secret), chain_code, path) for secret, chain_code, path in cases]
    answers = ask(
        [
            {"ask": "derive", "curve": curve, "publicKey": public.hex(), "chainCode": chain_code.hex(), "path": path}
            for public, chain_code, path in parents
        ]
    )
    for (public, chain_code, path), answer in zip(parents, answers, strict=True):
        child = hd.derive_public(curve, hd.ExtendedPublicKey(public, chain_code), path)
        assert answer == {"publicKey": child.public_key.hex(), "chainCode": child.chain_code.hex()}


def test_a_shift_that_is_not_below_the_order_is_drawn_again() -> None:
    public, chain_code = put("stark", 5), b"c" * 32
    digest = hmac.digest(chain_code, public + bytes(4), "sha512")
    assert int.from_bytes(digest[:32], "big") >= stark.ORDER  # 31 of 32 are, on this curve
    while int.from_bytes(digest[:32], "big") >= stark.ORDER:
        digest = hmac.digest(chain_code, b"\1" + digest[32:] + bytes(4), "sha512")
    child = hd.derive_scalar("stark", PAGE.secret, public, chain_code, [0])
    assert child.chain_code == digest[32:]
    assert held("stark") == (5 + int.from_bytes(digest[:32], "big")) % int(stark.ORDER)


@pytest.mark.parametrize(
    ("path", "expected"),
    [("m/0", (0,)), ("m/2147483647", (2**31 - 1,)), ("m/44/60/0", (44, 60, 0)), ("m" + "/1" * MAX_DEPTH, (1,) * 32)],
)
def test_paths_are_decimal_indices(path: str, expected: tuple[int, ...]) -> None:
    assert parse_path(path) == expected


@pytest.mark.parametrize(
    "path",
    [
        "",
        "m",
        "m/",
        "/0",
        "0",
        "M/0",
        "m/0'",
        "m/0h",
        "m/0H",
        "m/-1",
        "m/+1",
        "m/ 1",
        "m/1/",
        "m//1",
        "m/1\n",
        "m/00",
        "m/01",
        "m/0x1",
        "m/1_0",
        "m/\u0661",
        "m/2147483648",
        "m/99999999999",
        "m" + "/1" * (MAX_DEPTH + 1),
    ],
)
def test_other_paths_are_refused(path: str) -> None:
    refusal = parse_path(path)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "Unsupported"


@pytest.mark.parametrize("curve", CURVES)
def test_hardened_steps_and_bytes_that_are_no_point_are_errors(curve: str) -> None:
    parent = hd.ExtendedPublicKey(put(curve, 9), bytes(32))
    with pytest.raises(ValueError, match="non-hardened"):
        hd.derive_public(curve, parent, [2**31])
    with pytest.raises(ValueError, match="point"):
        hd.derive_public(curve, hd.ExtendedPublicKey(b"\2" + b"\xff" * 31, bytes(32)), [0])
