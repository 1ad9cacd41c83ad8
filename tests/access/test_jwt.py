import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.access import jwt
from countersign.access.jwt import Claims, Ed25519Signer, MacKey, Place, Refused, Verified
from countersign.encoding import base64url
from tests.support.vectors import auth_vectors, named

_VECTORS = auth_vectors()["jwt"]
_NOW = auth_vectors()["meta"]["clock_epoch_seconds"]
_ISSUER = "auth.example.org"
_PUBLIC = {key["kid"]: base64url.decode(key["x"]) for key in _VECTORS["jwks"]["keys"]}
_MAC = {kid: bytes.fromhex(secret) for kid, secret in _VECTORS["hs256_keys_hex"].items()}
_AUTHORIZATION = Place("JWT", "EdDSA", _ISSUER, frozenset({"Token", "Pat", "ServiceAccount"}))
_CHALLENGE = Place("challenge+jwt", "HS256", _ISSUER, frozenset({"Temp"}), purpose="action")
_ACTION = Place("action+jwt", "HS256", _ISSUER, frozenset({"UserAction"}))
_PLACES = {
    "Authorization": (_AUTHORIZATION, _PUBLIC),
    "X-DFNS-USERACTION": (_ACTION, {"ca-1": _MAC["ca-1"]}),
}
_TOKEN: str = _VECTORS["login_token"]["token"]
_CLAIMS: dict[str, Any] = _VECTORS["login_token"]["claims"]
_SIGNER = Ed25519Signer("k1", bytes(range(32)))
_KEYS = {"k1": _SIGNER.public_key}


def _segment(value: object) -> str:
    return base64url.encode(json.dumps(value, separators=(",", ":")).encode())


def _signed(header: object, claims: object = _CLAIMS, signer: Ed25519Signer | MacKey = _SIGNER) -> str:
    signed = f"{_segment(header)}.{_segment(claims)}"
    return f"{signed}.{base64url.encode(signer.sign(signed.encode()))}"


def _changed(metadata: dict[str, object] | None = None, **members: object) -> dict[str, Any]:
    name = "https://custom/app_metadata"
    return {**_CLAIMS, **members, name: {**_CLAIMS[name], **(metadata or {})}}


@pytest.mark.parametrize("case", **named(_VECTORS["cases"]))
def test_a8_published_tokens_hold_or_are_refused_as_stated(case: dict[str, Any]) -> None:
    place, keys = _PLACES[case["presented_as"]]
    assert isinstance(jwt.verify(case["token"], place, keys, _NOW), Verified) == case["valid"]


def test_the_published_session_token_is_what_we_issue() -> None:
    seed = base64url.decode_tolerant(auth_vectors()["keys"]["server"]["private_pkcs8_pem"].split("\n")[1])[-32:]
    signer = Ed25519Signer("ck-1", seed)
    assert jwt.encode(_CLAIMS, "JWT", signer) == _TOKEN
    outcome = jwt.verify(_TOKEN, _AUTHORIZATION, _PUBLIC, _NOW)
    assert isinstance(outcome, Verified)
    assert json.loads(outcome.payload) == _CLAIMS
    assert jwt.encode(outcome.claims, "JWT", signer) == _TOKEN
    assert jwt.jwks({"ck-1": signer.public_key}) == _VECTORS["jwks"]


@pytest.mark.parametrize(
    ("name", "place", "kid"),
    [("challenge_identifier_action", _CHALLENGE, "cc-1"), ("user_action_token", _ACTION, "ca-1")],
)
def test_published_mac_tokens_hold_at_their_own_place_only(name: str, place: Place, kid: str) -> None:
    token = _VECTORS[name]["token"]
    outcome = jwt.verify(token, place, {kid: _MAC[kid]}, _NOW)
    assert isinstance(outcome, Verified)
    assert jwt.encode(outcome.payload, place.typ, MacKey(kid, _MAC[kid])) == token
    for other in (_AUTHORIZATION, _CHALLENGE, _ACTION):
        if other is not place:
            assert isinstance(jwt.verify(token, other, {**_PUBLIC, **_MAC}, _NOW), Refused)


def test_a_challenge_of_another_purpose_is_refused() -> None:
    token = _VECTORS["challenge_identifier_action"]["token"]
    login = Place("challenge+jwt", "HS256", _ISSUER, frozenset({"Temp"}), purpose="login")
    no_purpose = Place("challenge+jwt", "HS256", _ISSUER, frozenset({"Temp"}))
    for place in (login, no_purpose):
        assert jwt.verify(token, place, _MAC, _NOW) == Refused("purpose of another place")


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "JWT", "alg": "none", "kid": "k1"},
        {"typ": "JWT", "alg": "None", "kid": "k1"},
        {"typ": "JWT", "alg": "HS256", "kid": "k1"},
        {"typ": "JWT", "alg": "RS256", "kid": "k1"},
        {"typ": "JWT", "alg": "eddsa", "kid": "k1"},
        {"typ": "JWT", "alg": "Ed25519", "kid": "k1"},
        {"typ": "JWT", "alg": ["EdDSA"], "kid": "k1"},
        {"typ": "jwt", "alg": "EdDSA", "kid": "k1"},
        {"typ": "action+jwt", "alg": "EdDSA", "kid": "k1"},
        {"typ": "JWT", "alg": "EdDSA", "kid": "k2"},
        {"typ": "JWT", "alg": "EdDSA", "kid": "../k1"},
        {"typ": "JWT", "alg": "EdDSA", "kid": "k1' OR '1'='1"},
        {"typ": "JWT", "alg": "EdDSA", "kid": None},
        {"typ": "JWT", "alg": "EdDSA", "kid": ["k1"]},
        {"typ": "JWT", "alg": "EdDSA"},
        {"alg": "EdDSA", "kid": "k1"},
        {"typ": "JWT", "kid": "k1"},
        {"typ": "JWT", "alg": "EdDSA", "kid": "k1", "jku": "https://keys.example.org/jwks.json"},
        {"typ": "JWT", "alg": "EdDSA", "kid": "k1", "jwk": {"kty": "OKP", "crv": "Ed25519", "x": "AA"}},
        {"typ": "JWT", "alg": "EdDSA", "kid": "k1", "x5u": "https://keys.example.org/c.pem"},
        {"typ": "JWT", "alg": "EdDSA", "kid": "k1", "x5c": []},
        {"typ": "JWT", "alg": "EdDSA", "kid": "k1", "crit": ["exp"]},
        {"typ": "JWT", "alg": "EdDSA", "kid": "k1", "b64": False},
        {"typ": "JWT", "alg": "EdDSA", "kid": "k1", "cty": "JWT"},
        [],
        "x",
    ],
)
def test_a8_only_our_header_with_the_algorithm_and_key_of_the_place_is_accepted(header: object) -> None:
    assert isinstance(
        jwt.verify(_signed({"typ": "JWT", "alg": "EdDSA", "kid": "k1"}), _AUTHORIZATION, _KEYS, _NOW), Verified
    )
    assert isinstance(jwt.verify(_signed(header), _AUTHORIZATION, _KEYS, _NOW), Refused)


def test_a8_a_mac_keyed_with_the_public_key_is_refused_even_where_macs_are_accepted() -> None:
    forged = _signed({"typ": "JWT", "alg": "HS256", "kid": "k1"}, signer=MacKey("k1", _SIGNER.public_key))
    assert isinstance(jwt.verify(forged, _AUTHORIZATION, _KEYS, _NOW), Refused)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        (_changed(iss="auth.example.com"), "iss"),
        (_changed(aud="dfns:auth:app"), "aud"),
        (_changed(aud=["dfns:auth:user"]), "the claims are not those of our tokens"),
        (_changed(sub="or-zzzzz-9c4vd-8a1n3q5r7t9u1w3y"), "sub is not the organisation of the metadata"),
        (_changed(iat=_NOW + 31), "issued in the future"),
        (_changed(nbf=_NOW + 31), "issued in the future"),
        (_changed(exp=_NOW), "expired"),
        (_changed(exp="never"), "the claims are not those of our tokens"),
        (_changed(metadata={"tokenKind": "Application"}), "token kind of another place"),
        (_changed(metadata={"tokenKind": None}), "token kind of another place"),
        (_changed(metadata={"purpose": "action"}), "purpose of another place"),
        ({key: value for key, value in _CLAIMS.items() if key != "exp"}, "the claims are not those of our tokens"),
        ({key: value for key, value in _CLAIMS.items() if key != "jti"}, "the claims are not those of our tokens"),
        (_changed({"tokenKind": ["Token"]}), "token kind of another place"),
    ],
)
def test_a8_every_claim_is_checked(claims: dict[str, Any], reason: str) -> None:
    token = _signed({"typ": "JWT", "alg": "EdDSA", "kid": "k1"}, claims)
    assert jwt.verify(token, _AUTHORIZATION, _KEYS, _NOW) == Refused(reason)


def test_a_clock_that_runs_30_seconds_behind_still_accepts() -> None:
    token = jwt.encode(_changed(iat=_NOW + 30, nbf=_NOW + 30, exp=_NOW + 60), "JWT", _SIGNER)
    assert isinstance(jwt.verify(token, _AUTHORIZATION, _KEYS, _NOW), Verified)


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        _TOKEN + "=",
        _TOKEN + "\n",
        " " + _TOKEN,
        _TOKEN.rpartition(".")[0],
        _TOKEN.rpartition(".")[0] + ".",
        _TOKEN[:-1],
        _TOKEN[:-1] + "h",
        _TOKEN + "A" * 8192,
        "é" + _TOKEN,
        "\ud83d" + _TOKEN,
        base64url.encode(b'{"typ":"JWT","typ":"JWT","alg":"EdDSA","kid":"ck-1"}') + _TOKEN[_TOKEN.index(".") :],
    ],
)
def test_a8_malformed_tokens_are_refused(token: str) -> None:
    assert isinstance(jwt.verify(token, _AUTHORIZATION, _PUBLIC, _NOW), Refused)


@settings(deadline=None, max_examples=150)
@given(st.integers(0, len(_TOKEN) - 1), st.sampled_from("ABCxyz019-_.=+/ \x00é"))
def test_a8_no_changed_character_goes_unnoticed(position: int, character: str) -> None:
    changed = _TOKEN[:position] + character + _TOKEN[position + 1 :]
    assert isinstance(jwt.verify(changed, _AUTHORIZATION, _PUBLIC, _NOW), Verified) == (changed == _TOKEN)


def test_a_token_longer_than_any_place_accepts_is_not_made() -> None:
    with pytest.raises(ValueError, match="longer than 8192"):
        jwt.encode({"x": "y" * 8192}, "JWT", _SIGNER)


def test_keys_do_not_show_their_secrets() -> None:
    assert "seed" not in repr(_SIGNER)
    assert "secret" not in repr(MacKey("k", b"\x00" * 32))
    with pytest.raises(ValueError, match="32 bytes"):
        MacKey("k", b"short")


def test_claims_without_a_username_leave_the_member_out() -> None:
    claims = Claims(iss="i", aud="a", sub="o", jti="j", metadata={}, iat=1, exp=2)
    payload = base64url.decode(jwt.encode(claims, "JWT", _SIGNER).split(".")[1])
    assert json.loads(payload) == {
        "iss": "i",
        "aud": "a",
        "sub": "o",
        "jti": "j",
        "https://custom/app_metadata": {},
        "iat": 1,
        "exp": 2,
    }
