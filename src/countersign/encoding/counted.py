"""Numbers of things, for people."""

from __future__ import annotations


def counted(number: int, one: str, more: str | None = None) -> str:
    """``1 key``, ``0 keys``, ``1,234 keys``; ``more`` where an s is not all that differs: ``entries``, ``keys are``."""
    return f"{number:,} {one if number == 1 else more or f'{one}s'}"
