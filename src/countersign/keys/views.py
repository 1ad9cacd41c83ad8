"""Rows to wire objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from countersign.api import UNSET, UnsetType
from countersign.encoding.dates import to_iso
from countersign.keys.rows import StoredKey
from countersign.keys.types import (
    DerivedFrom,
    DestroyedKey,
    Key,
    KeyDetail,
    KeyStore,
    KeyStoreReference,
    Requester,
    SignatureParts,
    SignatureRequest,
    StoreKind,
)
from countersign.storage import Row

#: How the API names the kinds of stores that are configured here.
STORE_KINDS: Mapping[str, StoreKind] = {
    "sealed": "Mpc",
    "threshold": "Mpc",
    "pkcs11": "Hsm",
    "kms": "Hsm",
    "offline": "OfflineSigner",
}


def key(stored: StoredKey) -> Key:
    """A key as lists show it."""
    return Key(**_members(stored))


def key_detail(stored: StoredKey, store_kind: str) -> KeyDetail:
    """The same with store and wallets. A derived key is a record of its own, so it has no path in its store."""
    reference = KeyStoreReference(id=stored.store_id, kind=STORE_KINDS[store_kind], key_id=stored.key_id)
    return KeyDetail(**_members(stored), wallets=[], store=reference)


def key_store(row: Row) -> KeyStore:
    """A row of the table of key stores (columns of ``store.LIST_STORES``)."""
    store_id, kind, name, is_primary = row
    return KeyStore(id=store_id, kind=STORE_KINDS[kind], name=name, primary=bool(is_primary))


def destroyed(stored: StoredKey, at: int) -> DestroyedKey:
    """A key whose record was removed at that time (ms)."""
    return DestroyedKey(key_id=stored.key_id, public_key=stored.public_key, date_destroyed=to_iso(at))


def _members(stored: StoredKey) -> dict[str, Any]:
    derived: DerivedFrom | UnsetType = UNSET
    if stored.master_key_id is not None and stored.derivation_path is not None:
        derived = DerivedFrom(key_id=stored.master_key_id, path=stored.derivation_path)
    return {
        "id": stored.key_id,
        "scheme": stored.scheme,
        "curve": stored.curve,
        "public_key": stored.public_key,
        "master_key": True if stored.is_master else UNSET,
        "derived_from": derived,
        "name": UNSET if stored.name is None else stored.name,
        "status": stored.status,
        "custodial": bool(stored.custodial),
        "date_created": to_iso(stored.created_at),
        "imported": True if stored.is_imported else UNSET,
        "exported": True if stored.exported_at is not None else UNSET,
        "date_exported": UNSET if stored.exported_at is None else to_iso(stored.exported_at),
        "date_deleted": UNSET if stored.deleted_at is None else to_iso(stored.deleted_at),
    }


def signature(row: Row) -> SignatureRequest:
    """A signature row (columns of ``store.GET_SIGNATURE``)."""
    signature_id, key_id, requester, body, status, reason, result, requested_at, signed_at, external_id = row[:10]
    approval_id, resolved_at = row[10:]
    return SignatureRequest(
        id=signature_id,
        key_id=key_id,
        requester=msgspec.json.decode(requester, type=Requester),
        request_body=msgspec.json.decode(body),
        status=status,
        reason=UNSET if reason is None else reason,
        signature=UNSET if result is None else msgspec.json.decode(result, type=SignatureParts),
        approval_id=UNSET if approval_id is None else approval_id,
        date_requested=to_iso(requested_at),
        date_policy_resolved=UNSET if resolved_at is None else to_iso(resolved_at),
        date_signed=UNSET if signed_at is None else to_iso(signed_at),
        external_id=UNSET if external_id is None else external_id,
    )
