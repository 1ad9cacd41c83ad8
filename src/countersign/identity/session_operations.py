"""One's own sessions: where one is logged in, and an end to what one does not know."""

from __future__ import annotations

import structlog

from countersign.access.keyring import KeyRing
from countersign.api import UNSET, ApiError, Call, UnsetType, Wire, not_found, operation
from countersign.encoding.dates import to_iso
from countersign.identity import session_store as store
from countersign.identity import sessions
from countersign.identity.credential_types import Nothing
from countersign.identity.registration_types import Authentication
from countersign.storage import Transaction

log = structlog.get_logger("countersign.security")


class Session(Wire):
    """A live session. ``name``: what opened it; ``credentialUuid``: what the person logged in with, where they did.

    ``delegatedBy``: the service account that opened it.
    """

    session_id: str
    name: str
    date_created: str
    date_expires: str
    is_current: bool
    credential_uuid: str | UnsetType = UNSET
    delegated_by: str | UnsetType = UNSET


class SessionList(Wire):
    """Newest first."""

    items: list[Session]


class ExchangeAccessToken(Wire):
    """``target``: the id of the organisation that the token is wanted for."""

    target: str


@operation("GET", "/auth/sessions", callers=("Token",))
async def list_sessions(call: Call) -> SessionList:
    """List the caller's own live sessions, the newest hundred."""
    caller, now = call.caller, call.world.now()

    def work() -> Transaction[list[Session]]:
        rows = yield store.LIST_SESSIONS, (caller.org_id, caller.user_id, now)
        return [
            Session(
                session_id=token_id,
                name=name,
                date_created=to_iso(created_at),
                date_expires=to_iso(expires_at),
                is_current=token_id == caller.token_id,
                credential_uuid=credential_uuid or UNSET,
                delegated_by=delegated_by or UNSET,
            )
            for token_id, name, created_at, expires_at, credential_uuid, delegated_by in rows
        ]

    return SessionList(items=await call.read(work))


@operation("POST", "/auth/tokens", callers=("Token",))
async def exchange_access_token(call: Call, body: ExchangeAccessToken) -> Authentication:
    """Exchange the token of this session for one of another session, of the organisation `target`.

    A user belongs to one organisation, so it is that one. This session ends; the other expires no later.
    """
    caller, ring = call.caller, call.service(KeyRing)
    if body.target != caller.org_id:
        raise ApiError("FORBIDDEN", "The user has no access to the target; name the id of their own organisation.")
    token = await call.write(lambda: sessions.exchange(ring, caller, call.world))
    if token is None:
        raise ApiError("UNAUTHENTICATED", reason="the session has ended meanwhile")
    log.info("session exchanged", organisation=caller.org_id, user=caller.user_id)
    return Authentication(token=token)


@operation("DELETE", "/auth/sessions/{sessionId}", callers=("Token",))
async def end_session(call: Call) -> Nothing:
    """End one of the caller's own sessions. Like a logout it takes no user action: it only takes power away."""
    caller, session_id = call.caller, call.params["sessionId"]

    def work() -> Transaction[bool]:
        return bool((yield store.END_OWN_SESSION, (caller.org_id, caller.user_id, session_id)))

    if not await call.write(work):
        raise not_found("session")
    return Nothing()
