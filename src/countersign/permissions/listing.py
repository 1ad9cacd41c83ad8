"""Permissions and assignments as they are read, with the changes that wait for an approval."""

from __future__ import annotations

from msgspec import structs

from countersign.api import UNSET, PageRequest, not_found
from countersign.permissions import assignments, permissions, store
from countersign.permissions.types import AssignmentShown, PermissionShown
from countersign.policies import ChangeRequest, pending_among
from countersign.storage import Transaction
from countersign.storage.pagination import page_of


def get_permission(org_id: str, permission_id: str) -> Transaction[PermissionShown]:
    """One permission, archived or not. Raises 404."""
    stored = yield from permissions.find(org_id, permission_id)
    if stored is None:
        raise not_found("permission")
    waiting = yield from pending_among(org_id, [permission_id])
    return _permission(stored, waiting.get(permission_id))


def list_permissions(org_id: str, page: PageRequest) -> Transaction[tuple[list[PermissionShown], str | None]]:
    """A page of the organisation's permissions, newest first, archived ones too."""
    rows = yield store.LIST_PERMISSIONS, (org_id, page.before, page.limit + 1)
    shown, token = page_of([permissions.read(row) for row in rows], page.limit, page.scope, lambda each: each.id)
    waiting = yield from pending_among(org_id, [each.id for each in shown])
    return [_permission(each, waiting.get(each.id)) for each in shown], token


def list_assignments(
    org_id: str, permission_id: str, page: PageRequest
) -> Transaction[tuple[list[AssignmentShown], str | None]]:
    """A page of the assignments of one permission, newest first. Raises 404."""
    if (yield from permissions.find(org_id, permission_id)) is None:
        raise not_found("permission")
    rows = yield store.LIST_ASSIGNMENTS, (org_id, permission_id, page.before, page.limit + 1)
    shown, token = page_of([assignments.read(row) for row in rows], page.limit, page.scope, lambda each: each.id)
    waiting = yield from pending_among(org_id, [each.id for each in shown])
    return [_assignment(each, waiting.get(each.id)) for each in shown], token


def _permission(stored: permissions.Stored, waiting: ChangeRequest | None) -> PermissionShown:
    return PermissionShown(**structs.asdict(stored.wire), pending_change_request=UNSET if waiting is None else waiting)


def _assignment(held: assignments.Held, waiting: ChangeRequest | None) -> AssignmentShown:
    return AssignmentShown(**structs.asdict(held.wire), pending_change_request=UNSET if waiting is None else waiting)
