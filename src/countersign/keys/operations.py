"""Keys and signatures: what callers can do. More of keys is in ``custody_operations``."""

from __future__ import annotations

from countersign import policies
from countersign.api import UNSET, ApiError, Call, Page, not_found, operation, page_request
from countersign.identity.end_users import find_user
from countersign.keys import creation, keys, signatures, telling
from countersign.keys.holds import SignatureRequests
from countersign.keys.ownership import require_visible
from countersign.keys.records import SignatureRecords
from countersign.keys.service import Keys
from countersign.keys.signing import Unsupported, to_sign
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

policies.register(signatures.ENTITY_KIND, SignatureRequests())
policies.register_signing(signatures.ENTITY_KIND, SignatureRecords())


@operation("POST", "/keys", permission="Keys:Create", signed=True)
async def create_key(call: Call, body: CreateKey) -> Key:
    """Create a key in a key store; with `deriveFrom` (and `Keys:ChildKeys:Create`) below a master key.

    A key that an end user creates belongs to that user.
    """
    return await creation.create(call.service(Keys), call, body)


@operation("GET", "/keys", permission="Keys:Read")
async def list_keys(call: Call, query: ListKeys) -> KeyList:
    """List keys, newest first; `owner` (id or username) those delegated to this user. End users see their own."""
    org_id, caller = call.org_id, call.caller
    owner = caller.user_id if caller.sees_only_delegated else None
    if query.owner is not UNSET:
        named = query.owner
        found = await call.read(lambda: find_user(org_id, named))
        if found is None or owner not in (None, found):
            return KeyList(items=[])
        owner = found
    page = page_request(query, f"{org_id}/keys" if owner is None else f"{org_id}/keys/{owner}")
    items, token = await call.read(lambda: keys.list_page(org_id, owner, page))
    return KeyList(items=items, next_page_token=UNSET if token is None else token)


@operation("GET", "/keys/{keyId}", permission="Keys:Read")
async def get_key(call: Call) -> KeyDetail:
    """Get a key with its store and wallets."""
    return await call.read(lambda: keys.get(call.caller, call.params["keyId"]))


@operation("PUT", "/keys/{keyId}", permission="Keys:Update", signed=True)
async def update_key(call: Call, body: UpdateKey) -> Key:
    """Rename a key; `null` clears the name."""
    key_id = await visible_key(call)
    return await call.commit(lambda: keys.rename(call.org_id, key_id, body.name))


@operation("DELETE", "/keys/{keyId}", permission="Keys:Delete", signed=True, user_kinds=("CustomerEmployee",))
async def delete_key(call: Call) -> Key:
    """Archive a key for good: it signs nothing from then on."""
    return await call.commit(lambda: telling.archived(call.org_id, call.params["keyId"], call.world))


@operation("POST", "/keys/{keyId}/signatures", permission="Keys:Signatures:Create", signed=True)
async def generate_signature(call: Call, body: CreateSignature) -> SignatureRequest:
    """Sign a digest, or with an EdDSA key a message.

    The answer already holds the signature, unless a policy makes the request wait for an approval. A repeated
    `externalId` with the same body answers the first request.
    """
    service = call.service(Keys)
    key_id = await visible_key(call)
    key = await call.read(lambda: keys.to_sign_with(call.org_id, key_id))
    if key is None:
        raise await _without_record(call, key_id)
    wanted = to_sign(body, key.scheme, key.curve)
    if isinstance(wanted, Unsupported):
        raise ApiError("SIGNATURE_KIND_UNSUPPORTED", wanted.reason)
    external_id = None if body.external_id is UNSET else body.external_id
    return await service.sign(call, key, wanted, external_id)


@operation("GET", "/keys/{keyId}/signatures", permission="Keys:Signatures:Read")
async def list_signatures(call: Call, query: Page) -> SignatureList:
    """List the signature requests of a key, newest first."""
    key_id = await visible_key(call)
    page = page_request(query, f"{call.org_id}/signatures/{key_id}")
    found = await call.read(lambda: signatures.list_page(call.org_id, key_id, page))
    if found is None:
        raise not_found("key")
    items, token = found
    return SignatureList(key_id=key_id, items=items, next_page_token=UNSET if token is None else token)


@operation("GET", "/keys/{keyId}/signatures/{signatureId}", permission="Keys:Signatures:Read")
async def get_signature(call: Call) -> SignatureRequest:
    """Get a signature request."""
    key_id = await visible_key(call)
    found = await call.read(lambda: signatures.get(call.org_id, key_id, call.params["signatureId"]))
    if found is None:
        raise not_found("signature request")
    return found


async def visible_key(call: Call) -> str:
    """The id of the key that the path names; 404 for an end user whose key it is not."""
    key_id = call.params["keyId"]
    if call.caller.sees_only_delegated:
        require_visible(await call.read(lambda: keys.stored(call.org_id, key_id)), call.caller)
    return key_id


async def _without_record(call: Call, key_id: str) -> ApiError:
    """What is said of a key whose record is not there: it was destroyed, or never was."""
    known = await call.read(lambda: keys.stored(call.org_id, key_id))
    return not_found("key") if known is None else ApiError("KEY_ARCHIVED")
