"""When two usernames are the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.identity.usernames import MAX_CODE_POINTS, username_key
from tests.support.vectors import auth_vectors


@pytest.mark.parametrize("case", auth_vectors()["usernames"], ids=lambda case: repr(case["input"]))
def test_published_usernames_have_the_stated_key(case: dict[str, Any]) -> None:
    expected = None if case["key"].startswith("reject") else case["key"]
    assert username_key(case["input"]) == expected


@pytest.mark.parametrize("category", ["\u0007", "\u200d", "\ud800", "\ue000", "\u0378"])
def test_z3_characters_that_nobody_sees_make_no_second_name(category: str) -> None:
    assert username_key(f"ada{category}x") is None


def test_length_is_counted_in_code_points_after_normalisation() -> None:
    assert username_key("a" * MAX_CODE_POINTS) == "a" * MAX_CODE_POINTS
    assert username_key("a" * (MAX_CODE_POINTS + 1)) is None
    assert username_key("e\u0301" * MAX_CODE_POINTS) == "é" * MAX_CODE_POINTS
    # One character that stands for eighteen.
    assert username_key("\ufdfa" * 15) is None
    assert username_key(" " * 300 + "a") == "a"


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=20))
def test_a_key_is_its_own_key(text: str) -> None:
    key = username_key(text)
    if key is not None and username_key(key) is not None:
        assert username_key(key) == key
