"""End users as owners of keys and wallets."""

from __future__ import annotations

from countersign.identity import user_store as store
from countersign.identity.usernames import username_key
from countersign.storage import Transaction


def hold_active_end_user(org_id: str, user_id: str) -> Transaction[bool]:
    """Whether the organisation has this end user, active; who is then active until the transaction ends."""
    return bool((yield store.HOLD_ACTIVE_END_USER, (org_id, user_id)))


def find_user(org_id: str, named: str) -> Transaction[str | None]:
    """The id of the organisation's user with this id or username, ``None`` if there is none."""
    rows = yield store.FIND_USER, (org_id, named, username_key(named) or "", named)
    return rows[0][0] if rows else None
