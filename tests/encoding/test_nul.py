"""U+0000 is found wherever it hides."""

from __future__ import annotations

from typing import Any

import pytest

from countersign.encoding.nul import member_with_nul


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({}, None),
        ({"a": "b", "c": [1, None, True, {"d": "\u0001"}]}, None),
        ({"a": "b\x00"}, "a"),
        ({"a": {"b": ["c", "\x00"]}}, "a.b[1]"),
        ({"a": [[{"b": "\x00"}]]}, "a[0][0].b"),
        ({"a\x00b": 1}, "ab"),
        ({"a": {"b\x00": 1}}, "a"),
    ],
)
def test_the_member_is_named(value: Any, path: str | None) -> None:
    assert member_with_nul(value) == path
