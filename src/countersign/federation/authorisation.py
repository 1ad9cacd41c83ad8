"""The authorisation code flow with PKCE (RFC 6749 section 4.1, RFC 7636): what is sent, and what comes back."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote_plus, urlencode

from countersign.credentials.outcome import Refused
from countersign.encoding import base64url
from countersign.encoding.strictjson import BadJson, parse_object
from countersign.federation.discovery import Metadata
from countersign.world import World

#: A mail address is asked for because people are invited by it.
_SCOPE = "openid email"


@dataclass(frozen=True, slots=True)
class SignIn:
    """A sign-in that begins: ``state`` names it (256 random bits), ``verifier`` is the secret of PKCE."""

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)


def new_sign_in(world: World, nonce: str | None = None) -> SignIn:
    """A new one; ``nonce`` where whoever begins it has chosen one."""
    state, own, verifier = (base64url.encode(world.randomness(32)) for _ in range(3))
    return SignIn(state, own if nonce is None else nonce, verifier)


def state_digest(state: str) -> str:
    """By which a sign-in is found: the state itself is not stored."""
    return hashlib.sha256(state.encode()).hexdigest()


def authorisation_url(metadata: Metadata, client_id: str, redirect_uri: str, sign_in: SignIn) -> str:
    """Where the person's browser goes."""
    parameters = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "scope": _SCOPE,
        "state": sign_in.state,
        "nonce": sign_in.nonce,
        "code_challenge": base64url.encode(hashlib.sha256(sign_in.verifier.encode()).digest()),
        "code_challenge_method": "S256",
    }
    endpoint = metadata.authorization_endpoint
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(parameters)}"


def token_request(
    metadata: Metadata, client_id: str, secret: str | None, code: str, redirect_uri: str, verifier: str
) -> tuple[bytes, Mapping[str, str]]:
    """Body and headers of the request that trades a code for an ID token."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": verifier,
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    if secret is not None and metadata.proof == "client_secret_basic":
        # RFC 6749 section 2.3.1: each half is form-encoded first.
        pair = f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    else:
        form["client_id"] = client_id
        if secret is not None:
            form["client_secret"] = secret
    return urlencode(form).encode(), headers


def read_token_answer(body: bytes) -> str | Refused:
    """The ID token in the answer."""
    try:
        token = parse_object(body).get("id_token")
    except BadJson as error:
        return Refused(f"the answer is not JSON: {error.reason}")
    return token if isinstance(token, str) else Refused("the answer holds no ID token")
