"""One's own sessions: where one is logged in, and an end to what one does not know."""

from __future__ import annotations

from countersign.api import UNSET, Call, UnsetType, Wire, not_found, operation
from countersign.encoding.dates import to_iso
from countersign.identity import session_store as store
from countersign.identity.credential_types import Nothing
from countersign.storage import Transaction


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


@operation("DELETE", "/auth/sessions/{sessionId}", callers=("Token",))
async def end_session(call: Call) -> Nothing:
    """End one of the caller's own sessions. Like a logout it takes no user action: it only takes power away."""
    caller, session_id = call.caller, call.params["sessionId"]

    def work() -> Transaction[bool]:
        return bool((yield store.END_OWN_SESSION, (caller.org_id, caller.user_id, session_id)))

    if not await call.write(work):
        raise not_found("session")
    return Nothing()
