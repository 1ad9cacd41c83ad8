"""Personal access tokens: what callers can do, each with their own and nobody else's."""

from __future__ import annotations

import hashlib

from countersign.access import keyring
from countersign.access.keyring import KeyRing
from countersign.api import UNSET, ApiError, Call, not_found, operation, validation
from countersign.credentials import public_key
from countersign.identity import pats
from countersign.identity.types import AccessToken
from countersign.identity.user_types import (
    SECONDS_OF_DAY,
    CreatePersonalAccessToken,
    PersonalAccessTokenList,
    UpdatePersonalAccessToken,
)


@operation("POST", "/auth/pats", permission="Auth:Pats:Create", signed=True, callers=("Token",))
async def create_personal_access_token(call: Call, body: CreatePersonalAccessToken) -> AccessToken:
    """Create a personal access token.

    The token itself is in this answer only. It may do what its permission and the user's own both grant; without
    `permissionId` nothing that needs a permission. Nobody can name a permission that grants more than they hold.
    """
    loaded = public_key.load(body.public_key)
    if not isinstance(loaded, public_key.PublicKey):
        raise ApiError("PUBLIC_KEY_REFUSED", f"The public key is not accepted: {loaded.reason}.")
    ring = call.service(KeyRing)
    now = call.world.now()
    days = ring.access_token_days if body.days_valid is UNSET else body.days_valid
    new = pats.NewToken(
        name=body.name,
        public_key=loaded,
        permission_id=None if body.permission_id is UNSET else body.permission_id,
        external_id=None if body.external_id is UNSET else body.external_id,
        lifetime=days * SECONDS_OF_DAY if body.seconds_valid is UNSET else body.seconds_valid,
        payload_hash=hashlib.sha256(call.request.canonical_body).hexdigest(),
    )

    def mint(token_id: str, lifetime: int) -> tuple[str, str]:
        return keyring.mint(
            ring,
            org_id=call.org_id,
            user_id=call.caller.user_id,
            username=call.caller.username,
            token_id=token_id,
            kind="Pat",
            lifetime=lifetime,
            now_ms=now,
        )

    return await call.commit(lambda: pats.create(call.caller, new, mint, call.world), hold_caller=True)


@operation("GET", "/auth/pats")
async def list_personal_access_tokens(call: Call) -> PersonalAccessTokenList:
    """List the caller's personal access tokens, newest first."""
    return PersonalAccessTokenList(items=await call.read(lambda: pats.list_all(call.org_id, call.caller.user_id)))


@operation("GET", "/auth/pats/{tokenId}")
async def get_personal_access_token(call: Call) -> AccessToken:
    """Get a personal access token of the caller."""
    token = await call.read(lambda: pats.get(call.org_id, call.caller.user_id, call.params["tokenId"]))
    if token is None:
        raise not_found("personal access token")
    return token


@operation("PUT", "/auth/pats/{tokenId}", signed=True, callers=("Token", "ServiceAccount"))
async def update_personal_access_token(call: Call, body: UpdatePersonalAccessToken) -> AccessToken:
    """Rename a personal access token, or set its `externalId`."""
    name = None if body.name is UNSET else body.name
    external_id = None if body.external_id is UNSET else body.external_id
    if name is None and external_id is None:
        raise validation("", "name or externalId must be given")
    return await call.commit(
        lambda: pats.update(call.org_id, call.caller.user_id, call.params["tokenId"], name, external_id),
        hold_caller=True,
    )


@operation("PUT", "/auth/pats/{tokenId}/activate", signed=True, callers=("Token", "ServiceAccount"))
async def activate_personal_access_token(call: Call) -> AccessToken:
    """Activate a personal access token."""
    return await call.commit(
        lambda: pats.set_state(call.org_id, call.caller.user_id, call.params["tokenId"], "Active"), hold_caller=True
    )


@operation("PUT", "/auth/pats/{tokenId}/deactivate", signed=True)
async def deactivate_personal_access_token(call: Call) -> AccessToken:
    """Deactivate a personal access token: it is refused from the next request on, and its key signs nothing."""
    return await call.commit(
        lambda: pats.set_state(call.org_id, call.caller.user_id, call.params["tokenId"], "Inactive"),
        hold_caller=True,
    )


@operation("DELETE", "/auth/pats/{tokenId}", signed=True)
async def delete_personal_access_token(call: Call) -> AccessToken:
    """Archive a personal access token and its key for good."""
    return await call.commit(
        lambda: pats.archive(call.org_id, call.caller.user_id, call.params["tokenId"]), hold_caller=True
    )
