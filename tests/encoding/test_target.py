from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.encoding.target import (
    BadPath,
    Target,
    canonical_path,
    canonical_query,
    parse_signed_path,
    parse_target,
)
from tests.support.vectors import auth_vectors, named

_REASONS = {
    "empty segment": "empty segment",
    "segment": "dot segment|a segment decodes to",
    "path": "the path must",
    "percent": "percent escape",
    "utf-8": "UTF-8",
}
_CASES = auth_vectors()["path_comparison"]


@pytest.mark.parametrize("case", **named([case for case in _CASES if case["default"].startswith("reject: ")]))
def test_paths_that_could_be_read_in_two_ways_are_refused(case: dict[str, Any]) -> None:
    with pytest.raises(BadPath, match=_REASONS[case["default"].removeprefix("reject: ")]):
        _ = parse_signed_path(case["userActionHttpPath"]), parse_target(case["request_target"].encode())


@pytest.mark.parametrize("case", **named([case for case in _CASES if not case["default"].startswith("reject: ")]))
def test_signed_and_requested_paths_are_compared_by_their_decoded_segments(case: dict[str, Any]) -> None:
    signed, sent = parse_signed_path(case["userActionHttpPath"]), parse_target(case["request_target"].encode())
    same_query = not signed.has_query or signed.query == sent.query
    assert (signed.segments == sent.segments and same_query) == (case["sandbox"] == "match")


@pytest.mark.parametrize("case", auth_vectors()["action_digest"]["cases"])
def test_canonical_path_and_query_are_the_published_ones(case: dict[str, Any]) -> None:
    target = parse_signed_path(case["path"])
    assert canonical_path(target.segments) == case["canonical_path"]
    assert canonical_query(target) == case["canonical_query"]


@pytest.mark.parametrize(
    ("raw", "target"),
    [
        (b"/keys", Target(("keys",))),
        (b"/", Target(())),
        (b"/?a", Target((), "a", True)),
        (b"/keys?", Target(("keys",), "", True)),
        (b"/keys?a=%2F..//?b", Target(("keys",), "a=%2F..//?b", True)),
        (b"/a;b/c,d:e@f", Target(("a;b", "c,d:e@f"))),
        (b"/a%3Fb%23c", Target(("a?b#c",))),
        (b"/caf%C3%A9", Target(("café",))),
        (b"/..a/.../a..", Target(("..a", "...", "a.."))),
    ],
)
def test_request_targets(raw: bytes, target: Target) -> None:
    assert parse_target(raw) == target


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"*",
        b"keys",
        b"?a",
        b"http://api.example.org/keys",
        b"//",
        b"/./keys",
        b"/keys/.",
        b"/keys/..",
        b"/keys/%2E",
        b"/keys/.%2e/x",
        b"/keys/%5c",
        b"/keys/%7F",
        b"/keys/%C2%85",
        b"/keys/%",
        b"/keys/%2",
        b"/keys/%2g",
        b"/keys/%ff",
        b"/keys/%ed%a0%80",
        b"/keys/\xc3\xa9",
        b"/keys/a b",
        b"/keys\t",
        b"/keys\n",
        b"/keys?a b",
        b"/keys?a\n",
        b"/keys?a#b",
        b"/keys?\xc3\xa9",
        b"/keys?\x7f",
    ],
)
def test_refused_request_targets(raw: bytes) -> None:
    with pytest.raises(BadPath):
        parse_target(raw)


@pytest.mark.parametrize("text", ["/a\ud83d", "/a\x00", "/a\u0085", "/a?é", "/a?b c", "/a\n"])
def test_refused_signed_paths(text: str) -> None:
    with pytest.raises(BadPath):
        parse_signed_path(text)


@pytest.mark.parametrize("signed", ["/x/a b/café", "/x/a%20b/caf%C3%A9", "/x/a%20b/café"])
def test_every_spelling_of_a_path_has_one_canonical_form(signed: str) -> None:
    assert canonical_path(parse_signed_path(signed).segments) == "/x/a%20b/caf%C3%A9"


@settings(deadline=None, max_examples=150)
@given(
    st.binary(max_size=30).map(lambda tail: b"/" + tail)
    | st.text(alphabet="/.%2eEfF?#\\ax\n", max_size=20).map(str.encode)
)
def test_any_target_has_one_canonical_form_or_is_bad(raw: bytes) -> None:
    try:
        target = parse_target(raw)
    except BadPath:
        return
    again = parse_target((canonical_path(target.segments) + canonical_query(target)).encode())
    assert again == target
