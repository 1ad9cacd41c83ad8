"""Numbers of things, for people."""

from __future__ import annotations


def counted(number: int, one: str, more: str | None = None) -> str:
    """``1 key``, ``0 keys``, ``1,234 entries``; ``more`` where the plural of ``one`` is not all that differs."""
    return f"{number:,} {one if number == 1 else more or _plural(one)}"


def _plural(one: str) -> str:
    ends_so = one.endswith("y") and one[-2] not in "aeiou"
    return f"{one[:-1]}ies" if ends_so else f"{one}s"
