from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.encoding.cbor import BadCbor, decode, decode_item
from tests.support.authenticator import cbor

_KEYS = st.integers(-(2**64), 2**64 - 1) | st.text()
_VALUES = st.recursive(
    st.integers(-(2**64), 2**64 - 1) | st.binary() | st.text() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("encoded", "value"),
    [  # RFC 8949 appendix A
        ("00", 0),
        ("17", 23),
        ("1818", 24),
        ("1903e8", 1000),
        ("1a000f4240", 1000000),
        ("1bffffffffffffffff", 18446744073709551615),
        ("20", -1),
        ("3903e7", -1000),
        ("3bffffffffffffffff", -18446744073709551616),
        ("f4", False),
        ("f5", True),
        ("f6", None),
        ("40", b""),
        ("4401020304", bytes([1, 2, 3, 4])),
        ("6449455446", "IETF"),
        ("62c3bc", "ü"),
        ("80", []),
        ("8301820203820405", [1, [2, 3], [4, 5]]),
        ("a0", {}),
        ("a201020304", {1: 2, 3: 4}),
        ("a26161016162820203", {"a": 1, "b": [2, 3]}),
        ("590001ff", b"\xff"),
        ("a203040102", {3: 4, 1: 2}),
    ],
)
def test_the_items_of_authenticators_are_read(encoded: str, value: object) -> None:
    assert decode(bytes.fromhex(encoded)) == value


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "0000",
        "18",
        "1903",
        "1c",
        "1f",
        "ff",
        "f7",
        "e0",
        "f0",
        "f814",
        "f97e00",
        "fa47c35000",
        "fb3ff199999999999a",
        "c11a514b67b0",
        "c249010000000000000000",
        "d8184401020304",
        "5f42010243030405ff",
        "7f657374726561646d696e67ff",
        "9f018202039f0405ffff",
        "bf61610161629f0203ffff",
        "41",
        "5bffffffffffffffff00",
        "9bffffffffffffffff00",
        "bbffffffffffffffff00",
        "9a0000000300",
        "62c328",
        "63eda080",
        "a1",
        "a101",
        "a201020103",
        "a2616101616102",
        "a1f501",
        "a1f601",
        "a14101f5",
        "a18001",
        "81" * 9 + "00",
        "81" * 5000,
    ],
)
def test_everything_else_is_refused(encoded: str) -> None:
    with pytest.raises(BadCbor):
        decode(bytes.fromhex(encoded))


def test_an_item_may_stand_anywhere() -> None:
    assert decode_item(b"\xff\x01\x02", 1) == (1, 2)
    assert decode(bytes.fromhex("81" * 8 + "00")) == [[[[[[[[0]]]]]]]]


@settings(deadline=None, max_examples=100)
@given(_VALUES)
def test_what_was_encoded_is_read_and_no_part_of_it(value: Any) -> None:
    encoded = cbor(value)
    assert decode(encoded) == value
    with pytest.raises(BadCbor):
        decode(encoded[:-1])


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        value, end = decode_item(data, 0)
    except BadCbor:
        return
    assert 0 < end <= len(data)
    assert decode(data[:end]) == value
