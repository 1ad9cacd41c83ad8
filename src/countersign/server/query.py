"""The query of a request, in every form that clients write."""

from __future__ import annotations

import typing
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from countersign.api import ApiError, validation

_MOST_MEMBERS = 128


def parse_query(text: str, kind: type[Any]) -> dict[str, Any]:
    """Query members by wire name, for the wire type ``kind``.

    A member whose type is a list may be repeated (``a=1&a=2``), joined with commas (``a=1,2``) or written as a list in
    brackets with quoted items (``a=['1', '2']``, as Python prints one); any other that occurs twice is refused. An
    empty list counts as absent. Raises 400 ``BAD_PATH`` for malformed text.
    """
    if not text:
        return {}
    try:
        pairs = parse_qsl(
            text, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=_MOST_MEMBERS
        )
    except ValueError as error:
        raise ApiError("BAD_PATH", f"Bad Request: the query is malformed ({error})") from None
    lists = list_members(kind)
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in lists:
            items = _items(value)
            if items:
                members.setdefault(name, []).extend(items)
        elif name in members:
            raise validation(name, "occurs more than once in the query")
        else:
            members[name] = value
    return members


def list_members(kind: type[Any]) -> frozenset[str]:
    """Wire names of the members of ``kind`` that are lists."""
    known = _LISTS.get(kind)
    if known is None:
        known = _LISTS[kind] = frozenset(
            field.encode_name
            for field in msgspec.structs.fields(kind)
            if any(typing.get_origin(option) is list for option in (field.type, *typing.get_args(field.type)))
        )
    return known


# By query type, of which there are as many as operations with a query.
_LISTS: dict[type[Any], frozenset[str]] = {}


def _items(text: str) -> list[str]:
    inner = text.strip()
    if inner.startswith("[") and inner.endswith("]"):
        parts = [part.strip() for part in inner[1:-1].split(",")]
        return [_unquoted(part) for part in parts] if parts != [""] else []
    return text.split(",")


def _unquoted(text: str) -> str:
    quoted = len(text) >= 2 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if quoted else text
