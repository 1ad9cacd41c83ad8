"""Whose key it is: who sees it, and who may use it. Pure.

A key belongs to the organisation until it is delegated to an end user, for good. End users see the keys delegated to
them and no others; a delegated key is used by its end user and nobody else.
"""

from __future__ import annotations

from countersign.api import ApiError, Caller, not_found
from countersign.keys.rows import StoredKey


def require_visible(key: StoredKey | None, caller: Caller) -> StoredKey:
    """404 when there is no such key, and just the same for an end user whose key it is not."""
    if key is None or (caller.sees_only_delegated and key.delegated_to != caller.user_id):
        raise not_found("key")
    return key


def require_usable(key: StoredKey | None, caller: Caller) -> StoredKey:
    """A key that the caller may use now. 404 as above, 400 for an archived key, 403 for one of somebody else."""
    found = require_visible(key, caller)
    if found.status != "Active":
        raise ApiError("KEY_ARCHIVED")
    if found.delegated_to is not None and found.delegated_to != caller.user_id:
        raise ApiError("KEY_DELEGATED")
    return found
