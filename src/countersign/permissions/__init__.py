"""Permissions: named sets of operations, who holds them, and that nobody gives what they do not hold."""

from countersign.permissions.changes import assign_to_new
from countersign.permissions.grants import create_managed, find, grant, revise
from countersign.permissions.rights import (
    governs,
    lock_administrators,
    may,
    require_another_administrator,
    require_subset,
)

__all__ = [
    "assign_to_new",
    "create_managed",
    "find",
    "governs",
    "grant",
    "lock_administrators",
    "may",
    "require_another_administrator",
    "require_subset",
    "revise",
]
