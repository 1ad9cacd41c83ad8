"""User action signing: what callers can do before a signed request."""

from __future__ import annotations

import hashlib

from countersign.access.ceremony import Ceremony
from countersign.access.large_bodies import apart
from countersign.access.routes import Routes
from countersign.access.types import CreateChallenge, SignedChallenge, UserAction, UserActionChallenge
from countersign.api import ApiError, Call, not_found, operation, validation
from countersign.encoding import strictjson
from countersign.encoding.target import BadPath, parse_signed_path

#: Most bytes of a payload to sign: as much as any operation takes for its body.
MAX_PAYLOAD = 1 << 20


# Twice that: the payload is text inside JSON, and each of its quotes has a backslash there.
@operation("POST", "/auth/action/init", max_body=2 * MAX_PAYLOAD)
async def create_user_action_challenge(call: Call, body: CreateChallenge) -> UserActionChallenge:
    """Bind a request: the challenge commits to method, path and payload.

    Sign it with one of `allowCredentials` and send the result to `POST /auth/action`. Nothing is stored.
    """
    routes = call.service(Routes)
    try:
        target = routes.without_prefix(parse_signed_path(body.user_action_http_path))
    except BadPath as error:
        raise ApiError("BAD_PATH", f"Bad Request: userActionHttpPath: {error.reason}") from None
    text = body.user_action_payload
    if len(text) > MAX_PAYLOAD or len(text.encode()) > MAX_PAYLOAD:
        raise validation("userActionPayload", "is larger than 1 MiB")
    try:
        hashed = await apart(len(text), lambda: _payload_hash(text))
    except strictjson.BadJson as error:
        raise ApiError("BAD_JSON", f"Bad Request: userActionPayload: {error.reason}") from None
    if not routes.look(body.user_action_http_method, target.segments):
        raise not_found("route")
    return await call.service(Ceremony).challenge(call.caller, body.user_action_http_method, target, hashed)


def _payload_hash(text: str) -> bytes:
    """SHA-256 of the payload's canonical form."""
    return hashlib.sha256(strictjson.canonical(strictjson.parse_payload(text))).digest()


@operation("POST", "/auth/action")
async def create_user_action_signature(call: Call, body: SignedChallenge) -> UserAction:
    """Trade a signed challenge for the one-time token that the request itself carries."""
    return UserAction(user_action=await call.service(Ceremony).action(call.caller, body))
