"""JSON that JavaScript would write the same way: published vectors, and Node itself over generated values."""

from __future__ import annotations

import json
import math
import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign.webhooks.javascript_json import MAX_SAFE, dumps, number, string
from tests.webhooks.data import VECTORS
from tests.webhooks.node import node

TEXTS = st.text(st.characters(codec="utf-8"))
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-MAX_SAFE, MAX_SAFE)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS | st.integers(0, 2**33).map(str), inner),
    max_leaves=12,
)


@pytest.mark.parametrize("vector", VECTORS["serialisation"], ids=lambda vector: vector["json"])
def test_published_vectors(vector: dict[str, str]) -> None:
    assert dumps(json.loads(vector["json"])) == vector["javascript"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e21, "1e+21"),
        (123456789012345680000.0, "123456789012345680000"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (1.5e-9, "1.5e-9"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (-0.0, "0"),
        (100.0, "100"),
        (0.1 + 0.2, "0.30000000000000004"),
        (2500.5, "2500.5"),
        (math.inf, "null"),
    ],
)
def test_numbers_are_written_as_ecmascript_writes_them(value: float, text: str) -> None:
    assert number(value) == text


def test_integers_beyond_the_safe_ones_become_strings_so_that_no_digit_is_lost() -> None:
    assert dumps([MAX_SAFE, MAX_SAFE + 1, -MAX_SAFE - 1, 10**30]) == (
        '[9007199254740991,"9007199254740992","-9007199254740992","1000000000000000000000000000000"]'
    )
    assert dumps(Decimal("2500.50")) == "2500.5"


def test_strings_escape_what_must_be_and_nothing_else() -> None:
    assert string('"\\/\b\t\n\f\r\0\x1f\x7f\u2028\u20ac\U0001f511') == (
        '"\\"\\\\/\\b\\t\\n\\f\\r\\u0000\\u001f\x7f\u2028\u20ac\U0001f511"'
    )
    assert string("\ud800") == '"\\ud800"'


def test_what_has_no_form_in_json_is_refused() -> None:
    with pytest.raises(TypeError):
        dumps({"a": b"bytes"})


@given(VALUES)
def test_the_text_means_what_it_was_made_of(value: Any) -> None:
    # As JavaScript reads it: every number a double.
    assert json.loads(dumps(value), parse_int=float) == value


def test_node_writes_every_text_the_same_way() -> None:
    """``JSON.stringify(JSON.parse(text)) === text`` for generated values, in one run of Node."""
    chance = random.Random(3)
    texts = [dumps(vector) for vector in _values(chance)]
    different = node("texts => texts.filter(text => JSON.stringify(JSON.parse(text)) !== text)", texts)
    assert different == []


def _values(chance: random.Random) -> list[Any]:
    found: list[Any] = [json.loads(vector["json"]) for vector in VECTORS["serialisation"]]
    for _ in range(3000):
        mantissa, exponent = chance.uniform(-10, 10), chance.randrange(-330, 308)
        found.append(mantissa * 10.0**exponent if exponent > -300 else mantissa * 1e-300 * 10.0 ** (exponent + 300))
        found.append(chance.randrange(-MAX_SAFE, MAX_SAFE) >> chance.randrange(53))
    for code in [*range(0x300), 0x2028, 0x2029, 0xFEFF, 0xFFFF, 0x1F511, 0xD800, 0xDFFF]:
        found.append({chr(code): chr(code) + "x"})
    names = ["a", "01", "0", "7", "10", "4294967294", "4294967295", "-1", "1.0", "__proto__x", ""]
    for _ in range(300):
        chance.shuffle(names)
        found.append({name: [place] for place, name in enumerate(names)})
    return found
