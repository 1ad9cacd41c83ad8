"""Keys as rows: transactions over them."""

from __future__ import annotations

from countersign.api import Effect, PageRequest, not_found
from countersign.keys import store, views
from countersign.keys.types import Key, KeyDetail
from countersign.keystores import GeneratedKey, KeyRecord
from countersign.keystores.store import insert_record, read_record
from countersign.storage import Transaction
from countersign.storage.pagination import page_of


def insert(
    org_id: str, key_id: str, scheme: str, curve: str, name: str | None, store_id: str, made: GeneratedKey, now: int
) -> Transaction[Effect[Key]]:
    """Store a key that the signer made, together with its sealed record."""
    public_key = made.public_key.hex()
    yield store.INSERT_KEY, (org_id, key_id, scheme, curve, public_key, name, store_id, now)
    yield from insert_record(org_id, key_id, store_id, made)
    row = (key_id, scheme, curve, public_key, name, "Active", 1, now, None, store_id)
    return Effect(views.key(row), (key_id,))


def get(org_id: str, key_id: str) -> Transaction[KeyDetail | None]:
    """One key, ``None`` when the organisation has none of this id."""
    rows = yield store.GET_KEY, (org_id, key_id)
    return views.key_detail(rows[0]) if rows else None


def list_page(org_id: str, page: PageRequest) -> Transaction[tuple[list[Key], str | None]]:
    """A page of keys, newest first, archived ones included."""
    rows = yield store.LIST_KEYS, (org_id, page.before, page.limit + 1)
    shown, token = page_of(rows, page.limit, page.scope, lambda row: str(row[0]))
    return [views.key(row) for row in shown], token


def rename(org_id: str, key_id: str, name: str | None) -> Transaction[Effect[Key]]:
    """Set or clear the name of an active key."""
    rows = yield store.RENAME_KEY, (name, org_id, key_id)
    if not rows:
        raise not_found("key")
    return Effect(views.key(rows[0]), (key_id,))


def archive(org_id: str, key_id: str, now: int) -> Transaction[Effect[Key]]:
    """End an active key."""
    rows = yield store.ARCHIVE_KEY, (now, org_id, key_id)
    if not rows:
        raise not_found("key")
    return Effect(views.key(rows[0]), (key_id,))


def to_sign_with(org_id: str, key_id: str) -> Transaction[KeyRecord | None]:
    """The key as the signer needs it; archived keys too (the signing transaction looks at the state)."""
    return (yield from read_record(org_id, key_id))
