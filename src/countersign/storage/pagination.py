"""Pages of a list: newest first, by descending identifier, continued with an opaque token.

A list asks for ``limit + 1`` rows ``WHERE id < ? ORDER BY id DESC LIMIT ?``, starting at
``start_of(token, scope)``, and hands them to ``page_of``. Nothing is skipped or repeated when rows
are added in between: identifiers lead with their time, and the token names the last one shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

import msgspec

from countersign.encoding import base64url

Item = TypeVar("Item")

DEFAULT_LIMIT = 50
MAXIMUM_LIMIT = 100

ABOVE_ALL = "zzzz"
"""Sorts after every identifier in any collation (they begin with another lower-case prefix)."""

_DIGITS = re.compile(r"[0-9]+")
_ID = re.compile(r"[!-~]{1,200}")


class Page(NamedTuple, Generic[Item]):
    """Some items of a list; ``next_token`` continues it and is None on the last page."""

    items: list[Item]
    next_token: str | None


def parse_limit(text: str | None, *, default: int = DEFAULT_LIMIT) -> int:
    """The query value ``limit``: at least 1, larger ones clamped to 100. Raises ``ValueError``."""
    if text is None:
        return default
    digits = text.lstrip("0")
    if not _DIGITS.fullmatch(digits):
        raise ValueError("limit must be a whole number from 1 to 100")
    return MAXIMUM_LIMIT if len(digits) > 3 else min(int(digits), MAXIMUM_LIMIT)


def encode_token(scope: str, last_id: str) -> str:
    """The token that continues after ``last_id``; unpadded base64url."""
    return base64url.encode(msgspec.json.encode([scope, last_id]))


def decode_token(token: str, scope: str) -> str:
    """The identifier to continue after. Raises ``ValueError`` for a malformed or another list's token."""
    try:
        its_scope, last_id = msgspec.json.decode(base64url.decode(token), type=tuple[str, str])
    except (ValueError, msgspec.MsgspecError) as error:
        raise ValueError("paginationToken is malformed; use nextPageToken of the page before") from error
    if not _ID.fullmatch(last_id):
        raise ValueError("paginationToken is malformed; use nextPageToken of the page before")
    if its_scope != scope:
        raise ValueError("paginationToken belongs to another list; keep the filters of the first page")
    return last_id


def start_of(token: str | None, scope: str) -> str:
    """The exclusive upper bound of the page's identifiers. Raises ``ValueError`` (see ``decode_token``)."""
    return ABOVE_ALL if token is None else decode_token(token, scope)


def page_of(rows: Sequence[Item], limit: int, scope: str, key: Callable[[Item], str]) -> Page[Item]:
    """A page from up to ``limit + 1`` rows; ``key`` gives the identifier of a row.

    ``scope`` names the list: the operation, the organisation and every filter, so that a token
    cannot continue another list.
    """
    if len(rows) <= limit:
        return Page(list(rows), None)
    items = list(rows[:limit])
    return Page(items, encode_token(scope, key(items[-1])))
