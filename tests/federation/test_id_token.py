"""ID tokens: what holds, and everything that does not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwk

from countersign.credentials.outcome import Refused
from countersign.encoding import base64url
from countersign.federation import Claimed, Expected, Identity, peek
from countersign.federation.id_token import verify
from countersign.federation.provider_keys import UNKNOWN_KEY, ProviderKey, read_keys
from tests.support.id_tokens import BAD_TOKENS, Forger
from tests.support.identity_provider import new_keys

NOW = 1_800_000_000
ISSUER, CLIENT, SUBJECT = "https://id.example", "client", "Ada Lovelace"
KEYS = new_keys()
FORGER = Forger(KEYS, ISSUER, CLIENT, SUBJECT, NOW)


def public(*keys: jwk.Key, **members: Any) -> tuple[ProviderKey, ...] | Refused:
    """The keys as their provider publishes them; members that are ``None`` are left out."""
    documents = [{**key.as_dict(private=False), **members} for key in keys]
    listed = [{name: value for name, value in each.items() if value is not None} for each in documents]
    return read_keys(json.dumps({"keys": listed}).encode())


def known(*keys: jwk.Key, **members: Any) -> tuple[ProviderKey, ...]:
    found = public(*keys, **members)
    assert not isinstance(found, Refused)
    return found


ALL = known(*KEYS.values())


def judge(token: str, keys: tuple[ProviderKey, ...] = ALL, nonce: str | None = None) -> Identity | Refused:
    return verify(token, keys, Expected(ISSUER, CLIENT, nonce), NOW)


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_token_says_who_somebody_is(algorithm: str) -> None:
    token = FORGER.token({"alg": algorithm}, KEYS[algorithm], nonce="n", azp=CLIENT, aud=[CLIENT, "more"])
    assert peek(token) == Claimed(ISSUER, (CLIENT, "more"))
    identity = judge(token, nonce="n")
    assert isinstance(identity, Identity), identity
    assert (identity.issuer, identity.subject, identity.mail) == (ISSUER, SUBJECT, None)
    assert identity.ends_at == NOW + 590


@pytest.mark.parametrize("name", BAD_TOKENS)
def test_threat_49_one_thing_wrong_is_enough(name: str) -> None:
    refused = judge(BAD_TOKENS[name](FORGER))
    assert isinstance(refused, Refused), name


def test_another_client_may_ask_for_the_token_where_it_is_trusted_too() -> None:
    expected = Expected(ISSUER, CLIENT, None, frozenset({"app"}))
    for audience in (CLIENT, [CLIENT, "more"]):
        token = FORGER.token(aud=audience, azp="app")
        assert isinstance(verify(token, ALL, expected, NOW), Identity)
        assert isinstance(judge(token), Refused)
    for party in ("another", ["app"], 7, ""):
        assert isinstance(verify(FORGER.token(azp=party), ALL, expected, NOW), Refused)
    assert isinstance(verify(FORGER.token(aud="app"), ALL, expected, NOW), Refused)


@pytest.mark.parametrize("nonce", ["another", None])
def test_threat_49_the_nonce_is_that_of_the_sign_in(nonce: str | None) -> None:
    assert judge(FORGER.token(nonce=nonce), nonce="expected") == Refused("nonce")


@given(st.integers(0, 20_000), st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_threat_49_no_changed_character_goes_unnoticed(position: int, character: int) -> None:
    token = FORGER.token()
    at, put = position % len(token), chr(character)
    if token[at] != put:
        assert isinstance(judge(token[:at] + put + token[at + 1 :]), Refused)


@given(st.text(max_size=40) | st.binary(max_size=200).map(lambda data: data.hex()))
def test_no_text_is_more_than_refused(text: str) -> None:
    assert isinstance(judge(text), Refused)
    assert isinstance(peek(text), Refused)


@pytest.mark.parametrize(
    ("claims", "mail"),
    [
        ({"email": "a@example.com", "email_verified": True}, "a@example.com"),
        ({"email": "a@example.com", "email_verified": "true"}, "a@example.com"),
        ({"email": "a@example.com", "email_verified": 1}, None),
        ({"email": "a@example.com", "email_verified": False}, None),
        ({"email": "a@example.com"}, None),
        ({"email": ["a@example.com"], "email_verified": True}, None),
        ({"email": "a@example.com\n", "email_verified": True}, None),
        ({"email": "a" * 255, "email_verified": True}, None),
    ],
)
def test_a_mail_address_counts_where_it_was_verified(claims: dict[str, Any], mail: str | None) -> None:
    identity = judge(FORGER.token(**claims))
    assert isinstance(identity, Identity)
    assert identity.mail == mail


def test_a_token_is_remembered_for_no_longer_than_it_can_be_used() -> None:
    endless = judge(FORGER.token(exp=10**60))
    assert isinstance(endless, Identity)
    assert endless.ends_at == NOW + 601


def test_times_may_have_fractions() -> None:
    identity = judge(FORGER.token(iat=NOW - 0.25, exp=NOW + 0.5))
    assert isinstance(identity, Identity)


def test_the_only_key_of_an_algorithm_needs_no_name() -> None:
    unnamed = FORGER.token({"kid": None})
    assert isinstance(judge(unnamed), Identity)
    assert isinstance(judge(unnamed, known(*KEYS.values(), kid=None)), Identity)
    assert isinstance(judge(unnamed, known(KEYS["RS256"], new_keys()["RS256"])), Refused)


def test_only_for_an_unknown_key_is_the_provider_asked_again() -> None:
    assert judge(FORGER.token({"kid": "new"})) == Refused(UNKNOWN_KEY)
    assert judge(FORGER.token(key=FORGER.stranger)) == Refused("signature")


WEAK = rsa.generate_private_key(65537, 1536).public_key().public_numbers().n
P384 = jwk.generate_key("EC", "P-384", {"kid": "p384"})


@pytest.mark.parametrize(
    ("key", "members"),
    [
        (KEYS["RS256"], {"n": KEYS["RS256"].as_dict()["n"][:171]}),
        (KEYS["RS256"], {"n": base64url.encode(WEAK.to_bytes(192, "big"))}),
        (KEYS["RS256"], {"n": "AAAA" * 200}),
        (KEYS["RS256"], {"n": "="}),
        (P384, {}),
        (KEYS["RS256"], {"use": "enc"}),
        (KEYS["RS256"], {"alg": "RS512"}),
        (KEYS["RS256"], {"alg": "HS256"}),
        (KEYS["RS256"], {"key_ops": ["encrypt"]}),
        (KEYS["RS256"], {"kid": 7}),
        (KEYS["RS256"], {"n": None}),
        (KEYS["RS256"], {"kty": "oct", "k": "AAAA"}),
        (KEYS["ES256"], {"y": "AAAA"}),
        (KEYS["ES256"], {"crv": "secp256k1"}),
        (KEYS["EdDSA"], {"crv": "X25519"}),
        (KEYS["EdDSA"], {"x": 7}),
    ],
)
def test_keys_that_may_not_sign_are_passed_over(key: jwk.Key, members: dict[str, Any]) -> None:
    assert known(key, **members) == ()


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": [], "keys": []}', b"\xff"])
def test_what_is_no_key_set_is_refused(body: bytes) -> None:
    assert isinstance(read_keys(body), Refused)
    assert read_keys(b'{"keys": [1, {}, {"kty": 1}]}') == ()
