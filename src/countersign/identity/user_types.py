"""Wire types of people and their personal access tokens."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from countersign.api import UNSET, Page, UnsetType, Wire
from countersign.identity.types import AccessToken, ExternalId, Name, PermissionAssignment

MAXIMUM_DAYS = 730
SECONDS_OF_DAY = 86_400


class User(Wire):
    """A person. ``credentialUuid`` is that of the first active credential, ``""`` before registration."""

    username: str
    name: str
    user_id: str
    kind: Literal["CustomerEmployee", "EndUser"]
    credential_uuid: str
    credential_id: str | UnsetType = UNSET
    org_id: str
    permissions: list[str]
    is_active: bool
    is_service_account: bool
    is_registered: bool
    # The abbreviation stays in capitals on the wire.
    is_sso_required: bool = msgspec.field(name="isSSORequired")
    permission_assignments: list[PermissionAssignment]


class UserList(Wire):
    """A page of people, newest first."""

    items: list[User]
    next_page_token: str | UnsetType = UNSET


class ListUsers(Page):
    """``kind``: only people of these kinds."""

    kind: list[Literal["CustomerEmployee", "EndUser", "TenantUser"]] | UnsetType = UNSET


class CreateUser(Wire):
    """A new person. ``email`` becomes the username: a mail address for employees, any unique text for end users.

    ``registration``: ``Direct`` (by code, employees only, their default) or ``Delegated`` (by a service account, the
    default for end users). ``publicKey`` is accepted and means nothing.
    """

    email: Name
    kind: Literal["CustomerEmployee", "EndUser"]
    public_key: str | UnsetType = UNSET
    external_id: ExternalId | UnsetType = UNSET
    is_sso_required: bool | UnsetType = msgspec.field(name="isSSORequired", default=UNSET)
    registration: Literal["Direct", "Delegated"] | UnsetType = UNSET


class UpdateUser(Wire):
    """Whether the person must sign in through the organisation's identity provider."""

    is_sso_required: bool = msgspec.field(name="isSSORequired")


class CreatePersonalAccessToken(Wire):
    """``publicKey``: PEM of the key that signs the token's actions. Without ``permissionId`` it may do nothing.

    ``secondsValid`` wins over ``daysValid``.
    """

    name: Name
    public_key: Annotated[str, Meta(min_length=1, max_length=4096)]
    permission_id: str | UnsetType = UNSET
    external_id: ExternalId | UnsetType = UNSET
    days_valid: Annotated[int, Meta(ge=1, le=MAXIMUM_DAYS)] | UnsetType = UNSET
    seconds_valid: Annotated[int, Meta(ge=1, le=MAXIMUM_DAYS * SECONDS_OF_DAY)] | UnsetType = UNSET


class UpdatePersonalAccessToken(Wire):
    """A new name or correlation id."""

    name: Name | UnsetType = UNSET
    external_id: ExternalId | UnsetType = UNSET


class PersonalAccessTokenList(Wire):
    """The caller's tokens that are not archived, newest first."""

    items: list[AccessToken]
