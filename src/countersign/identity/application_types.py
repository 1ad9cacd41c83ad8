"""Wire types of applications."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from countersign.api import UNSET, UnsetType, Wire
from countersign.identity.types import AccessToken, ExternalId, Name, PermissionAssignment

ApplicationKind = Literal["ClientSideApplication", "ServerSideApplication"]
HostName = Annotated[str, Meta(min_length=1, max_length=253)]
Origin = Annotated[str, Meta(min_length=1, max_length=513)]


class Application(Wire):
    """An application; ``expectedRpId`` and ``expectedOrigin`` where it has a relying party of its own."""

    app_id: str
    kind: ApplicationKind
    org_id: str
    expected_rp_id: str | UnsetType = UNSET
    expected_origin: str | UnsetType = UNSET
    name: str
    is_active: bool
    permission_assignments: list[PermissionAssignment]
    access_tokens: list[AccessToken]


class ApplicationList(Wire):
    """All applications that are not archived, newest first."""

    items: list[Application]


class CreateClientSideApplication(Wire, tag_field="kind", tag="ClientSideApplication"):
    """``relyingPartyId`` is a host name and ``origin`` a web origin on that host or below it; both or neither.

    Without ``permissionId`` the application gets the permissions of whoever creates it.
    """

    name: Name
    relying_party_id: HostName | UnsetType = UNSET
    origin: Origin | UnsetType = UNSET
    permission_id: str | UnsetType = UNSET
    external_id: ExternalId | UnsetType = UNSET


class CreateServerSideApplication(Wire, tag_field="kind", tag="ServerSideApplication"):
    """The same for an application that signs its requests with the private half of ``publicKey`` (PEM)."""

    name: Name
    relying_party_id: HostName | UnsetType = UNSET
    origin: Origin | UnsetType = UNSET
    permission_id: str | UnsetType = UNSET
    external_id: ExternalId | UnsetType = UNSET
    public_key: Annotated[str, Meta(min_length=1, max_length=4096)]
    days_valid: Annotated[int, Meta(ge=1, le=730)] | UnsetType = UNSET


CreateApplication = CreateClientSideApplication | CreateServerSideApplication


class UpdateApplication(Wire):
    """A new name or correlation id."""

    name: Name | UnsetType = UNSET
    external_id: ExternalId | UnsetType = UNSET
