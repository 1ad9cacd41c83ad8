"""Which relying party ids and origins an organisation may have."""

from __future__ import annotations

import pytest

from countersign.credentials.outcome import Refused
from countersign.credentials.relying_party import parse_origin, parse_rp_id

HASH = "A" * 43


@pytest.mark.parametrize("text", ["example.org", "a.b.example.org", "xn--bcher-kva.example", "localhost"])
def test_a_host_name_is_a_relying_party_id(text: str) -> None:
    assert parse_rp_id(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "org",
        "Example.org",
        "bücher.example",
        "127.0.0.1",
        "[::1]",
        "1.2",
        "example.org.",
        ".example.org",
        "*.example.org",
        "exa mple.org",
        "example.org\n",
        "-a.example.org",
        "a" * 64 + ".org",
        "a." * 130 + "org",
        "example.org:443",
        "https://example.org",
    ],
)
def test_what_is_no_host_name_is_no_relying_party_id(text: str) -> None:
    assert isinstance(parse_rp_id(text), Refused)


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("https://example.org", "https://example.org"),
        ("https://example.org/", "https://example.org"),
        ("https://app.example.org:8443/", "https://app.example.org:8443"),
        (f"android:apk-key-hash:{HASH}", f"android:apk-key-hash:{HASH}"),
        ("ios:bundle-id:org.example.App", "ios:bundle-id:org.example.App"),
    ],
)
def test_an_origin_is_stored_as_browsers_write_it(text: str, stored: str) -> None:
    assert parse_origin(text, "example.org") == stored


@pytest.mark.parametrize(
    "text",
    [
        "example.org",
        "http://example.org",
        "https://badexample.org",
        "https://example.org.evil.com",
        "https://example.com",
        "https://user@example.org",
        "https://example.org/path",
        "https://example.org//",
        "https://example.org?",
        "https://example.org:443",
        "https://example.org:99999",
        "https://*.example.org",
        "https://EXAMPLE.org",
        "ftp://example.org",
        "null",
        "",
        "https://example.org\n",
        "android:apk-key-hash:short",
        "ios:bundle-id:",
    ],
)
def test_another_origin_is_refused(text: str) -> None:
    assert isinstance(parse_origin(text, "example.org"), Refused)


def test_http_is_for_localhost_only() -> None:
    assert parse_origin("http://localhost:8170", "localhost") == "http://localhost:8170"
    assert isinstance(parse_origin("http://localhost.example.org", "example.org"), Refused)


def test_another_host_is_an_origin_only_when_it_is_marked_related() -> None:
    assert isinstance(parse_origin("https://example.com", "example.org"), Refused)
    assert parse_origin("https://example.com", "example.org", related=True) == "https://example.com"
