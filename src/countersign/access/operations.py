"""User action signing: what callers can do before a signed request."""

from __future__ import annotations

import hashlib

from countersign.access.ceremony import Ceremony
from countersign.access.routes import Routes
from countersign.access.types import CreateChallenge, SignedChallenge, UserAction, UserActionChallenge
from countersign.api import ApiError, Call, not_found, operation, validation
from countersign.encoding import strictjson
from countersign.encoding.target import BadPath, parse_signed_path


@operation("POST", "/auth/action/init", max_body=4 << 20)
async def create_user_action_challenge(call: Call, body: CreateChallenge) -> UserActionChallenge:
    """Bind a request: the challenge commits to method, path and payload.

    Sign it with one of `allowCredentials` and send the result to `POST /auth/action`. Nothing is stored.
    """
    routes = call.service(Routes)
    try:
        target = routes.without_prefix(parse_signed_path(body.user_action_http_path))
    except BadPath as error:
        raise ApiError("BAD_PATH", f"Bad Request: userActionHttpPath: {error.reason}") from None
    try:
        payload = strictjson.parse_payload(body.user_action_payload)
    except strictjson.BadJson as error:
        raise ApiError("BAD_JSON", f"Bad Request: userActionPayload: {error.reason}") from None
    if len(body.user_action_payload.encode()) > 1 << 20:
        raise validation("userActionPayload", "is larger than 1 MiB")
    if not routes.look(body.user_action_http_method, target.segments):
        raise not_found("route")
    hashed = hashlib.sha256(strictjson.canonical(payload)).digest()
    return await call.service(Ceremony).challenge(call.caller, body.user_action_http_method, target, hashed)


@operation("POST", "/auth/action")
async def create_user_action_signature(call: Call, body: SignedChallenge) -> UserAction:
    """Trade a signed challenge for the one-time token that the request itself carries."""
    return UserAction(user_action=await call.service(Ceremony).action(call.caller, body))
