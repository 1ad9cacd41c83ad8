"""All SQL of the key stores: wrapped roots and sealed records; transactions to be composed by the domains."""

from __future__ import annotations

from typing import Final

from countersign.keystores.client import GeneratedKey, KeyRecord
from countersign.storage.transaction import Statement, Transaction

INSERT_ROOT: Final = Statement(
    "keystore_insert_root",
    "INSERT INTO keystore_roots (store_id, version, kind, name, wrapped, state, created_at)"
    " VALUES (?, ?, 'sealed', ?, ?, 'Active', ?)",
)
LIST_ROOTS: Final = Statement(
    "keystore_list_roots",
    "SELECT wrapped FROM keystore_roots WHERE store_id = ? AND state = 'Active' ORDER BY version",
)
LIST_STORES: Final = Statement("keystore_list_stores", "SELECT DISTINCT store_id FROM keystore_roots ORDER BY store_id")
INSERT_RECORD: Final = Statement(
    "keystore_insert_record",
    "INSERT INTO key_records (org_id, key_id, store_id, secret_kind, root_version, generation, record)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)",
)
READ_RECORD: Final = Statement(
    "keystore_read_record",
    "SELECT k.scheme, k.curve, k.public_key, r.secret_kind, r.root_version, r.generation, r.record"
    " FROM key_records r JOIN keys k ON k.org_id = r.org_id AND k.key_id = r.key_id"
    " WHERE r.org_id = ? AND r.key_id = ?",
)

LIST_RECORDS: Final = Statement(
    "keystore_list_records",
    "SELECT r.org_id, r.key_id, k.scheme, k.curve, k.public_key, r.secret_kind, r.root_version, r.generation, r.record"
    " FROM key_records r JOIN keys k ON k.org_id = r.org_id AND k.key_id = r.key_id"
    " WHERE r.store_id = ? AND (r.org_id, r.key_id) > (?, ?) ORDER BY r.org_id, r.key_id LIMIT ?",
)
COUNT_RECORDS: Final = Statement("keystore_count_records", "SELECT COUNT(*) FROM key_records WHERE store_id = ?")


def insert_root(store_id: str, version: int, name: str, wrapped: bytes, now: int) -> Transaction[None]:
    """Store a wrapped root; ``name`` is the store's display name, ``now`` in milliseconds."""
    yield INSERT_ROOT, (store_id, version, name, wrapped, now)


def list_roots(store_id: str) -> Transaction[list[bytes]]:
    """The wrapped roots of a store, oldest version first: what the signer is handed at each connection."""
    rows = yield LIST_ROOTS, (store_id,)
    return [bytes(row[0]) for row in rows]


def list_stores() -> Transaction[list[str]]:
    """Ids of all key stores."""
    rows = yield LIST_STORES, ()
    return [row[0] for row in rows]


def insert_record(org_id: str, key_id: str, store_id: str, made: GeneratedKey) -> Transaction[None]:
    """Store the sealed record of a new key; belongs into the transaction that inserts the key."""
    yield (
        INSERT_RECORD,
        (org_id, key_id, store_id, made.secret_kind, made.root_version, made.generation, made.record),
    )


def read_record(org_id: str, key_id: str) -> Transaction[KeyRecord | None]:
    """The record with everything it is bound to (``keys.public_key`` is hexadecimal), or None."""
    rows = yield READ_RECORD, (org_id, key_id)
    if not rows:
        return None
    scheme, curve, public_key, secret_kind, root_version, generation, record = rows[0]
    return KeyRecord(
        org_id, key_id, scheme, curve, bytes.fromhex(public_key), secret_kind, root_version, generation, bytes(record)
    )


def list_records(store_id: str, after: tuple[str, str], limit: int) -> Transaction[list[KeyRecord]]:
    """The next records of a store behind ``(org_id, key_id)``, which is ``("", "")`` at the start."""
    rows = yield LIST_RECORDS, (store_id, *after, limit)
    return [KeyRecord(*row[:4], bytes.fromhex(row[4]), *row[5:8], bytes(row[8])) for row in rows]


def count_records(store_id: str) -> Transaction[int]:
    """How many records a store has."""
    rows = yield COUNT_RECORDS, (store_id,)
    return int(rows[0][0])
