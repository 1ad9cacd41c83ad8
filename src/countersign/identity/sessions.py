"""Sessions of people: opened by a login, a registration or a service account; ended by a logout."""

from __future__ import annotations

from countersign.access import keyring
from countersign.access.keyring import KeyRing
from countersign.api import Caller
from countersign.identity import credential_store, user_store
from countersign.identity import session_store as store
from countersign.storage import Transaction
from countersign.world import World


def open_session(
    ring: KeyRing,
    org_id: str,
    user_id: str,
    username: str,
    lifetime: int,
    world: World,
    *,
    name: str,
    credential_uuid: str | None = None,
    delegated_by: str | None = None,
) -> Transaction[tuple[str, str]]:
    """A new session of ``lifetime`` seconds; its id and its token, which is not stored.

    ``credential_uuid``: what the person logged in with; ``delegated_by``: the service account that opened it.
    """
    token_id, now = world.new_id("uj"), world.now()
    token, digest = keyring.mint(
        ring,
        org_id=org_id,
        user_id=user_id,
        username=username,
        token_id=token_id,
        kind="Token",
        lifetime=lifetime,
        now_ms=now,
    )
    row = (org_id, token_id, user_id, name, digest, credential_uuid, now, now + lifetime * 1000, delegated_by)
    yield store.INSERT_SESSION, row
    return token_id, token


def exchange(ring: KeyRing, caller: Caller, world: World) -> Transaction[str | None]:
    """The token of a session in the place of the caller's own, which ends; None where that has ended already.

    It expires no later, and is told from what opened the first: by which credential, or which service account.
    """
    now = world.now()
    if caller.delegated_by is not None and not (yield store.HOLD_DELEGATE, (caller.org_id, caller.delegated_by)):
        return None
    yield credential_store.LOCK_USER, (caller.org_id, caller.user_id)
    taken = yield store.TAKE_OWN_SESSION, (caller.org_id, caller.user_id, caller.token_id, now + 1000)
    if not taken:
        return None
    name, credential_uuid, expires_at, delegated_by = taken[0]
    _, token = yield from open_session(
        ring,
        caller.org_id,
        caller.user_id,
        caller.username,
        (expires_at - now) // 1000,
        world,
        name=name,
        credential_uuid=credential_uuid,
        delegated_by=delegated_by,
    )
    return token


def end_delegated(org_id: str, service_account_id: str) -> Transaction[None]:
    """End every session that a service account opened, whoever's it is."""
    yield store.END_DELEGATED_SESSIONS, (org_id, service_account_id)


def end(org_id: str, user_id: str, token_id: str, *, every: bool) -> Transaction[None]:
    """End a session, or every session of its user; other tokens of the user stay. Idempotent."""
    if every:
        # Whoever exchanges one of them meanwhile: one waits for the other.
        yield credential_store.LOCK_USER, (org_id, user_id)
        yield user_store.REVOKE_SESSIONS_OF, (org_id, user_id)
    else:
        yield store.END_SESSION, (org_id, token_id)
