"""Our own tokens: compact JWS (RFC 7515) with the algorithm fixed by the place, not by the token.

Session and access tokens are ``typ`` ``JWT`` under Ed25519 (RFC 8037). The challenge identifier and the
user action token are read by nobody but this server and are MACs (``challenge+jwt``, ``action+jwt``).
Each place accepts exactly its own ``typ``, algorithm, keys and token kinds; ``kid`` is a look-up in those
keys and nothing else, and a header that brings its own key (``jwk``, ``jku``, ``x5u``, ``x5c``) is refused.
What needs the database (is the token revoked, is the user active) is not decided here.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, assert_never

import msgspec
from nacl import bindings as sodium

from countersign.credentials import ed25519
from countersign.encoding import base64url, strictjson

Algorithm = Literal["EdDSA", "HS256"]

MAX_LENGTH = 8192
"""Characters of a whole token."""
AUDIENCE = "dfns:auth:user"
"""``aud`` of every token; clients of the official SDKs see this value."""
LEEWAY = 30
"""Seconds by which ``iat`` may lie in the future."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a token is not accepted; for the log, the caller only learns that it is not authorised."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ed25519Signer:
    """A key for ``EdDSA`` tokens; ``seed`` is the 32-byte private key of RFC 8032."""

    kid: str
    seed: bytes = field(repr=False)
    public_key: bytes = field(init=False)
    _secret: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        public_key, secret = sodium.crypto_sign_seed_keypair(self.seed)
        object.__setattr__(self, "public_key", public_key)
        object.__setattr__(self, "_secret", secret)

    @property
    def algorithm(self) -> Algorithm:
        """``alg`` of the tokens it signs."""
        return "EdDSA"

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature."""
        return sodium.crypto_sign(message, self._secret)[: sodium.crypto_sign_BYTES]


@dataclass(frozen=True, slots=True)
class MacKey:
    """A key for ``HS256`` tokens; ``secret`` is 32 random bytes."""

    kid: str
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) < 32:
            raise ValueError("a MAC key has at least 32 bytes (RFC 7518 section 3.2)")

    @property
    def algorithm(self) -> Algorithm:
        """``alg`` of the tokens it signs."""
        return "HS256"

    def sign(self, message: bytes) -> bytes:
        """The 32-byte HMAC-SHA-256."""
        return hmac.digest(self.secret, message, "sha256")


class Claims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The claims that every token carries; times in seconds since the epoch.

    ``metadata`` holds at least ``userId``, ``orgId`` and ``tokenKind``, and ``purpose`` where the kind is
    ``Temp``. ``sub`` is the organisation.
    """

    iss: str
    aud: str
    sub: str
    jti: str
    username: str = msgspec.field(name="https://custom/username", default="")
    metadata: dict[str, Any] = msgspec.field(name="https://custom/app_metadata")
    iat: int
    exp: int
    nbf: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """What one place of the API accepts.

    ``purpose`` is that of ``Temp`` tokens; ``None`` where the kinds have none.
    """

    typ: str
    algorithm: Algorithm
    issuer: str
    token_kinds: frozenset[str]
    purpose: str | None = None
    audience: str = AUDIENCE


class Verified(msgspec.Struct, frozen=True):
    """A token that holds at its place; ``payload`` is the JSON text of all its claims."""

    claims: Claims
    payload: bytes


def encode(claims: msgspec.Struct | Mapping[str, Any] | bytes, typ: str, key: Ed25519Signer | MacKey) -> str:
    """The token of ``claims`` (``bytes`` are JSON text as it stands).

    Raises ``ValueError`` if it would be longer than any place accepts.
    """
    payload = claims if isinstance(claims, bytes) else msgspec.json.encode(claims)
    signed = f"{_header_segment(typ, key.algorithm, key.kid)}.{base64url.encode(payload)}"
    token = f"{signed}.{base64url.encode(key.sign(signed.encode('ascii')))}"
    if len(token) > MAX_LENGTH:
        raise ValueError(f"a token of {len(token)} characters is longer than {MAX_LENGTH}")
    return token


def verify(token: str, place: Place, keys: Mapping[str, bytes], now: int) -> Verified | Refused:
    """Check a token as far as values alone decide it.

    ``keys`` maps ``kid`` to the 32-byte Ed25519 public key or the MAC secret, by the algorithm of the
    place; ``now`` is in seconds. Checked in this order: three canonical segments and the length, header,
    signature, ``iss``, ``aud``, ``sub`` against the organisation in the metadata, ``iat`` and ``nbf`` (at
    most 30 s ahead), ``exp``, token kind and purpose. Never raises for bad input.
    """
    if len(token) > MAX_LENGTH:
        return Refused("longer than 8192 characters")
    segments = token.split(".")
    if len(segments) != 3:
        return Refused("not three segments")
    try:
        header = _parse_header(segments[0])
        payload = base64url.decode(segments[1])
        signature = base64url.decode(segments[2])
    except ValueError:
        return Refused("a segment is not canonical unpadded base64url, or the header is not strict JSON")
    if header is None:
        return Refused("the header has other members than typ, alg and kid")
    typ, algorithm, kid = header
    if typ != place.typ or algorithm != place.algorithm:
        return Refused("typ or alg of another place")
    key = keys.get(kid)
    if key is None:
        return Refused("unknown kid")
    signed = token[: -len(segments[2]) - 1]
    if not _signature_holds(place.algorithm, key, signed.encode("ascii"), signature):
        return Refused("signature")
    try:
        claims = _CLAIMS.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Refused("the claims are not those of our tokens")
    refusal = _check_claims(claims, place, now)
    return Verified(claims, payload) if refusal is None else Refused(refusal)


def refuse_times(iat: int, exp: int, now: int) -> str | None:
    """Why a token of these times (seconds) is not accepted now, also where all else of it is known to hold."""
    if iat > now + LEEWAY:
        return "issued in the future"
    return "expired" if exp <= now else None


def jwks(keys: Mapping[str, bytes]) -> dict[str, Any]:
    """The JWK set (RFC 7517, RFC 8037) of Ed25519 public keys by ``kid``."""
    return {
        "keys": [
            {"kty": "OKP", "crv": "Ed25519", "kid": kid, "alg": "EdDSA", "use": "sig", "x": base64url.encode(key)}
            for kid, key in keys.items()
        ]
    }


_CLAIMS = msgspec.json.Decoder(Claims)


@lru_cache(maxsize=64)
def _header_segment(typ: str, algorithm: Algorithm, kid: str) -> str:
    return base64url.encode(msgspec.json.encode({"typ": typ, "alg": algorithm, "kid": kid}))


@lru_cache(maxsize=256)
def _parse_header(segment: str) -> tuple[str, str, str] | None:
    """``typ``, ``alg`` and ``kid``; cached because all tokens under one key share the segment."""
    header = strictjson.parse_object(base64url.decode(segment))
    if header.keys() != {"typ", "alg", "kid"}:
        return None
    typ, algorithm, kid = header["typ"], header["alg"], header["kid"]
    if type(typ) is not str or type(algorithm) is not str or type(kid) is not str:
        return None
    return typ, algorithm, kid


def _signature_holds(algorithm: Algorithm, key: bytes, message: bytes, signature: bytes) -> bool:
    if algorithm == "HS256":
        return hmac.compare_digest(hmac.digest(key, message, "sha256"), signature)
    if algorithm == "EdDSA":
        return ed25519.holds(key, message, signature)
    assert_never(algorithm)


def _check_claims(claims: Claims, place: Place, now: int) -> str | None:
    if claims.iss != place.issuer:
        return "iss"
    if claims.aud != place.audience:
        return "aud"
    if claims.sub != claims.metadata.get("orgId"):
        return "sub is not the organisation of the metadata"
    if claims.nbf is not None and claims.nbf > now + LEEWAY:
        return "issued in the future"
    untimely = refuse_times(claims.iat, claims.exp, now)
    if untimely is not None:
        return untimely
    kind = claims.metadata.get("tokenKind")
    if type(kind) is not str or kind not in place.token_kinds:
        return "token kind of another place"
    if claims.metadata.get("purpose") != place.purpose:
        return "purpose of another place"
    return None
