"""Permissions: what callers can do."""

from __future__ import annotations

from countersign.api import UNSET, Call, Effect, Page, operation, page_request, validation
from countersign.permissions import changes, listing, permissions
from countersign.permissions.types import (
    ArchivePermission,
    Assignment,
    AssignmentList,
    CreateAssignment,
    CreatePermission,
    Permission,
    PermissionList,
    PermissionShown,
    Revocation,
    UpdatePermission,
)
from countersign.policies import ChangeRequest
from countersign.storage import Transaction


@operation("POST", "/permissions", permission="Permissions:Create", signed=True, user_kinds=("CustomerEmployee",))
async def create_permission(call: Call, body: CreatePermission) -> Permission:
    """Create a permission.

    Nobody can put an operation into it that they do not hold. The name is unique for ever. No policy guards creation.
    """
    permissions.check_name(body.name)
    operations = permissions.check_operations(body.operations)

    def create() -> Transaction[Effect[Permission]]:
        made = yield from permissions.create(call.caller, body.name, operations, call.world)
        return Effect(made, (made.id,))

    return await call.commit(create)


@operation("GET", "/permissions", permission="Permissions:Read", user_kinds=("CustomerEmployee",))
async def list_permissions(call: Call, query: Page) -> PermissionList:
    """List permissions, newest first, archived ones too."""
    page = page_request(query, f"{call.org_id}/permissions")
    items, token = await call.read(lambda: listing.list_permissions(call.org_id, page))
    return PermissionList(items=items, next_page_token=UNSET if token is None else token)


@operation("GET", "/permissions/{permissionId}", permission="Permissions:Read", user_kinds=("CustomerEmployee",))
async def get_permission(call: Call) -> PermissionShown:
    """Get a permission."""
    return await call.read(lambda: listing.get_permission(call.org_id, call.params["permissionId"]))


@operation(
    "PUT",
    "/permissions/{permissionId}",
    permission="Permissions:Update",
    signed=True,
    user_kinds=("CustomerEmployee",),
)
async def update_permission(call: Call, body: UpdatePermission) -> Permission | ChangeRequest:
    """Rename a permission, or replace its operations.

    It counts from the next request on of whoever holds the permission. Where a policy asks for an approval, the answer
    is 202 with a change request.
    """
    name = None if body.name is UNSET else body.name
    if name is None and body.operations is UNSET:
        raise validation("", "name or operations must be given")
    if name is not None:
        permissions.check_name(name)
    operations = None if body.operations is UNSET else permissions.check_operations(body.operations)
    wanted = changes.Update(name, operations)
    return await call.commit(lambda: changes.update(call.caller, call.params["permissionId"], wanted, call.world))


@operation(
    "PUT",
    "/permissions/{permissionId}/archive",
    permission="Permissions:Delete",
    signed=True,
    user_kinds=("CustomerEmployee",),
)
async def archive_permission(call: Call, body: ArchivePermission) -> Permission | ChangeRequest:
    """Archive a permission, or restore it.

    Its assignments stay: while it is archived they grant nothing. Where a policy asks for an approval, the answer is
    202 with a change request.
    """
    return await call.commit(
        lambda: changes.archive(call.caller, call.params["permissionId"], call.world, is_archived=body.is_archived)
    )


@operation(
    "POST",
    "/permissions/{permissionId}/assignments",
    permission="Permissions:Assign",
    signed=True,
    user_kinds=("CustomerEmployee",),
)
async def assign_permission(call: Call, body: CreateAssignment) -> Assignment | ChangeRequest:
    """Give a permission to a user, a service account, an access token or an application.

    Nobody gives what they do not hold. Where a policy asks for an approval, the answer is 202 with a change request.
    """
    return await call.commit(
        lambda: changes.assign(call.caller, call.params["permissionId"], body.identity_id, call.world)
    )


@operation(
    "GET",
    "/permissions/{permissionId}/assignments",
    permission="Permissions:Assignments:Read",
    user_kinds=("CustomerEmployee",),
)
async def list_assignments(call: Call, query: Page) -> AssignmentList:
    """List who holds a permission, newest first."""
    permission_id = call.params["permissionId"]
    page = page_request(query, f"{call.org_id}/permissions/{permission_id}/assignments")
    items, token = await call.read(lambda: listing.list_assignments(call.org_id, permission_id, page))
    return AssignmentList(items=items, next_page_token=UNSET if token is None else token)


@operation(
    "DELETE",
    "/permissions/{permissionId}/assignments/{assignmentId}",
    permission="Permissions:Revoke",
    signed=True,
    user_kinds=("CustomerEmployee",),
)
async def revoke_permission(call: Call, query: Revocation) -> ChangeRequest | None:
    """Take a permission away from who holds it; the last administrator keeps full access.

    Where a policy asks for an approval, the answer is 202 with a change request, unless `force` is true.
    """
    force = "false" if query.force is UNSET else query.force.lower()
    if force not in ("true", "false"):
        raise validation("force", "expected true or false")
    return await call.commit(
        lambda: changes.revoke(
            call.caller,
            call.params["permissionId"],
            call.params["assignmentId"],
            call.world,
            force=force == "true",
        )
    )
