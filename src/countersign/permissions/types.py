"""Wire types of permissions and their assignments."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from countersign.api import UNSET, UnsetType, Wire
from countersign.policies import ChangeRequest

Name = Annotated[str, Meta(min_length=1, max_length=254)]
#: Names of the catalogue, or older spellings; far more than there are would be a mistake.
Operations = Annotated[list[str], Meta(min_length=1, max_length=1000)]
IdentityId = Annotated[str, Meta(min_length=1, max_length=64)]


class Permission(Wire):
    """A named set of operations; ``operations`` as they were submitted. ``status`` stays, whatever is archived."""

    id: str
    name: str
    operations: list[str]
    status: Literal["Active"] = "Active"
    is_immutable: bool
    is_archived: bool
    date_created: str
    date_updated: str


class PermissionShown(Permission):
    """The same, with the change of it that waits for an approval."""

    pending_change_request: ChangeRequest | UnsetType = UNSET


class PermissionList(Wire):
    """A page of permissions, newest first, archived ones too."""

    items: list[PermissionShown]
    next_page_token: str | UnsetType = UNSET


class PermissionTarget(Wire):
    """What a permission is to become, as a change request shows it."""

    id: str
    name: str
    status: Literal["Active"] = "Active"
    operations: list[str]
    is_immutable: bool
    is_archived: bool


class CreatePermission(Wire):
    """A new permission. Its name is unique for ever; entries that stand twice are dropped."""

    name: Name
    operations: Operations


class UpdatePermission(Wire):
    """A new name, or operations that replace the whole list, or both."""

    name: Name | UnsetType = UNSET
    operations: Operations | UnsetType = UNSET


class ArchivePermission(Wire):
    """``true``: its assignments stay and grant nothing. ``false``: they grant again."""

    is_archived: bool


class Assignment(Wire):
    """Who holds a permission: ``identityId`` is a user, a service account, a token of one or an application."""

    id: str
    permission_id: str
    identity_id: str
    is_immutable: bool
    date_created: str
    date_updated: str


class AssignmentShown(Assignment):
    """The same, with its revocation where that waits for an approval."""

    pending_change_request: ChangeRequest | UnsetType = UNSET


class AssignmentList(Wire):
    """A page of assignments, newest first. One that waits for an approval is not among them: it grants nothing yet."""

    items: list[AssignmentShown]
    next_page_token: str | UnsetType = UNSET


class AssignmentTarget(Wire):
    """What is to be assigned or revoked, as a change request shows it."""

    id: str
    permission_id: str
    identity_id: str
    is_immutable: bool = False


class CreateAssignment(Wire):
    """Whom to give the permission."""

    identity_id: IdentityId


class Revocation(Wire):
    """``force``: ``true`` (in any case) revokes at once where an approval would be asked for; a block stands."""

    force: str | UnsetType = UNSET
