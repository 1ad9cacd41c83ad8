"""Changes of permissions and assignments: made at once, or held and made once they are approved.

Policies guard what changes a permission (``Permissions:Modify``) and who holds it (``Permissions:Assign``). What is
held is kept with its target state; when it is approved, it is looked at again whether it still can be made, and whether
who asked could still give what it grants: rights that were taken away are not given on by what waited.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from countersign.api import UNSET, ApiError, Caller, Effect
from countersign.permissions import assignments, permissions
from countersign.permissions.permissions import Target
from countersign.permissions.rights import require_still_held
from countersign.permissions.types import Assignment, AssignmentTarget, Permission, PermissionTarget
from countersign.policies import Applied, Change, ChangeRequest, Failed, guard, register_change
from countersign.storage import Transaction
from countersign.world import World


@dataclass(frozen=True, slots=True)
class Update:
    """What is asked for; ``None`` leaves it as it is."""

    name: str | None
    operations: tuple[str, ...] | None


def update(
    caller: Caller, permission_id: str, wanted: Update, world: World
) -> Transaction[Effect[Permission | ChangeRequest]]:
    """Rename a permission, or replace its operations. See :func:`permissions.check_update` for the refusals."""
    current = yield from permissions.locked(caller.org_id, permission_id)
    if current.is_archived:
        raise ApiError("PERMISSION_ARCHIVED")
    target = Target(
        current.name if wanted.name is None else wanted.name,
        current.operations if wanted.operations is None else wanted.operations,
        False,
    )
    return (yield from _modify(caller, current, target, world))


def archive(
    caller: Caller, permission_id: str, world: World, *, is_archived: bool
) -> Transaction[Effect[Permission | ChangeRequest]]:
    """Archive a permission, or restore it; one that is so already is answered as it is."""
    current = yield from permissions.locked(caller.org_id, permission_id)
    if current.is_archived == is_archived:
        return Effect(current.wire, (permission_id,))
    target = Target(current.name, current.operations, is_archived)
    return (yield from _modify(caller, current, target, world))


def _modify(
    caller: Caller, current: permissions.Stored, target: Target, world: World
) -> Transaction[Effect[Permission | ChangeRequest]]:
    yield from permissions.check_update(caller, current, target)
    org_id = caller.org_id

    def make() -> Transaction[Effect[Permission]]:
        return Effect((yield from permissions.put(org_id, current, target, world)), (current.id,))

    body = PermissionTarget(
        id=current.id,
        name=target.name,
        operations=list(target.operations),
        is_immutable=current.is_immutable,
        is_archived=target.is_archived,
    )
    change = Change("Permissions:Modify", "Permission", "Update", current.id, body, permission_id=current.id)
    return (yield from guard(caller, change, make, world))


def assign(
    caller: Caller, permission_id: str, identity_id: str, world: World
) -> Transaction[Effect[Assignment | ChangeRequest]]:
    """Give the permission to an identity. See :func:`assignments.check_assign` for the refusals."""
    permission = yield from permissions.locked(caller.org_id, permission_id)
    yield from assignments.check_assign(caller, permission, identity_id)
    return (yield from _assign(caller, permission_id, identity_id, world))


def assign_to_new(caller: Caller, permission_id: str, identity_id: str, world: World) -> Transaction[tuple[str, ...]]:
    """The same for an identity that is being made, which stays whatever policies say of the assignment.

    The caller has checked that the permission may be given. Gives the ids of what was written, for the audit entry.
    """
    return (yield from _assign(caller, permission_id, identity_id, world)).entities


def _assign(
    caller: Caller, permission_id: str, identity_id: str, world: World
) -> Transaction[Effect[Assignment | ChangeRequest]]:
    org_id, assignment_id = caller.org_id, world.new_id("as")

    def make() -> Transaction[Effect[Assignment]]:
        made = yield from assignments.put(org_id, assignment_id, permission_id, identity_id, world.now())
        return Effect(made, (assignment_id, permission_id, identity_id))

    body = AssignmentTarget(id=assignment_id, permission_id=permission_id, identity_id=identity_id)
    change = Change("Permissions:Assign", "Assignment", "Create", assignment_id, body, permission_id=permission_id)
    return (yield from guard(caller, change, make, world))


def revoke(
    caller: Caller, permission_id: str, assignment_id: str, world: World, *, force: bool
) -> Transaction[Effect[ChangeRequest | None]]:
    """Take a permission away from an identity; ``force``: without the approval that a policy asks for.

    404 for an unknown assignment, and see :func:`assignments.check_revoke`.
    """
    org_id = caller.org_id
    permission = yield from permissions.locked(org_id, permission_id)
    held = yield from assignments.find(org_id, permission_id, assignment_id)
    yield from assignments.check_revoke(org_id, permission, held)

    def make() -> Transaction[Effect[None]]:
        yield from assignments.delete(org_id, assignment_id)
        return Effect(None, (assignment_id, permission_id, held.identity_id), status=204)

    body = AssignmentTarget(
        id=held.id, permission_id=permission_id, identity_id=held.identity_id, is_immutable=held.is_immutable
    )
    change = Change("Permissions:Assign", "Assignment", "Delete", held.id, body, permission_id=permission_id)
    return (yield from guard(caller, change, make, world, bypass_approval=force))


def _askers(request: ChangeRequest) -> list[str]:
    """Every identity whose rights were looked at when it was asked for."""
    by = request.requester
    return [one for one in (by.user_id, by.token_id, by.app_id) if one is not UNSET]


def _apply_to_permission(org_id: str, request: ChangeRequest, world: World) -> Transaction[Applied | Failed]:
    body = msgspec.convert(request.body, PermissionTarget)
    try:
        current = yield from permissions.locked(org_id, body.id)
        yield from permissions.require_free_name(org_id, body.name, body.id)
        if not body.is_archived:
            yield from require_still_held(org_id, _askers(request), body.operations)
    except ApiError as error:
        return Failed(error.message)
    yield from permissions.put(org_id, current, Target(body.name, tuple(body.operations), body.is_archived), world)
    return Applied((body.id,))


def _apply_to_assignment(org_id: str, request: ChangeRequest, world: World) -> Transaction[Applied | Failed]:
    body = msgspec.convert(request.body, AssignmentTarget)
    try:
        permission = yield from permissions.locked(org_id, body.permission_id)
        if request.operation_kind == "Create":
            yield from assignments.require_assignable(org_id, permission, body.identity_id)
            granted = None if permission.is_immutable else permission.operations
            yield from require_still_held(org_id, _askers(request), granted)
            yield from assignments.put(org_id, body.id, permission.id, body.identity_id, world.now())
        else:
            held = yield from assignments.find(org_id, permission.id, body.id)
            yield from assignments.check_revoke(org_id, permission, held)
            yield from assignments.delete(org_id, held.id)
    except ApiError as error:
        return Failed(error.message)
    return Applied((body.id, body.permission_id, body.identity_id))


register_change("Permission", _apply_to_permission)
register_change("Assignment", _apply_to_assignment)
