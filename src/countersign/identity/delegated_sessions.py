"""Sessions that a service account opens for the people whom it vouches for."""

from __future__ import annotations

from dataclasses import dataclass

from countersign.access.keyring import KeyRing
from countersign.api import ApiError
from countersign.identity import credential_store, sessions
from countersign.identity import login_store as store
from countersign.identity.usernames import username_key
from countersign.storage import Transaction
from countersign.world import World


@dataclass(frozen=True, slots=True)
class Opened:
    """A session; ``token`` is not stored."""

    user_id: str
    session_id: str
    token: str


def open_for(
    ring: KeyRing, org_id: str, username: str, opened_by: str, lifetime: int, world: World
) -> Transaction[Opened]:
    """A session of ``lifetime`` seconds for an end user, or for an employee registered by a service account.

    401 ``USER_NOT_FOUND``, 400 ``USER_DEACTIVATED``, 401 ``NO_CREDENTIAL`` for one who is not registered yet, 403 for
    employees who log in by themselves and for those who must sign in through the identity provider.
    """
    key = username_key(username)
    rows = () if key is None else (yield store.FIND_DELEGATED, (org_id, key))
    if not rows:
        raise ApiError("USER_NOT_FOUND")
    # Read again once nobody else changes the person: a session of somebody shut out meanwhile must not remain.
    yield credential_store.LOCK_USER, (org_id, rows[0][0])
    rows = yield store.FIND_DELEGATED, (org_id, key)
    if not rows:
        raise ApiError("USER_NOT_FOUND")
    user_id, stored, kind, registration, state, is_registered, is_sso_required = rows[0]
    if kind != "EndUser" and registration != "Delegated":
        raise ApiError("FORBIDDEN", "An employee who registers by code logs in alone.")
    if state != "Active":
        raise ApiError("USER_DEACTIVATED")
    if not is_registered:
        raise ApiError("NO_CREDENTIAL")
    if is_sso_required:
        raise ApiError("SSO_REQUIRED")
    session_id, token = yield from sessions.open_session(
        ring, org_id, user_id, stored, lifetime, world, name="delegated login", delegated_by=opened_by
    )
    return Opened(user_id, session_id, token)
