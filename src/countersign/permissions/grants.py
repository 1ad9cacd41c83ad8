"""What other domains do with permissions: give one to an identity that they make, found the managed ones."""

from __future__ import annotations

import json

from countersign.access import catalogue
from countersign.permissions import store
from countersign.storage import Transaction
from countersign.world import World


def create_managed(org_id: str, world: World) -> Transaction[str]:
    """Make the two managed permissions of a new organisation; gives the id of the administrators' one."""
    now, administrators = world.now(), world.new_id("pm")
    for permission_id, name, operations, is_immutable in (
        (administrators, catalogue.FULL_ADMIN, catalogue.OPERATIONS, 1),
        (world.new_id("pm"), catalogue.DEFAULT_END_USER, catalogue.DEFAULT_END_USER_OPERATIONS, 0),
    ):
        row = (org_id, permission_id, name, json.dumps(operations), is_immutable, now, now)
        yield store.INSERT_PERMISSION, row
    return administrators


def find(org_id: str, name: str) -> Transaction[str]:
    """The id of a permission by its name; ``LookupError`` when there is none."""
    rows = yield store.FIND_PERMISSION, (org_id, name)
    if not rows:
        raise LookupError(name)
    return str(rows[0][0])


def grant(org_id: str, permission_id: str, identity_id: str, world: World) -> Transaction[str | None]:
    """Assign the permission, whoever may ask for it; the assignment's id, ``None`` where it is held already.

    For an identity that is not new, to be followed by :func:`revise`: nobody can have read the rights of one that is.
    """
    assignment_id, now = world.new_id("as"), world.now()
    made = yield store.INSERT_ASSIGNMENT, (org_id, assignment_id, permission_id, identity_id, now, now)
    return assignment_id if made else None


def revise(org_id: str) -> Transaction[None]:
    """Raise the organisation's revision: whatever is remembered of anybody's rights there is read again."""
    yield store.RAISE_REVISION, (org_id,)
