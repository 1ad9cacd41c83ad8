"""Numbers of things, for people."""

from __future__ import annotations

from countersign.encoding.counted import counted


def test_one_is_one_and_everything_else_more() -> None:
    assert [counted(number, "key") for number in (0, 1, 2, 12_345)] == ["0 keys", "1 key", "2 keys", "12,345 keys"]
    assert [counted(number, "entry") for number in (1, 3)] == ["1 entry", "3 entries"]
    assert [counted(number, "entry is", "entries are") for number in (1, 3)] == ["1 entry is", "3 entries are"]
