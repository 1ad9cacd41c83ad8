"""Service accounts: what callers can do."""

from __future__ import annotations

import hashlib
from functools import partial

from countersign.access import keyring
from countersign.access.keyring import KeyRing
from countersign.api import UNSET, ApiError, Call, Effect, not_found, operation, validation
from countersign.credentials import public_key
from countersign.identity import service_accounts
from countersign.identity.types import (
    CreateServiceAccount,
    Force,
    ForceQuery,
    ServiceAccount,
    ServiceAccountList,
    UpdateServiceAccount,
)
from countersign.storage import Transaction

_DAY = 86_400


@operation(
    "POST",
    "/auth/service-accounts",
    permission="Auth:ServiceAccounts:Create",
    signed=True,
    callers=("Token",),
    user_kinds=("CustomerEmployee",),
)
async def create_service_account(call: Call, body: CreateServiceAccount) -> ServiceAccount:
    """Create a service account.

    The access token is in this answer only. Without `permissionId` the account may do nothing; with it the
    caller needs `Permissions:Assign` and must hold every operation that the permission grants.
    """
    loaded = public_key.load(body.public_key)
    if not isinstance(loaded, public_key.PublicKey):
        raise ApiError("PUBLIC_KEY_REFUSED", f"The public key is not accepted: {loaded.reason}.")
    ring = call.service(KeyRing)
    org_id, now = call.org_id, call.world.now()

    def mint(token_id: str, user_id: str, username: str, lifetime: int) -> tuple[str, str]:
        return keyring.mint(
            ring,
            org_id=org_id,
            user_id=user_id,
            username=username,
            token_id=token_id,
            kind="ServiceAccount",
            lifetime=lifetime,
            now_ms=now,
        )

    new = service_accounts.NewServiceAccount(
        name=body.name,
        public_key=loaded,
        permission_id=None if body.permission_id is UNSET else body.permission_id,
        external_id=None if body.external_id is UNSET else body.external_id,
        lifetime=(ring.access_token_days if body.days_valid is UNSET else body.days_valid) * _DAY,
        payload_hash=hashlib.sha256(call.request.canonical_body).hexdigest(),
    )
    return await call.commit(
        lambda: service_accounts.create(call.caller, new, mint, keyring.insert_service_account_token, call.world)
    )


@operation("GET", "/auth/service-accounts", permission="Auth:ServiceAccounts:Read", user_kinds=("CustomerEmployee",))
async def list_service_accounts(call: Call) -> ServiceAccountList:
    """List service accounts, newest first."""
    return ServiceAccountList(items=await call.read(lambda: service_accounts.list_all(call.org_id)))


@operation(
    "GET",
    "/auth/service-accounts/{serviceAccountId}",
    permission="Auth:ServiceAccounts:Read",
    user_kinds=("CustomerEmployee",),
)
async def get_service_account(call: Call) -> ServiceAccount:
    """Get a service account."""
    account = await call.read(lambda: service_accounts.get(call.org_id, call.params["serviceAccountId"]))
    if account is None:
        raise not_found("service account")
    return account


@operation(
    "PUT",
    "/auth/service-accounts/{serviceAccountId}",
    permission="Auth:ServiceAccounts:Update",
    signed=True,
    callers=("Token", "ServiceAccount"),
    user_kinds=("CustomerEmployee",),
)
async def update_service_account(call: Call, body: UpdateServiceAccount) -> ServiceAccount:
    """Rename a service account, or set its `externalId`."""
    name = None if body.name is UNSET else body.name
    external_id = None if body.external_id is UNSET else body.external_id
    if name is None and external_id is None:
        raise validation("", "name or externalId must be given")
    return await call.commit(
        lambda: service_accounts.update(call.org_id, call.params["serviceAccountId"], name, external_id),
        hold_caller=True,
    )


@operation(
    "PUT",
    "/auth/service-accounts/{serviceAccountId}/activate",
    permission="Auth:ServiceAccounts:Activate",
    signed=True,
    callers=("Token", "ServiceAccount"),
    user_kinds=("CustomerEmployee",),
)
async def activate_service_account(call: Call) -> ServiceAccount:
    """Activate a service account; its token and key work again."""
    return await call.commit(partial(_set_active, call, active=True), hold_caller=True)


@operation(
    "PUT",
    "/auth/service-accounts/{serviceAccountId}/deactivate",
    permission="Auth:ServiceAccounts:Deactivate",
    signed=True,
    callers=("Token", "ServiceAccount"),
    user_kinds=("CustomerEmployee",),
)
async def deactivate_service_account(call: Call, body: Force) -> ServiceAccount:
    """Deactivate a service account: its token is refused from the next request on."""
    return await call.commit(partial(_set_active, call, active=False), hold_caller=True)


def _set_active(call: Call, *, active: bool) -> Transaction[Effect[ServiceAccount]]:
    return service_accounts.set_active(call.org_id, call.params["serviceAccountId"], active=active)


@operation(
    "DELETE",
    "/auth/service-accounts/{serviceAccountId}",
    permission="Auth:ServiceAccounts:Delete",
    signed=True,
    callers=("Token", "ServiceAccount"),
    user_kinds=("CustomerEmployee",),
)
async def delete_service_account(call: Call, query: ForceQuery) -> ServiceAccount:
    """Archive a service account for good."""
    if query.force is not UNSET and query.force.lower() not in ("true", "false"):
        raise validation("force", "expected true or false")
    return await call.commit(
        lambda: service_accounts.archive(call.org_id, call.params["serviceAccountId"]), hold_caller=True
    )
