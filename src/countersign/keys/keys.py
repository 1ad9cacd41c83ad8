"""Keys as rows: transactions over them."""

from __future__ import annotations

from collections.abc import Sequence

from countersign.api import Caller, Effect, PageRequest, conflict, not_found
from countersign.keys import store, views
from countersign.keys.ownership import require_visible
from countersign.keys.rows import NewKey, StoredKey
from countersign.keys.types import Key, KeyDetail, KeyStore
from countersign.keystores import GeneratedKey, KeyRecord
from countersign.keystores.store import insert_record, read_record
from countersign.storage import Row, Transaction
from countersign.storage.pagination import page_of


def insert(new: NewKey, made: GeneratedKey, now: int) -> Transaction[Effect[Key]]:
    """Store a key that the signer made, together with its sealed record.

    409 when an active key of the organisation has the same public key.
    """
    public_key = made.public_key.hex()
    same = yield store.ACTIVE_KEY_OF_PUBLIC_KEY, (new.org_id, public_key)
    if same:
        raise conflict("Conflicting key with the same public key", entity_id=same[0][0])
    custodial = int(new.delegated_to is None)
    yield (
        store.INSERT_KEY,
        (
            new.org_id,
            new.key_id,
            new.scheme,
            new.curve,
            public_key,
            new.name,
            custodial,
            new.store_id,
            now,
            int(new.is_master),
            new.master_key_id,
            new.derivation_path,
            int(new.may_delegate),
            new.delegated_to,
            int(new.is_imported),
        ),
    )
    yield from insert_record(new.org_id, new.key_id, new.store_id, made)
    rows = yield store.GET_KEY, (new.org_id, new.key_id)
    return Effect(views.key(StoredKey(*rows[0])), (new.key_id,))


def stored(org_id: str, key_id: str) -> Transaction[StoredKey | None]:
    """One key as it is stored, ``None`` when the organisation has none of this id."""
    return _first((yield store.GET_KEY, (org_id, key_id)))


def hold(org_id: str, key_id: str) -> Transaction[StoredKey | None]:
    """The same, and whoever archives or delegates it meanwhile waits for the end of this transaction."""
    return _first((yield store.HOLD_KEY, (org_id, key_id)))


def hold_to_sign(org_id: str, key_id: str) -> Transaction[tuple[StoredKey | None, str]]:
    """The same, with the revision of the organisation's policies."""
    rows = yield store.HOLD_KEY_TO_SIGN, (org_id, key_id)
    return (StoredKey(*rows[0][:-1]), rows[0][-1] or "") if rows else (None, "")


def get(caller: Caller, key_id: str) -> Transaction[KeyDetail]:
    """One key that the caller sees, with its store and wallets."""
    rows = yield store.GET_KEY_WITH_STORE, (caller.org_id, key_id)
    key = require_visible(StoredKey(*rows[0][:-1]) if rows else None, caller)
    return views.key_detail(key, rows[0][-1])


def list_page(org_id: str, owner: str | None, page: PageRequest) -> Transaction[tuple[list[Key], str | None]]:
    """A page of keys, newest first, archived ones included; ``owner``: those delegated to this user only."""
    if owner is None:
        rows = yield store.LIST_KEYS, (org_id, page.before, page.limit + 1)
    else:
        rows = yield store.LIST_DELEGATED_KEYS, (org_id, owner, page.before, page.limit + 1)
    shown, token = page_of(rows, page.limit, page.scope, lambda row: str(row[0]))
    return [views.key(StoredKey(*row)) for row in shown], token


def rename(org_id: str, key_id: str, name: str | None) -> Transaction[Effect[Key]]:
    """Set or clear the name of an active key."""
    key = _first((yield store.RENAME_KEY, (name, org_id, key_id)))
    if key is None:
        raise not_found("key")
    return Effect(views.key(key), (key_id,))


def archive(org_id: str, key_id: str, now: int) -> Transaction[Effect[Key]]:
    """End an active key: requests that wait for an approval fail with it, and it signs nothing from then on."""
    key = _first((yield store.ARCHIVE_KEY, (now, org_id, key_id)))
    if key is None:
        raise not_found("key")
    failed = yield store.FAIL_PENDING_SIGNATURES, (ARCHIVED, org_id, key_id)
    return Effect(views.key(key), (key_id, *(row[0] for row in failed)))


#: Why a request failed whose key was archived before it was signed.
ARCHIVED = "key archived"


def list_stores() -> Transaction[list[KeyStore]]:
    """Every key store of the server, the primary one first."""
    return [views.key_store(row) for row in (yield store.LIST_STORES, ())]


def to_sign_with(org_id: str, key_id: str) -> Transaction[KeyRecord | None]:
    """The key as the signer needs it; archived keys too (the signing transaction looks at the state)."""
    return (yield from read_record(org_id, key_id))


def _first(rows: Sequence[Row]) -> StoredKey | None:
    return StoredKey(*rows[0]) if rows else None
