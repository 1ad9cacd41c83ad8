"""Applications: what callers can do."""

from __future__ import annotations

import hashlib

from countersign.access import applications as access
from countersign.access.keyring import KeyRing
from countersign.api import UNSET, ApiError, Call, not_found, operation, validation
from countersign.credentials import public_key
from countersign.identity import applications
from countersign.identity.application_types import (
    Application,
    ApplicationList,
    CreateApplication,
    CreateServerSideApplication,
    UpdateApplication,
)

_DAY = 86_400
#: Kinds of key that a JWS can be signed with, which is what an API signature is.
_SIGNING_KINDS = ("ed25519", "p256", "rsa")


@operation(
    "POST",
    "/auth/apps",
    permission="Auth:Apps:Create",
    signed=True,
    callers=("Token", "ServiceAccount"),
    user_kinds=("CustomerEmployee",),
)
async def create_application(call: Call, body: CreateApplication) -> Application:
    """Create an application.

    With kind `ServerSideApplication` its requests are signed with the private half of `publicKey`, and its token is in
    this answer only. Without `permissionId` it may do what its creator may do now; nobody grants what they do not hold.
    """
    signing = body if isinstance(body, CreateServerSideApplication) else None
    rp_id, origin = applications.relying_party(
        None if body.relying_party_id is UNSET else body.relying_party_id,
        None if body.origin is UNSET else body.origin,
    )
    ring = call.service(KeyRing)
    org_id, now = call.org_id, call.world.now()
    days = ring.access_token_days if signing is None or signing.days_valid is UNSET else signing.days_valid
    new = applications.NewApplication(
        name=body.name,
        rp_id=rp_id,
        origin=origin,
        public_key=None if signing is None else _signing_key(signing.public_key),
        permission_id=None if body.permission_id is UNSET else body.permission_id,
        external_id=None if body.external_id is UNSET else body.external_id,
        lifetime=days * _DAY,
        payload_hash=hashlib.sha256(call.request.canonical_body).hexdigest(),
    )

    def mint(app_id: str, token_id: str, lifetime: int) -> tuple[str, str]:
        return access.mint_secret(ring, org_id=org_id, app_id=app_id, token_id=token_id, lifetime=lifetime, now_ms=now)

    return await call.commit(lambda: applications.create(call.caller, new, mint, call.world))


def _signing_key(pem: str) -> public_key.PublicKey:
    loaded = public_key.load(pem)
    if not isinstance(loaded, public_key.PublicKey):
        raise ApiError("PUBLIC_KEY_REFUSED", f"The public key is not accepted: {loaded.reason}.")
    if loaded.kind not in _SIGNING_KINDS:
        raise ApiError("PUBLIC_KEY_REFUSED", "An application signs with RSA, P-256 or Ed25519.")
    return loaded


@operation("GET", "/auth/apps", permission="Auth:Apps:Read", user_kinds=("CustomerEmployee",))
async def list_applications(call: Call) -> ApplicationList:
    """List applications, newest first."""
    return ApplicationList(items=await call.read(lambda: applications.list_all(call.org_id)))


@operation("GET", "/auth/apps/{appId}", permission="Auth:Apps:Read", user_kinds=("CustomerEmployee",))
async def get_application(call: Call) -> Application:
    """Get an application."""
    found = await call.read(lambda: applications.get(call.org_id, call.params["appId"]))
    if found is None:
        raise not_found("application")
    return found


@operation(
    "PUT",
    "/auth/apps/{appId}",
    permission="Auth:Apps:Update",
    signed=True,
    callers=("Token", "ServiceAccount"),
    user_kinds=("CustomerEmployee",),
)
async def update_application(call: Call, body: UpdateApplication) -> Application:
    """Rename an application, or set its `externalId`."""
    return await _update(call, body)


@operation(
    "POST",
    "/auth/apps/{appId}",
    permission="Auth:Apps:Update",
    signed=True,
    callers=("Token", "ServiceAccount"),
    user_kinds=("CustomerEmployee",),
)
async def update_application_by_post(call: Call, body: UpdateApplication) -> Application:
    """Rename an application, or set its `externalId`: the method that clients of 2024 send."""
    return await _update(call, body)


async def _update(call: Call, body: UpdateApplication) -> Application:
    name = None if body.name is UNSET else body.name
    external_id = None if body.external_id is UNSET else body.external_id
    if name is None and external_id is None:
        raise validation("", "name or externalId must be given")
    return await call.commit(lambda: applications.update(call.org_id, call.params["appId"], name, external_id))


@operation(
    "PUT",
    "/auth/apps/{appId}/activate",
    permission="Auth:Apps:Update",
    signed=True,
    callers=("Token", "ServiceAccount"),
    user_kinds=("CustomerEmployee",),
)
async def activate_application(call: Call) -> Application:
    """Activate an application; requests may name it again, and its token works again."""
    return await call.commit(lambda: applications.set_state(call.org_id, call.params["appId"], "Active"))


@operation(
    "PUT",
    "/auth/apps/{appId}/deactivate",
    permission="Auth:Apps:Update",
    signed=True,
    callers=("Token", "ServiceAccount"),
    user_kinds=("CustomerEmployee",),
)
async def deactivate_application(call: Call) -> Application:
    """Deactivate an application: requests that name it are refused. Sessions go on without it."""
    _require_another(call)
    return await call.commit(lambda: applications.set_state(call.org_id, call.params["appId"], "Inactive"))


@operation(
    "DELETE",
    "/auth/apps/{appId}",
    permission="Auth:Apps:Update",
    signed=True,
    callers=("Token", "ServiceAccount"),
    user_kinds=("CustomerEmployee",),
)
async def archive_application(call: Call) -> Application:
    """Archive an application for good, with its token."""
    _require_another(call)
    return await call.commit(lambda: applications.archive(call.org_id, call.params["appId"]))


def _require_another(call: Call) -> None:
    if call.request.headers.get("x-dfns-appid") == call.params["appId"]:
        raise ApiError("APP_SELF_STATE")
