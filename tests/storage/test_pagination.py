"""Pages hold everything once, and a token continues its own list only."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign.encoding import base64url
from countersign.storage import Database, Statement, Transaction
from countersign.storage.pagination import Page, decode_token, encode_token, page_of, parse_limit, start_of
from countersign.world import World, encode_id

IDS = st.sets(st.integers(0, 2**130 - 1).map(lambda value: encode_id("key", value)), max_size=60)


def one_page(ids: list[str], limit: int, token: str | None, scope: str = "keys") -> Page[str]:
    start = start_of(token, scope)
    return page_of([each for each in ids if each < start][: limit + 1], limit, scope, lambda each: each)


@given(ids=IDS, limit=st.integers(1, 100))
def test_all_pages_together_are_the_list_newest_first(ids: set[str], limit: int) -> None:
    newest_first = sorted(ids, reverse=True)
    seen: list[str] = []
    token = None
    while True:
        items, token = one_page(newest_first, limit, token)
        assert len(items) <= limit
        seen += items
        if token is None:
            break
    assert seen == newest_first


@given(ids=IDS, later=IDS, limit=st.integers(1, 10))
def test_what_is_added_in_between_neither_repeats_nor_hides_what_was_there(
    ids: set[str], later: set[str], limit: int
) -> None:
    there = sorted(ids, reverse=True)
    items, token = one_page(there, limit, None)
    everything = sorted(ids | later, reverse=True)
    seen = list(items)
    while token is not None:
        items, token = one_page(everything, limit, token)
        seen += items
    assert [each for each in seen if each in ids] == there
    assert len(seen) == len(set(seen))


@given(
    scope=st.text(st.characters(codec="utf-8")),
    last_id=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1),
)
def test_a_token_gives_back_its_identifier(scope: str, last_id: str) -> None:
    token = encode_token(scope, last_id)
    assert decode_token(token, scope) == last_id
    with pytest.raises(ValueError, match="another list"):
        decode_token(token, scope + " ")


@given(st.text())
def test_any_other_text_is_refused_with_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="paginationToken"):
        decode_token(text, "keys")


@pytest.mark.parametrize(
    "content",
    [
        '["keys"]',
        '["keys",1]',
        '["keys","a","b"]',
        "{}",
        '["keys",""]',
        '["keys","a\\u0000"]',
        '["keys","\\ud800"]',
        "null",
        "",
    ],
)
def test_a_token_of_another_shape_is_refused(content: str) -> None:
    with pytest.raises(ValueError, match="malformed"):
        decode_token(base64url.encode(content.encode()), "keys")


@pytest.mark.parametrize(
    ("text", "limit"), [(None, 50), ("1", 1), ("7", 7), ("100", 100), ("101", 100), ("0005", 5), ("9" * 9999, 100)]
)
def test_a_limit_is_clamped_to_100(text: str | None, limit: int) -> None:
    assert parse_limit(text) == limit


@pytest.mark.parametrize("text", ["0", "-1", "", " 1", "1.0", "1e1", "ten", "+5", "٣", "0x10", "000"])
def test_a_limit_below_one_or_not_a_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="limit must be"):
        parse_limit(text)


def test_the_default_limit_can_differ_by_list() -> None:
    assert parse_limit(None, default=20) == 20


async def test_both_engines_order_identifiers_alike(database: Database) -> None:
    put = Statement("put", "INSERT INTO installation (name, value) VALUES (?, '')")
    page = Statement("page", "SELECT name FROM installation WHERE name < ? ORDER BY name DESC LIMIT ?")
    clock = iter(range(1_700_000_000_000, 1_700_000_000_000 + 30 * 40_000_000_000, 40_000_000_000))
    ids = [encode_id("key", (now << 82) | World().randomness(1)[0]) for now in clock]

    def insert() -> Transaction[None]:
        for each in ids:
            yield put, (each,)

    def read(token: str | None) -> Transaction[Page[str]]:
        rows = yield page, (start_of(token, "keys"), 8)
        return page_of([row[0] for row in rows], 7, "keys", lambda each: each)

    await database.write(insert)
    seen: list[str] = []
    token = None
    for _ in range(5):
        items, token = await database.read(lambda token=token: read(token))
        seen += items
    assert token is None
    assert seen == ids[::-1]
