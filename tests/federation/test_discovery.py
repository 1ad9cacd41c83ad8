"""Where a provider is reached, what is sent there, and where people may be sent back to."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import parse_qs

import pytest

from countersign.credentials.outcome import Refused
from countersign.encoding import base64url
from countersign.federation.authorisation import (
    authorisation_url,
    new_sign_in,
    read_token_answer,
    token_request,
)
from countersign.federation.discovery import Metadata, location, read_metadata
from countersign.federation.redirects import redirect_refusal
from countersign.outgoing import Rules
from countersign.world import World
from tests.support.identity_provider import query_of

ISSUER = "https://id.example/tenant"
DOCUMENT = {
    "issuer": ISSUER,
    "authorization_endpoint": "https://id.example/authorize",
    "token_endpoint": "https://id.example/token",
    "jwks_uri": "https://keys.example/jwks",
}


def read(**members: Any) -> Metadata | Refused:
    document = {name: value for name, value in {**DOCUMENT, **members}.items() if value is not None}
    return read_metadata(json.dumps(document).encode(), ISSUER, Rules())


def metadata(**members: Any) -> Metadata:
    found = read(**members)
    assert isinstance(found, Metadata), found
    return found


def test_the_document_lies_below_the_issuer() -> None:
    assert location(ISSUER) == location(f"{ISSUER}/") == f"{ISSUER}/.well-known/openid-configuration"


@pytest.mark.parametrize(
    "members",
    [
        {"issuer": "https://id.example/"},
        {"issuer": None},
        {"token_endpoint": None},
        {"jwks_uri": 7},
        {"jwks_uri": "http://keys.example/jwks"},
        {"jwks_uri": "https://127.0.0.1/jwks"},
        {"jwks_uri": "https://[::1]/jwks"},
        {"token_endpoint": "https://169.254.169.254/latest"},
        {"token_endpoint": "https://user@id.example/token"},
        {"token_endpoint": "file:///etc/passwd"},
        {"authorization_endpoint": "javascript:alert(1)"},
    ],
)
def test_threat_49_a_document_of_another_or_that_leads_inside_is_refused(members: dict[str, Any]) -> None:
    assert isinstance(read(**members), Refused)


def test_what_is_no_document_is_refused() -> None:
    for body in (b"", b"[]", b"<html>", b'{"issuer": "a", "issuer": "b"}'):
        assert isinstance(read_metadata(body, ISSUER, Rules()), Refused)


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        (None, "client_secret_basic"),
        (["client_secret_post", "client_secret_basic"], "client_secret_basic"),
        (["client_secret_post", "private_key_jwt"], "client_secret_post"),
        (["private_key_jwt"], "client_secret_basic"),
        ("client_secret_post", "client_secret_basic"),
    ],
)
def test_a_client_proves_itself_in_a_way_that_is_offered(offered: Any, expected: str) -> None:
    assert metadata(token_endpoint_auth_methods_supported=offered).proof == expected


def test_threat_50_the_verifier_stays_here_until_the_code_is_redeemed() -> None:
    begun, found = new_sign_in(World()), metadata(authorization_endpoint="https://id.example/authorize?tenant=a")
    url = authorisation_url(found, "client", "https://app.example/back", begun)
    assert begun.verifier not in url
    sent = query_of(url)
    assert sent["tenant"] == "a"
    assert sent["code_challenge"] == base64url.encode(hashlib.sha256(begun.verifier.encode()).digest())
    body, headers = token_request(found, "client", None, "the code", "https://app.example/back", begun.verifier)
    assert {name: values[0] for name, values in parse_qs(body.decode()).items()} == {
        "grant_type": "authorization_code",
        "code": "the code",
        "redirect_uri": "https://app.example/back",
        "code_verifier": begun.verifier,
        "client_id": "client",
    }
    assert "Authorization" not in headers


def test_a_secret_goes_where_the_provider_wants_it() -> None:
    arguments = ("a client", "s:e+c%r/t", "code", "https://app.example/back", "verifier")
    body, headers = token_request(metadata(), *arguments)
    # RFC 6749 section 2.3.1 and appendix B
    assert headers["Authorization"] == "Basic YStjbGllbnQ6cyUzQWUlMkJjJTI1ciUyRnQ="
    assert b"client_secret" not in body
    body, headers = token_request(metadata(token_endpoint_auth_methods_supported=["client_secret_post"]), *arguments)
    assert parse_qs(body.decode())["client_secret"] == ["s:e+c%r/t"]
    assert "Authorization" not in headers


def test_the_answer_holds_an_id_token() -> None:
    assert read_token_answer(b'{"id_token": "a.b.c", "access_token": "x"}') == "a.b.c"
    for body in (b"", b"[]", b"{}", b'{"id_token": 7}', b'{"id_token": "a", "id_token": "b"}'):
        assert isinstance(read_token_answer(body), Refused)


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example/back?a=b",
        "http://127.0.0.1:4000/",
        "http://[::1]/",
        "http://localhost/x",
        "com.example.app:/x",
    ],
)
def test_people_are_sent_back_to_https_to_this_host_and_to_apps(uri: str) -> None:
    assert redirect_refusal(uri) is None


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "app.example",
        "/back",
        "//app.example/back",
        "http://app.example/back",
        "http://localhost.example/",
        "https:///back",
        "https://user:password@app.example/",
        "https://app.example/#fragment",
        "https://app.example/ back",
        "https://app.example\\@evil.example/",
        "https://\u00e4pp.example/",
        "https://app.example:port/",
        "javascript:alert(1)",
        "data:text/html,x",
        "app:/back",
        "https://app.example/" + "x" * 2048,
    ],
)
def test_threat_50_they_are_sent_nowhere_else(uri: str) -> None:
    assert isinstance(redirect_refusal(uri), Refused)
