"""Hashing to secp256k1 against the vectors of RFC 9380 and a second implementation."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import pytest

from countersign.keystores import hash_to_curve, native
from countersign.keystores.memory import LockedPage
from countersign.keystores.schemes import derive_output
from tests.keystores.builders import vectors
from tests.keystores.oracle import ask

RFC9380 = vectors("rfc9380.json")
SUITE = RFC9380["secp256k1_XMD:SHA-256_SSWU_RO_"]
EXPANDER = RFC9380["expand_message_xmd(SHA-256)"]


def short(case: dict[str, Any]) -> str:
    return f"{case['message'][:16]}-{case.get('length', '')}"


@pytest.mark.parametrize("case", SUITE["vectors"], ids=short)
def test_rfc9380_vectors_of_the_suite(case: dict[str, Any]) -> None:
    message, tag = case["message"].encode(), SUITE["dst"].encode()
    elements = hash_to_curve.hash_to_field(message, tag)
    assert [f"{u:064x}" for u in elements] == case["u"]
    for u, expected in zip(elements, (case["Q0"], case["Q1"]), strict=True):
        assert [f"{value:064x}" for value in hash_to_curve.map_to_curve(u)] == expected
    x, y = case["P"]
    assert hash_to_curve.hash_to_curve(message, tag).hex() == f"{2 + int(y, 16) % 2:02x}{x}"


@pytest.mark.parametrize("case", EXPANDER["vectors"], ids=short)
def test_rfc9380_vectors_of_expand_message(case: dict[str, Any]) -> None:
    uniform = hash_to_curve.expand_message(case["message"].encode(), EXPANDER["dst"].encode(), case["length"])
    assert uniform.hex() == case["uniform"]


def test_hashes_and_dh_outputs_agree_with_another_implementation() -> None:
    cases = [
        (os.urandom(length), os.urandom(tag)) for length, tag in ((0, 1), (1, 16), (33, 255), (500, 256), (7, 4096))
    ]
    points = ask([{"ask": "hashToCurve", "message": message.hex(), "tag": tag.hex()} for message, tag in cases])
    assert [hash_to_curve.hash_to_curve(message, tag).hex() for message, tag in cases] == points
    page = LockedPage()
    page.secret[:] = bytes(31) + b"\5"
    products = ask([{"ask": "multiply", "point": point, "secret": page.secret.hex()} for point in points])
    for (message, tag), product in zip(cases, products, strict=True):
        assert derive_output(page, tag, message) == hashlib.sha256(bytes.fromhex(product)).digest()


def test_dh_outputs_depend_on_the_key_the_domain_and_the_seed_only() -> None:
    page = LockedPage()
    page.secret[:] = b"\7" * 32
    once = derive_output(page, b"domain", b"seed")
    assert once == derive_output(page, b"domain", b"seed")
    page.secret[31] = 8
    others = {once, derive_output(page, b"domain", b"seed")}
    page.secret[31] = 7
    others |= {derive_output(page, b"domai", b"nseed"), derive_output(page, b"domain", b"")}
    assert len(others) == 4


def test_an_empty_domain_is_refused() -> None:
    with pytest.raises(ValueError, match="tag is empty"):
        hash_to_curve.hash_to_curve(b"seed", b"")


def test_points_that_cancel_have_no_sum() -> None:
    one = native.secp256k1_public_key(bytearray(bytes(31) + b"\1"))
    with pytest.raises(ValueError, match="identity"):
        native.combine([one, b"\3" + one[1:]])
    with pytest.raises(ValueError, match="not a point"):
        native.combine([one, bytes(33)])
