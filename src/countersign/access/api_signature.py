"""The API signature of server-signed applications: a detached JWS (RFC 7515 appendix F) over the whole request.

``X-DFNS-APISIGNATURE`` is the signature alone; both parties write header and payload down for themselves.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from countersign.credentials.outcome import Refused
from countersign.credentials.public_key import KeyKind, PublicKey
from countersign.encoding import base64url

HEADER = "x-dfns-apisignature"
MAX_SIGNATURE = 1366
"""Characters: a signature by an RSA key of 8192 bits."""

_SIGNED_HEADERS = (
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "host",
    "user-agent",
    "x-dfns-appid",
    "x-dfns-appsecret",
    "x-dfns-nonce",
    "x-dfns-useraction",
)
# A proxy may change or add these two; what a client signed was its own value or none.
_HOP_HEADERS = ("accept-encoding", "connection")
_REQUIRED = ("x-dfns-appid", "x-dfns-appsecret", "x-dfns-nonce")
_ALGORITHMS: dict[KeyKind, str] = {"rsa": "RS256", "p256": "ES256", "ed25519": "EdDSA"}


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as received. ``target`` is the raw target with its query, ``headers`` have lower-case names."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Granted:
    """The holder of the application's key signed this request."""


def verify_api_signature(
    request: SignedRequest, key: PublicKey, hosts: frozenset[str], scheme: str = "https"
) -> Granted | Refused:
    """Check the API signature of a request against the public key of the application it names.

    ``hosts`` are the public names of this server (with the port, if clients use one) and ``scheme`` the
    public scheme, both from the settings: a forwarded header has no say. The algorithm is that of the key:
    RS256, ES256 on P-256 (64 raw bytes, RFC 7518 section 3.4) or EdDSA. That the nonce is fresh and the
    secret a live token of the same application is for the caller to check; that both are there, is checked.
    Never raises for bad input.
    """
    for name in _REQUIRED:
        if not request.headers.get(name):
            return Refused(f"a server-signed application sends {name}")
    if request.headers.get("host", "").lower() not in hosts:
        return Refused("the host is not a public name of this server")
    algorithm = _ALGORITHMS.get(key.kind)
    if algorithm is None:
        return Refused("the application's key has no JWS algorithm")
    signature = _signature(request.headers.get(HEADER, ""), algorithm)
    if isinstance(signature, Refused):
        return signature
    head = base64url.encode(json.dumps({"alg": algorithm, "typ": "JWT"}, separators=(",", ":")).encode())
    for payload in _payloads(request, scheme):
        if key.verify(signature, f"{head}.{base64url.encode(payload)}".encode("ascii")):
            return Granted()
    return Refused("the API signature does not hold for this request")


def signing_payload(request: SignedRequest, scheme: str) -> dict[str, str]:
    """The members of the payload in the order in which they are signed; every value is a text."""
    members = {f"h-{name}": request.headers.get(name, "") for name in _SIGNED_HEADERS}
    return members | {
        "r-authority": request.headers.get("host", ""),
        "r-body": base64url.encode(request.body),
        "r-method": request.method.lower(),
        "r-path": request.target,
        "r-scheme": scheme,
    }


def _payloads(request: SignedRequest, scheme: str) -> Iterator[bytes]:
    """The one to four texts that the client may have signed, the received values first."""
    members = signing_payload(request, scheme)
    names = [f"h-{name}" for name in _HOP_HEADERS]
    for values in product(*(dict.fromkeys((members[name], "")) for name in names)):
        candidate = members | dict(zip(names, values, strict=True))
        yield json.dumps(candidate, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def _signature(header: str, algorithm: str) -> bytes | Refused:
    if not header or len(header) > MAX_SIGNATURE:
        return Refused("the API signature is missing or too long")
    try:
        raw = base64url.decode(header)
    except ValueError:
        return Refused("the API signature is not base64url")
    if algorithm != "ES256":
        return raw
    if len(raw) != 64:
        return Refused("an ES256 signature has 64 bytes")
    return encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
