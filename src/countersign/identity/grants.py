"""Permissions as identities hold them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping

from countersign.access import catalogue
from countersign.identity.types import PermissionAssignment
from countersign.storage import Row


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
