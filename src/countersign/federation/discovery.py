"""What a provider says of itself (OpenID Connect Discovery 1.0): where to send people, and where to ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from countersign.credentials.outcome import Refused
from countersign.encoding.strictjson import BadJson, parse_object
from countersign.outgoing import Rules, check_url

PATH = "/.well-known/openid-configuration"

#: How the client proves itself at the token endpoint, where it has a secret (OpenID Connect Core 1.0 section 9).
Proof = Literal["client_secret_basic", "client_secret_post"]


@dataclass(frozen=True, slots=True)
class Metadata:
    """Where a provider is reached. ``proof``: how a client with a secret proves itself."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    proof: Proof


def location(issuer: str) -> str:
    """Where the document of an issuer lies."""
    return issuer.removesuffix("/") + PATH


def read_metadata(body: bytes, issuer: str, rules: Rules) -> Metadata | Refused:
    """The document, as far as it is needed: the issuer's own (section 4.3), with URLs that may be gone to."""
    try:
        document = parse_object(body)
    except BadJson as error:
        return Refused(f"the configuration is not JSON: {error.reason}")
    if document.get("issuer") != issuer:
        return Refused("the configuration is that of another issuer")
    found: dict[str, str] = {}
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
        url = document.get(name)
        refused = check_url(url, rules) if isinstance(url, str) else None
        if not isinstance(url, str) or refused is not None:
            return Refused(f"{name}: {'missing' if refused is None else refused.reason}")
        found[name] = url
    offered = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    proof: Proof | None = None
    if isinstance(offered, list):
        for each in ("client_secret_basic", "client_secret_post"):
            proof = proof or (each if each in offered else None)
    return Metadata(issuer=issuer, proof=proof or "client_secret_basic", **found)
