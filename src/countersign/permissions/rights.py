"""Nobody gives what they do not hold, and somebody always holds everything."""

from __future__ import annotations

import json
from collections.abc import Iterable

from countersign.access import catalogue
from countersign.api import ApiError, Caller, not_found
from countersign.permissions import store
from countersign.storage import Transaction

#: What lets somebody make others more powerful, or themselves.
_GIVING = frozenset({"Permissions:Assign", "Permissions:Update"})


def require_held(caller: Caller, name: str, operations: Iterable[str]) -> None:
    """403 ``FORBIDDEN`` unless the caller holds each of the operations, older spellings resolved.

    ``name``: of the permission that would grant them. Names that no operation asks for are held like any other: one day
    an operation may ask for them.
    """
    if caller.operations is None:
        return
    missing = sorted(catalogue.resolve(operations) - caller.operations)
    if missing:
        raise ApiError(
            "FORBIDDEN",
            f"{caller.label} is not authorized to grant the permission {name}",
            details={"missing": missing, "hint": "Nobody grants operations that they do not hold themselves."},
        )


def require_whole(caller: Caller, name: str) -> None:
    """403 ``FORBIDDEN`` unless the caller may do everything, also what will be added later."""
    if caller.operations is not None:
        raise ApiError("FORBIDDEN", f"{caller.label} is not authorized to grant the permission {name}")


def require_subset(caller: Caller, permission_id: str) -> Transaction[None]:
    """404 for an unknown or archived permission, 403 ``FORBIDDEN`` for one that grants more than the caller holds."""
    rows = yield store.GET_PERMISSION, (caller.org_id, permission_id)
    if not rows or rows[0][4]:
        raise not_found("permission")
    _, name, operations, is_immutable, *_ = rows[0]
    if is_immutable:
        require_whole(caller, name)
    else:
        require_held(caller, name, json.loads(operations))


def require_still_held(org_id: str, identities: Iterable[str], operations: Iterable[str] | None) -> Transaction[None]:
    """403 ``FORBIDDEN`` unless what was asked for a while ago could be given now by who asked.

    ``identities``: the user, and the access token and the application that it was asked through; each of them has to
    hold it. ``operations``: what would be given, ``None`` for everything, also what will be added later.
    """
    wanted = None if operations is None else catalogue.resolve(operations)
    for identity_id in identities:
        rights = yield from rights_of(org_id, identity_id)
        if rights is not None and (wanted is None or not wanted <= rights):
            raise ApiError("FORBIDDEN", "Who asked for it does not hold any more what it would grant.")


def rights_of(org_id: str, identity_id: str) -> Transaction[frozenset[str] | None]:
    """What the assignments of an identity grant it now, ``None`` for every operation; nothing unless it is active."""
    found = yield store.FIND_IDENTITY, (org_id, identity_id, org_id, identity_id, org_id, identity_id)
    if not found or found[0][0] != "Active":
        return frozenset()
    rows = yield store.LIST_HELD, (org_id, identity_id)
    if any(immutable for immutable, _ in rows):
        return None
    return catalogue.resolve(name for _, operations in rows for name in json.loads(operations))


def may(org_id: str, identity_id: str, operation: str) -> Transaction[bool]:
    """Whether the assignments of an identity let it perform an operation, as the database stands."""
    rights = yield from rights_of(org_id, identity_id)
    return rights is None or operation in rights


def require_another_administrator(org_id: str, leaving: str) -> Transaction[None]:
    """412 ``LAST_ADMINISTRATOR`` if ``leaving`` is the last active identity with full rights.

    Where a person leaves, another registered person must remain: a service account cannot sign in, nor create
    accounts and tokens. Where a service account leaves, anyone may remain.
    """
    held = yield store.IS_ADMINISTRATOR, (org_id, catalogue.FULL_ADMIN, leaving)
    if not held:
        return
    # Two who deactivate each other at once must not both find the other one active.
    yield from lock_administrators(org_id)
    others = yield store.FIND_OTHER_ADMINISTRATOR, (org_id, catalogue.FULL_ADMIN, leaving, held[0][0])
    if not others:
        raise ApiError("LAST_ADMINISTRATOR")


def governs(org_id: str, identity_id: str) -> Transaction[bool]:
    """Whether an identity has full rights, or may give others permissions."""
    rows = yield store.LIST_HELD, (org_id, identity_id)
    return any(
        immutable or not _GIVING.isdisjoint(catalogue.resolve(json.loads(operations))) for immutable, operations in rows
    )


def lock_administrators(org_id: str) -> Transaction[None]:
    """Make whoever would decide about the organisation's administrators wait until the transaction ends."""
    yield store.LOCK_ADMINISTRATORS, (org_id,)
