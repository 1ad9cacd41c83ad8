from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.encoding.strictyaml import BadYaml, parse, write


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 0xAbC", "0xAbC"),
        ("a: no", "no"),
        ("a: 010", "010"),
        ("a: 1_000", "1_000"),
        ("a: 12:30:00", "12:30:00"),
        ("a: 2026-01-01", "2026-01-01"),
        ("a: .5", ".5"),
        ("a: .nan", ".nan"),
        ("a: 0.1", Decimal("0.1")),
        ("a: 1e3", 1000),
        ("a: -2.0", -2),
        ("a: true", True),
        ("a: null", None),
        ("a:", None),
        ("a: '1'", "1"),
        ("a: 115792089237316195423570985008687907853269984665640564039", 2**256 // 10**21),
        ('{"a": [1, {"b": 0.30}]}', [1, {"b": Decimal("0.3")}]),
        ("a: &x [1]\nb: *x", [1]),
    ],
)
def test_plain_text_is_what_it_looks_like(text: str, value: object) -> None:
    assert parse(text)["a"] == value
    assert type(parse(text)["a"]) is type(value)


def test_no_document_is_nothing() -> None:
    assert parse("# only a comment\n") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\na: 2", "occurs twice"),
        ("1: 2", "quote it"),
        ("a: !!python/object:os.system x", "tag"),
        ("a: !!binary aGk=", "tag"),
        ("&a [*a]", "nested deeper"),
        ("[" * 70 + "]" * 70, "nested deeper"),
        ("[" * 20000, "nested deeper"),
        ("a: [", "line 1"),
        ("---\n1\n---\n2", "another document"),
        (f"a: {'9' * 70}", "digits"),
        ("a: \x00", "not allowed"),
        (
            "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
            + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 10)}]\n" for n in range(8)),
            "million",
        ),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(text: str, words: str) -> None:
    with pytest.raises(BadYaml, match=words):
        parse(text)


_SURROGATES = ("Cs",)
_TEXTS = st.text(
    st.characters(exclude_categories=_SURROGATES, min_codepoint=32, exclude_characters="\x7f"), max_size=20
)
_LIKE_OTHERS = st.sampled_from(
    ["0xAbC", "no", "Yes", "1e5", "010", "null", "~", "a: b", "# c", "- d", "", " e", "12:30"]
)
_NUMBERS = st.integers(-(10**60), 10**60) | st.decimals("-1e20", "1e20", places=6)
_VALUES = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXTS | _LIKE_OTHERS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS | _LIKE_OTHERS, inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=200)
@given(_VALUES)
def test_what_is_written_is_read_as_the_same_value(value: object) -> None:
    assert parse(write(value)) == value


def test_numbers_are_written_as_they_are() -> None:
    assert write({"a": Decimal("0.10"), "b": Decimal("1E+4"), "c": 7}) == "a: 0.10\nb: 10000\nc: 7\n"
