"""Queries in every form that clients write."""

from __future__ import annotations

import pytest

from countersign.api import UNSET, ApiError, Page, UnsetType
from countersign.server.query import list_members, parse_query


class Things(Page):
    """A query with a list."""

    kind: list[str] | UnsetType = UNSET


def test_members_that_are_lists_are_known_by_their_type() -> None:
    assert list_members(Things) == {"kind"}
    assert list_members(Page) == frozenset()


@pytest.mark.parametrize(
    "text",
    [
        "kind=a&kind=b",
        "kind=a,b",
        "kind=a%2Cb",
        "kind=%5B%27a%27%2C+%27b%27%5D",
        "kind=%5B%22a%22,%22b%22%5D",
        "kind=[a,b]",
    ],
    ids=["repeated", "comma", "encoded comma", "as Python prints it", "as JSON", "bare brackets"],
)
def test_a_list_is_read_in_every_form(text: str) -> None:
    assert parse_query(text, Things) == {"kind": ["a", "b"]}
    assert parse_query(f"limit=2&{text}", Things) == {"kind": ["a", "b"], "limit": "2"}


def test_an_empty_list_counts_as_absent_and_an_empty_item_as_itself() -> None:
    assert parse_query("kind=[]", Things) == {}
    assert parse_query("kind=", Things) == {"kind": [""]}
    assert parse_query("", Things) == {}


@pytest.mark.parametrize("text", ["limit=1&limit=2", "limit=1&kind=a&limit=1"])
def test_any_other_member_occurs_once(text: str) -> None:
    with pytest.raises(ApiError, match="more than once"):
        parse_query(text, Things)


@pytest.mark.parametrize("text", ["kind", "&", "kind=%ff", "&".join(["kind=a"] * 129)])
def test_malformed_text_is_refused(text: str) -> None:
    with pytest.raises(ApiError) as refused:
        parse_query(text, Things)
    assert refused.value.code == "BAD_PATH"
