"""Header lines to values, with nothing ambiguous left."""

from __future__ import annotations

import pytest

from countersign.api import ApiError
from countersign.server.head import bearer, check_media_type, read_headers

ONCE = [
    "authorization",
    "x-dfns-useraction",
    "x-dfns-appid",
    "x-dfns-nonce",
    "x-dfns-appsecret",
    "x-dfns-apisignature",
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "transfer-encoding",
]


def lines(*pairs: tuple[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]


def test_names_are_lower_case_and_empty_values_absent() -> None:
    read = read_headers(lines(("Accept", " text/csv "), ("X-DFNS-USERACTION", ""), ("Authorization", " \t")))
    assert dict(read) == {"accept": "text/csv"}


@pytest.mark.parametrize("name", ONCE)
def test_a_header_that_decides_occurs_once(name: str) -> None:
    for second in ("a", "b", ""):
        with pytest.raises(ApiError) as refused:
            read_headers(lines((name, "a"), (name.upper(), second)))
        assert refused.value.code == "BAD_HEADER"
        assert name in refused.value.message


@pytest.mark.parametrize("name", [name for name in ONCE if name.startswith(("auth", "x-dfns-a", "x-dfns-u"))])
def test_a_list_of_values_is_two_headers(name: str) -> None:
    with pytest.raises(ApiError, match="BAD_HEADER"):
        read_headers(lines((name, "a,b")))


def test_a_nonce_in_raw_json_may_hold_commas() -> None:
    text = '{"uuid":"a","date":"b"}'
    assert read_headers(lines(("X-DFNS-NONCE", text)))["x-dfns-nonce"] == text


@pytest.mark.parametrize(
    ("value", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("BEARER abc", "abc"),
        ("Bearer  abc", None),
        ("Bearer abc def", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("Basic abc", None),
        ("abc", None),
        (None, None),
    ],
)
def test_only_one_form_holds_a_token(value: str | None, token: str | None) -> None:
    assert bearer({} if value is None else {"authorization": value}) == token


@pytest.mark.parametrize(
    ("headers", "good"),
    [
        ({}, True),
        ({"content-type": "application/json"}, True),
        ({"content-type": "Application/JSON; Charset=UTF-8"}, True),
        ({"content-type": 'application/json; charset="utf-8"'}, True),
        ({"content-encoding": "Identity"}, True),
        ({"content-type": "application/json; charset=utf-16"}, False),
        ({"content-type": "application/json; charset=utf-8; boundary=a"}, False),
        ({"content-type": "application/json2"}, False),
        ({"content-type": "text/json"}, False),
        ({"content-type": "multipart/form-data"}, False),
        ({"content-encoding": "gzip"}, False),
        ({"content-encoding": "br, identity"}, False),
    ],
)
def test_only_plain_json_in_utf_8_is_read(headers: dict[str, str], good: bool) -> None:
    if good:
        check_media_type(headers)
        return
    with pytest.raises(ApiError, match="MEDIA_TYPE"):
        check_media_type(headers)
