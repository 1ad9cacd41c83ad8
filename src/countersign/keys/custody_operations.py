"""Key stores, and what becomes of keys: what callers can do."""

from __future__ import annotations

from countersign.api import Call, operation
from countersign.keys import custody, keys
from countersign.keys.service import Keys
from countersign.keys.types import (
    Delegated,
    DelegateKey,
    Derived,
    DeriveOutput,
    DestroyedKey,
    DestroyKey,
    KeyStoreList,
)


@operation("GET", "/key-stores", permission="KeyStores:Read")
async def list_key_stores(call: Call) -> KeyStoreList:
    """List the key stores that `storeId` of a new key can name."""
    return KeyStoreList(items=await call.read(keys.list_stores))


@operation("POST", "/keys/{keyId}/delegate", permission="Keys:Delegate", signed=True, user_kinds=("CustomerEmployee",))
async def delegate_key(call: Call, body: DelegateKey) -> Delegated:
    """Delegate a key that was made with `delayDelegation` to an end user, for good.

    From then on only the end user uses the key.
    """
    return await call.commit(lambda: custody.delegate(call.caller, call.params["keyId"], body.delegate_to, call.world))


@operation("POST", "/keys/{keyId}/derive", permission="Keys:Vrf:Derive", signed=True)
async def derive_key(call: Call, body: DeriveOutput) -> Derived:
    """Derive 32 bytes from a DH key, a domain and a seed; the same three give the same bytes.

    The seed is hashed to a point of secp256k1 (RFC 9380, `secp256k1_XMD:SHA-256_SSWU_RO_`, with the domain as tag),
    which is multiplied with the key; the output is SHA-256 of the compressed product.
    """
    return await custody.derive(call.service(Keys), call, call.params["keyId"], body)


@operation("POST", "/keys/{keyId}/destroy", permission="Keys:Delete", signed=True, user_kinds=("CustomerEmployee",))
async def destroy_key(call: Call, body: DestroyKey) -> DestroyedKey:
    """Destroy the private part of a key that has been archived for long enough; nothing brings it back.

    The body repeats the public key. Backups keep their copies until they expire.
    """
    return await custody.destroy(call.service(Keys), call, call.params["keyId"], body.public_key)
