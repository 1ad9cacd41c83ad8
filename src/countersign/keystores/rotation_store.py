"""The SQL of rotations: roots that come and go, wraps that are exchanged, records that move to the newest root.

A root is ``Active``, then ``Retiring`` (nothing may be sealed under it any more, but it still opens), then
``Destroyed`` (its wrap is gone, the row stays as history). Each function is one transaction; whatever happens between
two of them, the next run goes on from what it finds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from countersign.encoding.counted import counted
from countersign.keystores.orders import GeneratedKey, KeyRecord
from countersign.storage.transaction import Statement, Transaction

READ_ROOTS: Final = Statement(
    "rotation_read_roots",
    "SELECT version, state, created_at, name, kind, wrapped, next_wrapped FROM keystore_roots"
    " WHERE store_id = ? ORDER BY version",
)
ADD_ROOT: Final = Statement(
    "rotation_add_root",
    "INSERT INTO keystore_roots (store_id, version, kind, name, wrapped, state, created_at)"
    " VALUES (?, ?, ?, ?, ?, 'Active', ?) ON CONFLICT DO NOTHING RETURNING version",
)
STAGE_WRAP: Final = Statement(
    "rotation_stage_wrap",
    "UPDATE keystore_roots SET next_wrapped = ?"
    " WHERE store_id = ? AND version = ? AND wrapped = ? AND state <> 'Destroyed' RETURNING version",
)
EXCHANGE_WRAP: Final = Statement(
    "rotation_exchange_wrap",
    "UPDATE keystore_roots SET wrapped = next_wrapped, next_wrapped = NULL"
    " WHERE store_id = ? AND version = ? AND next_wrapped = ? RETURNING version",
)
DROP_STAGED: Final = Statement(
    "rotation_drop_staged",
    "UPDATE keystore_roots SET next_wrapped = NULL WHERE store_id = ? AND next_wrapped IS NOT NULL RETURNING version",
)
LIST_OLD: Final = Statement(
    "rotation_list_old",
    "SELECT r.org_id, r.key_id, k.scheme, k.curve, k.public_key, r.secret_kind, r.root_version, r.generation, r.record"
    " FROM key_records r JOIN keys k ON k.org_id = r.org_id AND k.key_id = r.key_id"
    " WHERE r.store_id = ? AND r.root_version < ? AND (r.org_id, r.key_id) > (?, ?)"
    " ORDER BY r.org_id, r.key_id LIMIT ?",
)
SWAP_RECORD: Final = Statement(
    "rotation_swap_record",
    "UPDATE key_records SET root_version = ?, generation = ?, record = ?, recovery_copy = COALESCE(?, recovery_copy)"
    " WHERE org_id = ? AND key_id = ? AND generation = ? AND root_version = ? RETURNING key_id",
)
COUNT_BY_ROOT: Final = Statement(
    "rotation_count_by_root",
    "SELECT root_version, COUNT(*) FROM key_records WHERE store_id = ? GROUP BY root_version ORDER BY root_version",
)
ANY_OLD: Final = Statement(
    "rotation_any_old", "SELECT COUNT(*) FROM key_records WHERE store_id = ? AND root_version < ?"
)
RETIRE: Final = Statement(
    "rotation_retire",
    "UPDATE keystore_roots SET state = 'Retiring'"
    " WHERE store_id = ? AND version < ? AND state = 'Active' RETURNING version",
)
REVIVE: Final = Statement(
    "rotation_revive",
    "UPDATE keystore_roots SET state = 'Active'"
    " WHERE store_id = ? AND version < ? AND state = 'Retiring' RETURNING version",
)
DESTROY: Final = Statement(
    "rotation_destroy",
    "UPDATE keystore_roots SET state = 'Destroyed', wrapped = ?, next_wrapped = NULL"
    " WHERE store_id = ? AND version < ? AND state = 'Retiring' RETURNING version",
)
DROP_SIGNERS: Final = Statement(
    "rotation_drop_signers", "DELETE FROM keystore_signers WHERE store_id = ? AND root_version < ?"
)


class RotationConflict(Exception):
    """Somebody else rotates at the same time, or a rotation was left half done; the text says what to do."""


@dataclass(frozen=True, slots=True)
class StoredRoot:
    """A row; ``next_wrapped`` is set while the key-encryption key is exchanged. ``created_at`` in milliseconds."""

    version: int
    state: str
    created_at: int
    name: str
    kind: str
    wrapped: bytes
    next_wrapped: bytes | None


def read_roots(store_id: str) -> Transaction[list[StoredRoot]]:
    """All roots of a store, destroyed ones too, oldest first."""
    rows = yield READ_ROOTS, (store_id,)
    return [
        StoredRoot(version, state, created, name, kind, bytes(wrapped), None if staged is None else bytes(staged))
        for version, state, created, name, kind, wrapped, staged in rows
    ]


def live(roots: Sequence[StoredRoot]) -> list[StoredRoot]:
    """Those that still open something."""
    return [root for root in roots if root.state != "Destroyed"]


def add_root(store_id: str, version: int, wrapped: bytes, now: int) -> Transaction[None]:
    """A new root beside the one before it, at ``now`` (ms). Raises RotationConflict when it isn't the next one."""
    roots = live((yield from read_roots(store_id)))
    if not roots or roots[-1].version != version - 1:
        raise RotationConflict("the key store's roots changed in between; look at 'keystore status' and try again")
    if any(root.next_wrapped is not None for root in roots):
        raise RotationConflict("a rotation of the key-encryption key is under way; 'keystore rotate-kek --finish' it")
    if not (yield ADD_ROOT, (store_id, version, roots[-1].kind, roots[-1].name, wrapped, now)):
        raise RotationConflict("another rotation of the root has just begun")


def stage_wraps(store_id: str, wraps: Sequence[tuple[int, bytes, bytes]]) -> Transaction[None]:
    """Put new wraps (version, wrap in force, new wrap) beside the old. Raises RotationConflict unless they are all."""
    roots = live((yield from read_roots(store_id)))
    if [root.version for root in roots] != [version for version, _, _ in wraps]:
        raise RotationConflict("the key store's roots changed in between; try again")
    for version, old, new in wraps:
        if not (yield STAGE_WRAP, (new, store_id, version, old)):
            raise RotationConflict(f"root {version} was wrapped anew in between; try again")


def exchange_wraps(store_id: str, staged: Sequence[tuple[int, bytes]]) -> Transaction[list[int]]:
    """Put exactly these staged wraps (by version) in force, delete the old; versions exchanged.

    They were shown to open: others, that somebody staged since, open under a key that nobody may have kept. Raises
    RotationConflict if one is missing or another.
    """
    roots = live((yield from read_roots(store_id)))
    missing = [root.version for root in roots if root.next_wrapped is None]
    if missing:
        raise RotationConflict(f"root {missing[0]} has no wrap under a new key-encryption key; nothing to finish")
    for version, wrapped in staged:
        if not (yield EXCHANGE_WRAP, (store_id, version, wrapped)):
            raise RotationConflict(f"root {version} was wrapped anew in between, the old wrap stays; try again")
    return sorted(version for version, _ in staged)


def drop_staged(store_id: str) -> Transaction[list[int]]:
    """Give up an exchange that was not finished: the wraps in force stay."""
    rows = yield DROP_STAGED, (store_id,)
    return sorted(row[0] for row in rows)


def list_old(store_id: str, newest: int, after: tuple[str, str], limit: int) -> Transaction[list[KeyRecord]]:
    """The next records under older roots than ``newest``, behind ``(org_id, key_id)``."""
    rows = yield LIST_OLD, (store_id, newest, *after, limit)
    return [
        KeyRecord(org, key, scheme, curve, bytes.fromhex(public), kind, version, generation, bytes(record))
        for org, key, scheme, curve, public, kind, version, generation, record in rows
    ]


def swap_records(pairs: Sequence[tuple[KeyRecord, GeneratedKey]]) -> Transaction[int]:
    """Replace each old record by its new one unless it changed since; how many were replaced."""
    done = 0
    for old, new in pairs:
        copy = new.recovery_copy or None
        arguments = (new.root_version, new.generation, new.record, copy, old.org_id, old.key_id)
        done += len((yield SWAP_RECORD, (*arguments, old.generation, old.root_version)))
    return done


def count_by_root(store_id: str) -> Transaction[dict[int, int]]:
    """Records per root version."""
    rows = yield COUNT_BY_ROOT, (store_id,)
    return {int(row[0]): int(row[1]) for row in rows}


def count_old(store_id: str, newest: int) -> Transaction[int]:
    """Records that are still under older roots."""
    rows = yield ANY_OLD, (store_id, newest)
    return int(rows[0][0])


def retire(store_id: str, newest: int) -> Transaction[int]:
    """Let nothing be sealed under older roots any more, if nothing is; how many records still are.

    The change of state comes first: it waits for transactions that are inserting a record under such a root (they hold
    its row), and what they inserted is counted then.
    """
    yield RETIRE, (store_id, newest)
    left = yield from count_old(store_id, newest)
    if left:
        yield REVIVE, (store_id, newest)
    return left


def destroy(store_id: str, newest: int) -> Transaction[list[int]]:
    """Delete the wraps of retiring roots, and the listed signers of their time; their versions.

    Raises RotationConflict when one is still in use.
    """
    if left := (yield from count_old(store_id, newest)):
        raise RotationConflict(f"{counted(left, 'record is', 'records are')} still sealed under an older root")
    rows = yield DESTROY, (b"", store_id, newest)
    # A new root has signers of its own, which are made when they are first asked for.
    yield DROP_SIGNERS, (store_id, newest)
    return sorted(row[0] for row in rows)
