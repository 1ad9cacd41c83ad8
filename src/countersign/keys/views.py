"""Rows to wire objects."""

from __future__ import annotations

from typing import Any

import msgspec

from countersign.api import UNSET
from countersign.encoding.dates import to_iso
from countersign.keys.types import Key, KeyDetail, KeyStoreReference, Requester, SignatureParts, SignatureRequest
from countersign.storage import Row


def key(row: Row) -> Key:
    """A key row (columns of ``store.GET_KEY``)."""
    return Key(**_members(row))


def key_detail(row: Row) -> KeyDetail:
    """The same with store and wallets."""
    return KeyDetail(**_members(row), wallets=[], store=KeyStoreReference(id=row[9], kind="Mpc", key_id=row[0]))


def _members(row: Row) -> dict[str, Any]:
    key_id, scheme, curve, public_key, name, status, custodial, created_at, deleted_at, _ = row
    return {
        "id": key_id,
        "scheme": scheme,
        "curve": curve,
        "public_key": public_key,
        "name": UNSET if name is None else name,
        "status": status,
        "custodial": bool(custodial),
        "date_created": to_iso(created_at),
        "date_deleted": UNSET if deleted_at is None else to_iso(deleted_at),
    }


def signature(row: Row) -> SignatureRequest:
    """A signature row (columns of ``store.GET_SIGNATURE``)."""
    signature_id, key_id, requester, body, status, reason, result, requested_at, signed_at, external_id = row
    return SignatureRequest(
        id=signature_id,
        key_id=key_id,
        requester=msgspec.json.decode(requester, type=Requester),
        request_body=msgspec.json.decode(body),
        status=status,
        reason=UNSET if reason is None else reason,
        signature=UNSET if result is None else msgspec.json.decode(result, type=SignatureParts),
        date_requested=to_iso(requested_at),
        date_signed=UNSET if signed_at is None else to_iso(signed_at),
        external_id=UNSET if external_id is None else external_id,
    )
