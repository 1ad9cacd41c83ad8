"""Who holds which permission."""

from __future__ import annotations

from dataclasses import dataclass

from countersign.access import catalogue
from countersign.api import ApiError, Caller, conflict, not_found
from countersign.encoding.dates import to_iso
from countersign.permissions import grants, store
from countersign.permissions.permissions import Stored
from countersign.permissions.rights import require_another_administrator, require_held, require_whole
from countersign.permissions.types import Assignment
from countersign.storage import Row, Transaction


@dataclass(frozen=True, slots=True)
class Held:
    """An assignment as the database has it; times in milliseconds."""

    id: str
    permission_id: str
    identity_id: str
    is_immutable: bool
    created_at: int
    updated_at: int

    @property
    def wire(self) -> Assignment:
        """As the API shows it."""
        return Assignment(
            id=self.id,
            permission_id=self.permission_id,
            identity_id=self.identity_id,
            is_immutable=self.is_immutable,
            date_created=to_iso(self.created_at),
            date_updated=to_iso(self.updated_at),
        )


def read(row: Row) -> Held:
    """A row of the store."""
    assignment_id, permission_id, identity_id, is_immutable, created_at, updated_at = row
    return Held(assignment_id, permission_id, identity_id, bool(is_immutable), created_at, updated_at)


def check_assign(caller: Caller, permission: Stored, identity_id: str) -> Transaction[None]:
    """Whether the caller may give the permission to the identity.

    403 for more than the caller holds, 422 for an archived permission or an identity that is not active, 404 for one
    that is unknown, 409 where it holds the permission already.
    """
    if permission.is_immutable:
        require_whole(caller, permission.name)
    else:
        require_held(caller, permission.name, permission.operations)
    yield from require_assignable(caller.org_id, permission, identity_id)


def require_assignable(org_id: str, permission: Stored, identity_id: str) -> Transaction[None]:
    """The same but for what the caller holds: whether there is somebody to give it to, who does not hold it yet."""
    if permission.is_archived:
        raise ApiError("PERMISSION_ARCHIVED")
    found = yield store.FIND_IDENTITY, (org_id, identity_id, org_id, identity_id, org_id, identity_id)
    if not found or found[0][0] == "Archived":
        raise not_found("identity")
    if found[0][0] != "Active":
        raise ApiError("IDENTITY_NOT_ACTIVE")
    held = yield store.FIND_ASSIGNMENT, (org_id, identity_id, permission.id)
    if held:
        raise conflict("The identity holds the permission already", entity_id=held[0][0])


def put(org_id: str, assignment_id: str, permission_id: str, identity_id: str, now: int) -> Transaction[Assignment]:
    """Write the assignment, checked before; 409 for one that was made in the same moment."""
    if not (yield store.INSERT_ASSIGNMENT, (org_id, assignment_id, permission_id, identity_id, now, now)):
        raise conflict("The identity holds the permission already")
    yield from grants.revise(org_id)
    return Held(assignment_id, permission_id, identity_id, False, now, now).wire


def find(org_id: str, permission_id: str, assignment_id: str) -> Transaction[Held]:
    """An assignment of this permission. Raises 404."""
    rows = yield store.GET_ASSIGNMENT, (org_id, permission_id, assignment_id)
    if not rows:
        raise not_found("assignment")
    return read(rows[0])


def check_revoke(org_id: str, permission: Stored, held: Held) -> Transaction[None]:
    """412 for an immutable assignment, and for the last person's full access."""
    if held.is_immutable:
        raise ApiError("PERMISSION_IMMUTABLE", "The assignment is immutable.")
    if permission.is_immutable and permission.name == catalogue.FULL_ADMIN:
        yield from require_another_administrator(org_id, held.identity_id)


def delete(org_id: str, assignment_id: str) -> Transaction[bool]:
    """Take it away, checked before; false when somebody did it in the same moment."""
    gone = yield store.DELETE_ASSIGNMENT, (org_id, assignment_id)
    yield from grants.revise(org_id)
    return bool(gone)
