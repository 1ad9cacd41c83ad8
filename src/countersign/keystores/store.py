"""All SQL of the key stores: wrapped roots and sealed records; transactions to be composed by the domains."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from countersign.keystores.orders import GeneratedKey, KeyRecord
from countersign.keystores.outcome import SignerUnavailable
from countersign.keystores.roots import Founder
from countersign.storage.transaction import Row, Statement, Transaction

INSERT_ROOT: Final = Statement(
    "keystore_insert_root",
    "INSERT INTO keystore_roots (store_id, version, kind, name, wrapped, state, created_at)"
    " VALUES (?, ?, 'sealed', ?, ?, 'Active', ?)",
)
LIST_ROOTS: Final = Statement(
    "keystore_list_roots",
    "SELECT wrapped, next_wrapped FROM keystore_roots WHERE store_id = ? AND state <> 'Destroyed' ORDER BY version",
)
LIST_STORES: Final = Statement("keystore_list_stores", "SELECT DISTINCT store_id FROM keystore_roots ORDER BY store_id")
# Held until the transaction ends, so that a root is not retired between this and the record that is sealed under it.
HOLD_ROOT: Final = Statement(
    "keystore_hold_root",
    "SELECT state FROM keystore_roots WHERE store_id = ? AND version = ?",
    postgresql="SELECT state FROM keystore_roots WHERE store_id = $1 AND version = $2 FOR SHARE",
)
INSERT_RECORD: Final = Statement(
    "keystore_insert_record",
    "INSERT INTO key_records (org_id, key_id, store_id, secret_kind, root_version, generation, record, recovery_copy)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
)
READ_RECORD: Final = Statement(
    "keystore_read_record",
    "SELECT k.scheme, k.curve, k.public_key, r.secret_kind, r.root_version, r.generation, r.record, r.store_id"
    " FROM key_records r JOIN keys k ON k.org_id = r.org_id AND k.key_id = r.key_id"
    " WHERE r.org_id = ? AND r.key_id = ?",
)

LIST_RECORDS: Final = Statement(
    "keystore_list_records",
    "SELECT r.org_id, r.key_id, k.scheme, k.curve, k.public_key, r.secret_kind, r.root_version, r.generation, r.record,"
    " r.store_id FROM key_records r JOIN keys k ON k.org_id = r.org_id AND k.key_id = r.key_id"
    " WHERE r.store_id = ? AND (r.org_id, r.key_id) > (?, ?) ORDER BY r.org_id, r.key_id LIMIT ?",
)
COUNT_RECORDS: Final = Statement("keystore_count_records", "SELECT COUNT(*) FROM key_records WHERE store_id = ?")
DELETE_RECORD: Final = Statement(
    "keystore_delete_record", "DELETE FROM key_records WHERE org_id = ? AND key_id = ? RETURNING key_id"
)
INSERT_STORE: Final = Statement(
    "keystore_insert_store",
    "INSERT INTO key_stores (store_id, kind, name, is_primary, created_at) VALUES (?, ?, ?, ?, ?)",
)

INSERT_SIGNERS: Final = Statement(
    "keystore_insert_signers",
    "INSERT INTO keystore_signers (store_id, root_version, cluster_id, signers, created_at) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT DO NOTHING",
)
LIST_SIGNERS: Final = Statement(
    "keystore_list_signers",
    "SELECT s.root_version, s.cluster_id, s.signers FROM keystore_signers s"
    " JOIN keystore_roots r ON r.store_id = s.store_id AND r.version = s.root_version"
    " WHERE s.store_id = ? AND r.state = 'Active' ORDER BY s.root_version DESC",
)
NEWEST_ROOT: Final = Statement(
    "keystore_newest_root", "SELECT MAX(version) FROM keystore_roots WHERE store_id = ? AND state = 'Active'"
)


def insert_store(store_id: str, kind: str, name: str, now: int, *, primary: bool) -> Transaction[None]:
    """Enter a key store into the list of stores; ``kind`` is sealed or pkcs11, ``now`` in milliseconds."""
    yield INSERT_STORE, (store_id, kind, name, int(primary), now)


def insert_root(store_id: str, version: int, name: str, wrapped: bytes, now: int) -> Transaction[None]:
    """Store a wrapped root; ``name`` is the store's display name, ``now`` in milliseconds."""
    yield INSERT_ROOT, (store_id, version, name, wrapped, now)


def list_roots(store_id: str) -> Transaction[list[bytes]]:
    """The wrapped roots of a store, oldest version first: what the signer is handed at each connection.

    Two of each while the key-encryption key is exchanged: a signer opens those of its own provider.
    """
    rows = yield LIST_ROOTS, (store_id,)
    return [bytes(blob) for row in rows for blob in row if blob is not None]


def list_stores() -> Transaction[list[str]]:
    """Ids of all key stores."""
    rows = yield LIST_STORES, ()
    return [row[0] for row in rows]


def insert_record(org_id: str, key_id: str, store_id: str, made: GeneratedKey) -> Transaction[None]:
    """Store the sealed record of a new key; belongs into the transaction that inserts the key.

    Raises SignerUnavailable when the root was retired since it was sealed: it would never open again.
    """
    held = yield HOLD_ROOT, (store_id, made.root_version)
    if held and held[0][0] != "Active":
        raise SignerUnavailable("the store's root was rotated while the key was made")
    yield (
        INSERT_RECORD,
        (
            org_id,
            key_id,
            store_id,
            made.secret_kind,
            made.root_version,
            made.generation,
            made.record,
            made.recovery_copy or None,
        ),
    )


def read_record(org_id: str, key_id: str) -> Transaction[KeyRecord | None]:
    """The record with everything it is bound to (``keys.public_key`` is hexadecimal), or None."""
    rows = yield READ_RECORD, (org_id, key_id)
    if not rows:
        return None
    return _record(org_id, key_id, rows[0])


def delete_record(org_id: str, key_id: str) -> Transaction[bool]:
    """Remove the record of a key for good; whether there was one. Backups keep theirs until they expire."""
    return bool((yield DELETE_RECORD, (org_id, key_id)))


def list_records(store_id: str, after: tuple[str, str], limit: int) -> Transaction[list[KeyRecord]]:
    """The next records of a store behind ``(org_id, key_id)``, which is ``("", "")`` at the start."""
    rows = yield LIST_RECORDS, (store_id, *after, limit)
    return [_record(row[0], row[1], row[2:]) for row in rows]


def _record(org_id: str, key_id: str, row: Row) -> KeyRecord:
    scheme, curve, public_key, secret_kind, root_version, generation, record, store_id = row
    return KeyRecord(
        org_id,
        key_id,
        scheme,
        curve,
        bytes.fromhex(public_key),
        secret_kind,
        root_version,
        generation,
        bytes(record),
        store_id,
    )


def count_records(store_id: str) -> Transaction[int]:
    """How many records a store has."""
    rows = yield COUNT_RECORDS, (store_id,)
    return int(rows[0][0])


@dataclass(frozen=True, slots=True)
class ListedSigners:
    """The signers that shares are encrypted to; ``signers``: msgpack array of ``transfer_messages.SealedSigner``."""

    root_version: int
    cluster_id: str
    signers: bytes


def list_signers(store_id: str) -> Transaction[list[ListedSigners]]:
    """Every set of signers whose store root is still there, the newest first."""
    rows = yield LIST_SIGNERS, (store_id,)
    return [ListedSigners(version, cluster_id, bytes(signers)) for version, cluster_id, signers in rows]


def newest_root(store_id: str) -> Transaction[int]:
    """The version of the store root under which new records are sealed, 0 for a store without any."""
    rows = yield NEWEST_ROOT, (store_id,)
    return int(rows[0][0] or 0)


def insert_signers(store_id: str, made: ListedSigners, now: int) -> Transaction[None]:
    """Store a set of signers, unless another process was faster with that of this root."""
    yield INSERT_SIGNERS, (store_id, made.root_version, made.cluster_id, made.signers, now)


# Whoever keeps a roster, here and below, by ``store_id``: the signer of a key store, or the authoriser in force.
READ_ENROLLED: Final = Statement(
    "keystore_read_enrolled",
    "SELECT user_id, token_id, kind, public_key, rp_id FROM credentials WHERE org_id = ? AND credential_uuid = ?",
)
READ_ENDED_KEY: Final = Statement(
    "keystore_read_ended_key", "SELECT store_id, scheme, public_key FROM keys WHERE org_id = ? AND key_id = ?"
)
LIST_CREDENTIALS_TO_ADOPT: Final = Statement(
    "keystore_list_credentials_to_adopt",
    "SELECT c.org_id, c.user_id, c.credential_uuid, c.kind, c.public_key, c.rp_id, c.token_id FROM credentials c"
    " JOIN users u ON u.org_id = c.org_id AND u.user_id = c.user_id"
    " WHERE c.state = 'Active' AND u.state = 'Active' ORDER BY c.org_id, c.credential_uuid",
)
INSERT_ROSTER_ORDER: Final = Statement(
    "keystore_insert_roster_order",
    "INSERT INTO roster_orders (org_id, order_id, store_id, op, subject_id, body, created_at)"
    " SELECT ?, ?, keeper_id, ?, ?, ?, ? FROM (SELECT store_id AS keeper_id FROM key_stores"
    " UNION ALL SELECT value FROM installation WHERE name = 'authoriser_id') keepers",
)
INSERT_ROSTER_ORDER_OF_STORE: Final = Statement(
    "keystore_insert_roster_order_of_store",
    "INSERT INTO roster_orders (org_id, order_id, store_id, op, subject_id, body, created_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)",
)
# Nobody adds an order between the copy and the store's own entry, which would be for the old stores alone.
HOLD_ROSTER_ORDERS: Final = Statement(
    "keystore_hold_roster_orders",
    "SELECT COUNT(*) FROM key_stores",
    postgresql="LOCK TABLE roster_orders IN SHARE ROW EXCLUSIVE MODE",
)
COPY_ROSTER_ORDERS: Final = Statement(
    "keystore_copy_roster_orders",
    "INSERT INTO roster_orders (org_id, order_id, store_id, op, subject_id, body, created_at)"
    " SELECT org_id, order_id, ?, op, subject_id, body, created_at FROM roster_orders"
    " WHERE store_id = ? AND op NOT IN ('archive', 'destroy')",
)
WAITING_ROSTER_ORDERS: Final = Statement(
    "keystore_waiting_roster_orders",
    "SELECT org_id, order_id, op, body FROM roster_orders WHERE store_id = ? AND done_at IS NULL AND order_id > ?"
    " AND (outcome IS NULL OR ? = 1)"
    " ORDER BY order_id LIMIT ?",
)
SETTLE_ROSTER_ORDER: Final = Statement(
    "keystore_settle_roster_order",
    "UPDATE roster_orders SET done_at = ?, outcome = ? WHERE org_id = ? AND order_id = ? AND store_id = ?",
)
REPEAT_ROSTER_ORDERS: Final = Statement(
    "keystore_repeat_roster_orders",
    "UPDATE roster_orders SET done_at = NULL, outcome = NULL WHERE store_id = ? AND done_at IS NOT NULL"
    " RETURNING order_id",
)
READ_ROSTER_MARK: Final = Statement(
    "keystore_read_roster_mark", "SELECT records, head FROM roster_marks WHERE store_id = ?"
)
PUT_ROSTER_MARK: Final = Statement(
    "keystore_put_roster_mark",
    "INSERT INTO roster_marks (store_id, records, head, seen_at) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (store_id) DO UPDATE SET records = excluded.records, head = excluded.head,"
    " seen_at = excluded.seen_at",
)


def waiting_roster_orders(
    store_id: str, after: str, limit: int, *, refused: bool
) -> Transaction[list[tuple[str, str, str, bytes]]]:
    """Orders about the roster of this store that were not carried out yet: organisation, id, op and body.

    ``refused``: those too that the signer refused before.
    """
    rows = yield WAITING_ROSTER_ORDERS, (store_id, after, int(refused), limit)
    return [(org_id, order_id, op, bytes(body)) for org_id, order_id, op, body in rows]


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of an order; ``done_at`` (ms) is None for one that was refused and waits on."""

    org_id: str
    order_id: str
    done_at: int | None
    outcome: str


def settle_roster_orders(store_id: str, settled: Iterable[Settled]) -> Transaction[None]:
    """Note what became of them at the signer of this store."""
    for each in settled:
        yield SETTLE_ROSTER_ORDER, (each.done_at, each.outcome, each.org_id, each.order_id, store_id)


def read_roster_mark(store_id: str) -> Transaction[tuple[int, str] | None]:
    """Number of records and head (hex) of the roster when it was last seen."""
    rows = yield READ_ROSTER_MARK, (store_id,)
    return (rows[0][0], rows[0][1]) if rows else None


def put_roster_mark(store_id: str, records: int, head: str, now: int) -> Transaction[None]:
    """Note how far the roster is."""
    yield PUT_ROSTER_MARK, (store_id, records, head, now)


def credentials_to_adopt() -> Transaction[list[Founder]]:
    """Every active credential of an active user, for the beginning of the roster of an older installation."""
    rows = yield LIST_CREDENTIALS_TO_ADOPT, ()
    return [
        Founder(org_id, user_id, uuid, kind, public_key, rp_id or None, token_id)
        for org_id, user_id, uuid, kind, public_key, rp_id, token_id in rows
    ]
