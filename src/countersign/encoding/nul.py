"""U+0000 in text: JSON can write it, PostgreSQL cannot store it, and no name, id or message needs it."""

from __future__ import annotations

from typing import Any


def member_with_nul(value: Any, path: str = "") -> str | None:
    """Where a string (or the name of a member) with U+0000 stands, such as ``a.b[0]``; ``None`` when nowhere.

    ``value`` is as ``strictjson.parse_object`` gives it, so its depth is bounded.
    """
    if isinstance(value, str):
        return path if "\x00" in value else None
    if isinstance(value, dict):
        for name, member in value.items():
            if "\x00" in name:
                return path or name.replace("\x00", "")
            found = member_with_nul(member, f"{path}.{name}" if path else name)
            if found is not None:
                return found
    elif isinstance(value, list):
        for position, item in enumerate(value):
            found = member_with_nul(item, f"{path}[{position}]")
            if found is not None:
                return found
    return None
