import json
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.access.api_signature import HEADER, Granted, SignedRequest, signing_payload, verify_api_signature
from countersign.credentials.outcome import Refused
from countersign.credentials.public_key import PublicKey, load
from countersign.encoding import base64url
from tests.support.authenticator import PrivateKey, published_key, sign
from tests.support.vectors import auth_vectors

_VECTOR = auth_vectors()["api_signature"]
_HOSTS = frozenset({"api.example.org"})
_HEADERS = {name.lower(): value for name, value in _VECTOR["request"]["headers"].items() if value}
_REQUEST = SignedRequest(
    _VECTOR["request"]["method"],
    _VECTOR["request"]["target"],
    _HEADERS | {HEADER: _VECTOR["x_dfns_apisignature"]},
    _VECTOR["request"]["body"].encode(),
)
_KEY = published_key(_VECTOR["app_key"])


def _public(key: PrivateKey) -> PublicKey:
    loaded = load(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())
    assert isinstance(loaded, PublicKey)
    return loaded


def _with(request: SignedRequest, **headers: str | None) -> SignedRequest:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    kept = {name: value for name, value in (request.headers | named).items() if value is not None}
    return replace(request, headers=kept)


def _sign(request: SignedRequest, key: PrivateKey, algorithm: str, **members: Any) -> SignedRequest:
    """The request with an API signature; ``members`` replace those of the payload."""
    payload = signing_payload(request, "https") | members
    head, body = (
        base64url.encode(json.dumps(part, separators=(",", ":"), ensure_ascii=False).encode())
        for part in ({"alg": algorithm, "typ": "JWT"}, payload)
    )
    signature = sign(key, f"{head}.{body}".encode())
    if isinstance(key, ec.EllipticCurvePrivateKey):
        signature = b"".join(number.to_bytes(32, "big") for number in decode_dss_signature(signature))
    return _with(request, **{HEADER: base64url.encode(signature)})


def _verify(request: SignedRequest, key: PrivateKey = _KEY, hosts: frozenset[str] = _HOSTS) -> Granted | Refused:
    return verify_api_signature(request, _public(key), hosts)


def test_the_published_request_is_granted() -> None:
    members = signing_payload(_REQUEST, "https")
    assert json.dumps(members, separators=(",", ":")) == _VECTOR["payload"]
    assert _verify(_REQUEST) == Granted()


@pytest.mark.parametrize(("name", "algorithm"), [("app_rsa2048", "RS256"), ("p256", "ES256"), ("ed25519", "EdDSA")])
def test_the_algorithm_is_that_of_the_key(name: str, algorithm: str) -> None:
    key = published_key(name)
    assert _verify(_sign(_REQUEST, key, algorithm), key) == Granted()
    for other in {"RS256", "ES256", "EdDSA", "HS256", "none"} - {algorithm}:
        assert isinstance(_verify(_sign(_REQUEST, key, other), key), Refused)


def test_keys_without_a_jws_algorithm_sign_nothing() -> None:
    for name in ("p384", "secp256k1"):
        assert isinstance(verify_api_signature(_REQUEST, _public(published_key(name)), _HOSTS), Refused)


@pytest.mark.parametrize(
    "changed",
    [
        replace(_REQUEST, method="PUT"),
        replace(_REQUEST, target="/wallets/"),
        replace(_REQUEST, target="/wallets?x=1"),
        replace(_REQUEST, target="/Wallets"),
        replace(_REQUEST, body=_REQUEST.body + b" "),
        replace(_REQUEST, body=b""),
        *(_with(_REQUEST, **{name: value + "x"}) for name, value in _HEADERS.items() if name != "host"),
        *(_with(_REQUEST, **{name: None}) for name in _HEADERS),
        _with(_REQUEST, host="API.example.org"),
        _with(_REQUEST, host="api.example.org:443"),
    ],
)
def test_a_changed_request_is_refused(changed: SignedRequest) -> None:
    assert isinstance(_verify(changed), Refused)


@pytest.mark.parametrize("scheme", ["http", ""])
def test_the_scheme_is_the_public_one(scheme: str) -> None:
    assert isinstance(_verify(_sign(_REQUEST, _KEY, "RS256", **{"r-scheme": scheme})), Refused)
    assert isinstance(verify_api_signature(_REQUEST, _public(_KEY), _HOSTS, scheme), Refused)


def test_the_host_is_one_of_the_configured() -> None:
    other = _sign(_with(_REQUEST, host="evil.test"), _KEY, "RS256")
    assert isinstance(_verify(other), Refused)
    assert isinstance(_verify(_REQUEST, hosts=frozenset()), Refused)
    assert _verify(other, hosts=frozenset({"evil.test"})) == Granted()
    forwarded = _with(_REQUEST, x_forwarded_host="evil.test", forwarded="host=evil.test")
    assert _verify(forwarded) == Granted()


def test_the_authority_is_the_host_of_the_request() -> None:
    assert isinstance(_verify(_sign(_REQUEST, _KEY, "RS256", **{"r-authority": "evil.test"})), Refused)


@pytest.mark.parametrize("name", ["x-dfns-nonce", "x-dfns-appid", "x-dfns-appsecret"])
def test_nonce_id_and_secret_are_demanded_even_if_their_absence_was_signed(name: str) -> None:
    for value in (None, ""):
        request = _sign(_with(_REQUEST, **{name: value}), _KEY, "RS256", **{f"h-{name}": ""})
        assert isinstance(_verify(request), Refused)


@pytest.mark.parametrize(
    ("signed", "received", "good"),
    [
        (("gzip", "close"), ("gzip", "close"), True),
        ((None, None), ("gzip", "keep-alive"), True),
        (("gzip", None), ("gzip", "keep-alive"), True),
        ((None, "close"), ("gzip", "close"), True),
        (("br", None), ("gzip", None), False),
        (("gzip", None), (None, None), False),
    ],
)
def test_headers_of_a_hop_count_as_received_or_as_absent(
    signed: tuple[str | None, str | None], received: tuple[str | None, str | None], good: bool
) -> None:
    request = _sign(_with(_REQUEST, accept_encoding=signed[0], connection=signed[1]), _KEY, "RS256")
    arrived = _with(request, accept_encoding=received[0], connection=received[1])
    assert isinstance(_verify(arrived), Granted) == good


@pytest.mark.parametrize("text", ["", "é", "A", "A" * 5000, _VECTOR["x_dfns_apisignature"] + "=", "AA" * 20])
def test_a_malformed_signature_is_refused(text: str) -> None:
    for name in ("app_rsa2048", "p256", "ed25519"):
        assert isinstance(_verify(_with(_REQUEST, **{HEADER: text}), published_key(name)), Refused)


def test_es256_is_raw_and_its_numbers_are_in_range() -> None:
    key = published_key("p256")
    for raw in (bytes(64), b"\xff" * 64, bytes(32) + b"\x01" * 32, sign(key, b"x")):
        assert isinstance(_verify(_with(_REQUEST, **{HEADER: base64url.encode(raw)}), key), Refused)


def test_text_beyond_ascii_is_signed_as_utf_8() -> None:
    request = _sign(_with(_REQUEST, user_agent='caf\xe9 "1" \\ /'), _KEY, "RS256")
    assert _verify(request) == Granted()


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_no_changed_byte_of_a_signature_goes_unnoticed(data: st.DataObject) -> None:
    raw = bytearray(base64url.decode(_VECTOR["x_dfns_apisignature"]))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    assert isinstance(_verify(_with(_REQUEST, **{HEADER: base64url.encode(bytes(raw))})), Refused)
