"""Keys and signatures: what callers can do."""

from __future__ import annotations

from countersign.api import UNSET, ApiError, Call, Page, not_found, operation, page_request
from countersign.keys import keys, signatures
from countersign.keys.service import Keys
from countersign.keys.signing import SUPPORTED, Unsupported, to_sign
from countersign.keys.types import (
    CreateKey,
    CreateSignature,
    Key,
    KeyDetail,
    KeyList,
    ListKeys,
    SignatureList,
    SignatureRequest,
    UpdateKey,
)


@operation("POST", "/keys", permission="Keys:Create", signed=True)
async def create_key(call: Call, body: CreateKey) -> Key:
    """Create a key in a key store."""
    if call.caller.sees_only_delegated:
        # It would belong to the end user, and keys cannot be delegated yet.
        raise ApiError("KEY_UNSUPPORTED", "keys of end users are not supported by this server")
    if (body.scheme, body.curve) not in SUPPORTED:
        offered = ", ".join(sorted(f"{scheme}/{curve}" for scheme, curve in SUPPORTED))
        raise ApiError("KEY_UNSUPPORTED", f"{body.scheme} with {body.curve} is not supported; supported: {offered}")
    for member, value in (
        ("masterKey", body.master_key is True),
        ("deriveFrom", body.derive_from is not UNSET),
        ("delegateTo", body.delegate_to is not UNSET),
        ("delayDelegation", body.delay_delegation is True),
    ):
        if value:
            raise ApiError("KEY_UNSUPPORTED", f"{member} is not supported by this server")
    service = call.service(Keys)
    if body.store_id is not UNSET and body.store_id != service.store_id:
        raise not_found("key store")
    return await service.create(call, body.scheme, body.curve, None if body.name is UNSET else body.name)


@operation("GET", "/keys", permission="Keys:Read")
async def list_keys(call: Call, query: ListKeys) -> KeyList:
    """List keys, newest first."""
    page = page_request(query, f"{call.org_id}/keys")
    if query.owner is not UNSET or call.caller.sees_only_delegated:
        # No key can be delegated yet.
        return KeyList(items=[])
    items, token = await call.read(lambda: keys.list_page(call.org_id, page))
    return KeyList(items=items, next_page_token=UNSET if token is None else token)


@operation("GET", "/keys/{keyId}", permission="Keys:Read")
async def get_key(call: Call) -> KeyDetail:
    """Get a key with its store and wallets."""
    key_id = visible_key(call)
    found = await call.read(lambda: keys.get(call.org_id, key_id))
    if found is None:
        raise not_found("key")
    return found


@operation("PUT", "/keys/{keyId}", permission="Keys:Update", signed=True)
async def update_key(call: Call, body: UpdateKey) -> Key:
    """Rename a key; `null` clears the name."""
    key_id = visible_key(call)
    return await call.commit(lambda: keys.rename(call.org_id, key_id, body.name))


@operation("DELETE", "/keys/{keyId}", permission="Keys:Delete", signed=True, user_kinds=("CustomerEmployee",))
async def delete_key(call: Call) -> Key:
    """Archive a key for good: it signs nothing from then on."""
    return await call.commit(lambda: keys.archive(call.org_id, call.params["keyId"], call.world.now()))


@operation("POST", "/keys/{keyId}/signatures", permission="Keys:Signatures:Create", signed=True)
async def generate_signature(call: Call, body: CreateSignature) -> SignatureRequest:
    """Sign a digest, or with an EdDSA key a message.

    The answer already holds the signature. A repeated `externalId` with the same body answers the first request.
    """
    service = call.service(Keys)
    key_id = visible_key(call)
    key = await call.read(lambda: keys.to_sign_with(call.org_id, key_id))
    if key is None:
        raise not_found("key")
    wanted = to_sign(body, key.scheme)
    if isinstance(wanted, Unsupported):
        raise ApiError("SIGNATURE_KIND_UNSUPPORTED", wanted.reason)
    external_id = None if body.external_id is UNSET else body.external_id
    return await service.sign(call, key, wanted, external_id)


@operation("GET", "/keys/{keyId}/signatures", permission="Keys:Signatures:Read")
async def list_signatures(call: Call, query: Page) -> SignatureList:
    """List the signature requests of a key, newest first."""
    key_id = visible_key(call)
    page = page_request(query, f"{call.org_id}/signatures/{key_id}")
    found = await call.read(lambda: signatures.list_page(call.org_id, key_id, page))
    if found is None:
        raise not_found("key")
    items, token = found
    return SignatureList(key_id=key_id, items=items, next_page_token=UNSET if token is None else token)


@operation("GET", "/keys/{keyId}/signatures/{signatureId}", permission="Keys:Signatures:Read")
async def get_signature(call: Call) -> SignatureRequest:
    """Get a signature request."""
    key_id = visible_key(call)
    found = await call.read(lambda: signatures.get(call.org_id, key_id, call.params["signatureId"]))
    if found is None:
        raise not_found("signature request")
    return found


def visible_key(call: Call) -> str:
    """The id of the key that the path names.

    404 for a caller who sees only what is delegated to it: no key can be yet.
    """
    if call.caller.sees_only_delegated:
        raise not_found("key")
    return call.params["keyId"]
