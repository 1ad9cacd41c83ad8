"""Wire types of identities."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from countersign.api import UNSET, UnsetType, Wire

Name = Annotated[str, Meta(min_length=1, max_length=254)]
ExternalId = Annotated[str, Meta(min_length=1, max_length=256)]


class PermissionAssignment(Wire):
    """A permission that an identity holds, and what it grants."""

    permission_name: str
    permission_id: str
    assignment_id: str
    operations: list[str]


class UserInfo(Wire):
    """A user or service account as shown inside other objects."""

    username: str
    name: str
    user_id: str
    kind: Literal["CustomerEmployee", "EndUser"]
    credential_uuid: str
    org_id: str
    permissions: list[str]
    is_active: bool
    is_service_account: bool
    is_registered: bool
    permission_assignments: list[PermissionAssignment]


class AccessToken(Wire):
    """An access token; ``accessToken`` itself only in the answer that creates it. Absent links are ``""``."""

    access_token: str | UnsetType = UNSET
    date_created: str
    cred_id: str
    is_active: bool
    kind: Literal["Pat", "ServiceAccount", "Token", "Code", "Recovery", "Temp", "Application"]
    linked_user_id: str
    linked_app_id: str
    name: str
    org_id: str
    permission_assignments: list[PermissionAssignment]
    public_key: str
    token_id: str


class ServiceAccount(Wire):
    """A service account with its access token."""

    user_info: UserInfo
    access_tokens: list[AccessToken]


class ServiceAccountList(Wire):
    """All service accounts that are not archived, newest first."""

    items: list[ServiceAccount]


class CreateServiceAccount(Wire):
    """``publicKey``: PEM of the key that signs the account's actions. Without ``permissionId`` it may do nothing."""

    name: Name
    public_key: Annotated[str, Meta(min_length=1, max_length=4096)]
    permission_id: str | UnsetType = UNSET
    external_id: ExternalId | UnsetType = UNSET
    days_valid: Annotated[int, Meta(ge=1, le=730)] | UnsetType = UNSET


class UpdateServiceAccount(Wire):
    """A new name or correlation id."""

    name: Name | UnsetType = UNSET
    external_id: ExternalId | UnsetType = UNSET


class Force(Wire):
    """``force``: also when the account is an approver in an active policy."""

    force: bool | UnsetType = UNSET


class ForceQuery(Wire):
    """The same as a query; ``true`` and ``false`` in any case."""

    force: str | UnsetType = UNSET


class Credential(Wire):
    """A credential; ``publicKey`` is its fingerprint. ``relyingPartyId`` and ``origin`` are ``""`` for key kinds."""

    kind: Literal["Fido2", "Key", "PasswordProtectedKey", "RecoveryKey"]
    credential_id: str
    credential_uuid: str
    date_created: str
    is_active: bool
    name: str
    public_key: str
    relying_party_id: str
    origin: str


class CredentialList(Wire):
    """The caller's own credentials."""

    items: list[Credential]
