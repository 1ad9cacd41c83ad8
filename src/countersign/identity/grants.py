"""Permissions as identities hold them, and the rule that nobody grants what they do not hold."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping

from countersign.access import catalogue
from countersign.api import ApiError, Caller, not_found
from countersign.identity import store, user_store
from countersign.identity.types import PermissionAssignment
from countersign.storage import Row, Transaction


def assignment(row: Row) -> PermissionAssignment:
    """A row (identity, permission name and id, assignment id, operations, immutable); the immutable one grants all."""
    _, name, permission_id, assignment_id, operations, is_immutable = row
    listed = list(catalogue.OPERATIONS) if is_immutable else json.loads(operations)
    return PermissionAssignment(
        permission_name=name, permission_id=permission_id, assignment_id=assignment_id, operations=listed
    )


def by_identity(rows: Iterable[Row]) -> Mapping[str, list[PermissionAssignment]]:
    """Assignments of several identities; an identity without any has an empty list."""
    found: defaultdict[str, list[PermissionAssignment]] = defaultdict(list)
    for row in rows:
        found[row[0]].append(assignment(row))
    return found


def require_subset(caller: Caller, permission_id: str) -> Transaction[None]:
    """404 for an unknown permission, 403 ``FORBIDDEN`` for one that grants what the caller does not hold."""
    rows = yield store.READ_PERMISSION, (caller.org_id, permission_id)
    if not rows:
        raise not_found("permission")
    name, operations, is_immutable = rows[0]
    if caller.operations is None:
        return
    if is_immutable or not all(caller.may(item) for item in catalogue.resolve(json.loads(operations))):
        raise ApiError("FORBIDDEN", f"{caller.label} is not authorized to grant the permission {name}")


def require_another_administrator(org_id: str, leaving: str) -> Transaction[None]:
    """409 ``LAST_ADMINISTRATOR`` if ``leaving`` is the last active identity with full rights.

    Where a person leaves, another registered person must remain: a service account cannot sign in, nor create
    accounts and tokens. Where a service account leaves, anyone may remain.
    """
    held = yield user_store.IS_ADMINISTRATOR, (org_id, catalogue.FULL_ADMIN, leaving)
    if not held:
        return
    # Two who deactivate each other at once must not both find the other one active.
    yield user_store.LOCK_ADMINISTRATORS, (org_id,)
    others = yield user_store.FIND_OTHER_ADMINISTRATOR, (org_id, catalogue.FULL_ADMIN, leaving, held[0][0])
    if not others:
        raise ApiError("LAST_ADMINISTRATOR")
