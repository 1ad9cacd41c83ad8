"""The public keys of an identity provider (JWK set, RFC 7517): which of them may sign ID tokens, and with what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc import jwk
from joserfc.errors import JoseError

from countersign.credentials.outcome import Refused
from countersign.encoding import base64url
from countersign.encoding.strictjson import BadJson, parse_object

#: What a key of a kind signs with, and nothing else: no key fits two algorithms, and none is a MAC.
ALGORITHMS = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}
_CURVES = {"EC": "P-256", "OKP": "Ed25519"}
_MEMBERS = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_LEAST_RSA_BITS = 2048
_MOST_KEYS = 100
#: The reason that more recent keys may know better about.
UNKNOWN_KEY = "no key of the provider has this kid and algorithm"


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """A key that ID tokens may be signed with, by this algorithm alone."""

    kid: str | None
    algorithm: str
    key: jwk.Key


def read_keys(body: bytes) -> tuple[ProviderKey, ...] | Refused:
    """The keys of a JWK set that may sign; those for other uses, of other kinds and too weak ones are passed over."""
    try:
        listed = parse_object(body).get("keys")
    except BadJson as error:
        return Refused(f"the key set is not JSON: {error.reason}")
    if not isinstance(listed, list) or len(listed) > _MOST_KEYS:
        return Refused(f"the key set has no list of keys, or more than {_MOST_KEYS}")
    found = (_read_key(each) for each in listed if isinstance(each, dict))
    return tuple(each for each in found if each is not None)


def _read_key(member: Mapping[str, Any]) -> ProviderKey | None:
    kind, kid, operations = member.get("kty"), member.get("kid"), member.get("key_ops")
    if not isinstance(kind, str) or kind not in ALGORITHMS or not (kid is None or isinstance(kid, str)):
        return None
    if member.get("use", "sig") != "sig" or member.get("alg", ALGORITHMS[kind]) != ALGORITHMS[kind]:
        return None
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        return None
    if kind in _CURVES and member.get("crv") != _CURVES[kind]:
        return None
    public: dict[str, Any] = {name: member.get(name) for name in _MEMBERS[kind]}
    if not all(isinstance(value, str) for value in public.values()):
        return None
    try:
        if kind == "RSA" and _bits(public["n"]) < _LEAST_RSA_BITS:
            return None
        key = jwk.import_key({"kty": kind, **public})
        # Made only when it is asked for: points that are off their curve come out here.
        _ = key.raw_value
    except (JoseError, ValueError):
        return None
    return ProviderKey(kid, ALGORITHMS[kind], key)


def _bits(number: str) -> int:
    return int.from_bytes(base64url.decode(number)).bit_length()


def select(keys: tuple[ProviderKey, ...], kid: str | None, algorithm: str) -> ProviderKey | Refused:
    """The one key that a token names; without a name the only one of its algorithm (RFC 7515 section 4.1.4)."""
    fitting = [key for key in keys if key.algorithm == algorithm and (kid is None or key.kid == kid)]
    if not fitting:
        return Refused(UNKNOWN_KEY)
    return fitting[0] if len(fitting) == 1 else Refused("several keys of the provider would fit")
