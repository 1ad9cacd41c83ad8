"""Rotations of what protects the keys, while they are in use: a new key-encryption key, or a new root.

Both run where the key-encryption key is at hand, on the installation's host. What the signer is handed is a root
wrapped under that key, so over its socket nobody can give it a root of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from countersign.encoding.counted import counted
from countersign.keystores import roots, rotation_store
from countersign.keystores.client import SignerClient
from countersign.keystores.kek import KekProvider
from countersign.keystores.orders import GeneratedKey, KeyRecord
from countersign.keystores.outcome import Refusal, SignerRefused
from countersign.keystores.proof import prove_secret
from countersign.keystores.protocol import Buffer
from countersign.keystores.roots import NamedAuthoriser
from countersign.keystores.rotation_store import RotationConflict, StoredRoot
from countersign.storage import Database

T = TypeVar("T")

BATCH: Final = 500
"""Records that are sealed anew in one transaction."""

_AT_ONCE: Final = 32

Progress = Callable[[int, int], None]
"""Told how many records are under the newest root, and how many there are."""


@dataclass(frozen=True, slots=True)
class RootState:
    """One root for people: who wraps it, and how many records it seals. ``next_provider`` while that is exchanged."""

    version: int
    state: str
    created_at: int
    provider: str
    next_provider: str | None
    records: int


async def describe(database: Database, store_id: str) -> list[RootState]:
    """Every root of the store, oldest first."""
    stored = await database.read(lambda: rotation_store.read_roots(store_id))
    counts = await database.read(lambda: rotation_store.count_by_root(store_id))
    return [
        RootState(
            root.version,
            root.state,
            root.created_at,
            _provider(root.wrapped),
            None if root.next_wrapped is None else _provider(root.next_wrapped),
            counts.get(root.version, 0),
        )
        for root in stored
    ]


def _provider(blob: bytes) -> str:
    wrapped = roots.parse_root(blob)
    return "" if isinstance(wrapped, Refusal) else wrapped.provider


async def stage_kek(
    database: Database, store_id: str, kek: KekProvider, secret: Buffer, new_kek: KekProvider, new_secret: Buffer
) -> list[int]:
    """Wrap every root under the new provider too, and show by opening them that it holds; their versions.

    Both wraps are in the database afterwards, so a signer with either provider opens the store. Run again after a
    crash, it begins anew. Raises RotationConflict, and ValueError when a key can't be had or a wrap does not open.
    """
    stored = rotation_store.live(await database.read(lambda: rotation_store.read_roots(store_id)))
    wraps: list[tuple[int, bytes, bytes]] = []
    for root in stored:
        blob = _had(roots.rewrap_root(_had(roots.parse_root(root.wrapped)), kek, secret, new_kek, new_secret))
        wraps.append((root.version, root.wrapped, blob))
    await database.write(lambda: rotation_store.stage_wraps(store_id, wraps))
    written = rotation_store.live(await database.read(lambda: rotation_store.read_roots(store_id)))
    staged = [root.next_wrapped for root in written if root.next_wrapped is not None]
    if (refusal := prove_secret(new_kek, new_secret, store_id, staged)) is not None:
        await database.write(lambda: rotation_store.drop_staged(store_id))
        raise ValueError(f"the new wrap does not open, the old ones stay in force: {refusal.reason}")
    return [version for version, _, _ in wraps]


async def finish_kek(database: Database, store_id: str, kek: KekProvider, secret: Buffer) -> list[int]:
    """Delete the old wraps: only the new provider, ``kek``, opens the store from now on.

    Raises RotationConflict, and ValueError when the staged wraps do not open under it.
    """
    stored = rotation_store.live(await database.read(lambda: rotation_store.read_roots(store_id)))
    staged = [(root.version, root.next_wrapped) for root in stored if root.next_wrapped is not None]
    if staged:
        refusal = prove_secret(kek, secret, store_id, [wrapped for _, wrapped in staged])
        if refusal is not None:
            raise ValueError(f"the new wraps do not open under signer_kek, the old ones stay: {refusal.reason}")
    return await database.write(lambda: rotation_store.exchange_wraps(store_id, staged))


def under_way(stored: list[StoredRoot]) -> bool:
    """Whether a rotation of the root was begun and is not through."""
    return len(rotation_store.live(stored)) > 1


async def add_root(
    database: Database,
    store_id: str,
    kek: KekProvider,
    secret: Buffer,
    now: int,
    *,
    recovery_recipients: tuple[str, ...] | None = None,
    authoriser: NamedAuthoriser | None = None,
) -> int:
    """Make the next root, with all that the newest one holds but its key; its version. ``now`` in milliseconds.

    ``recovery_recipients`` and ``authoriser`` replace those that the newest root names; None keeps them.
    Raises RotationConflict, and ValueError when the key-encryption key can't be had or is not the right one.
    """
    stored = rotation_store.live(await database.read(lambda: rotation_store.read_roots(store_id)))
    if not stored:
        raise ValueError("the key store has no root")
    wrapped = _had(roots.parse_root(stored[-1].wrapped))
    blob = _had(roots.next_root(wrapped, kek, secret, recovery_recipients=recovery_recipients, authoriser=authoriser))
    if (refusal := prove_secret(kek, secret, store_id, [blob])) is not None:
        raise ValueError(f"the new root does not open: {refusal.reason}")
    await database.write(lambda: rotation_store.add_root(store_id, wrapped.root_version + 1, blob, now))
    return wrapped.root_version + 1


async def reseal(database: Database, signer: SignerClient, store_id: str, newest: int, progress: Progress) -> None:
    """Have the signer seal every record anew under root ``newest``; returns when none is left under an older one.

    Keys that are made, used, archived or destroyed meanwhile are none of its business: a record that changed since it
    was read is left alone and met again. Raises SignerUnavailable and SignerSealed, after which it goes on where it
    was, and RotationConflict when only records are left that don't open.
    """
    while left := await database.read(lambda: rotation_store.count_old(store_id, newest)):
        counts = await database.read(lambda: rotation_store.count_by_root(store_id))
        total = sum(counts.values())
        done, after, moved = total - left, ("", ""), 0
        refused: list[str] = []
        progress(done, total)
        while batch := await _next(database, store_id, newest, after):
            moved += await _swap(database, await _sealed_anew(signer, batch, refused))
            after = batch[-1].org_id, batch[-1].key_id
            progress(min(done + moved, total), total)
        if not moved:
            why = refused[0] if refused else "no key has them"
            raise RotationConflict(f"{counted(left, 'record')} can't be sealed anew, so the older root stays: {why}")


async def _next(database: Database, store_id: str, newest: int, after: tuple[str, str]) -> list[KeyRecord]:
    return await database.read(lambda: rotation_store.list_old(store_id, newest, after, BATCH))


async def _swap(database: Database, pairs: list[tuple[KeyRecord, GeneratedKey]]) -> int:
    return await database.write(lambda: rotation_store.swap_records(pairs))


async def _sealed_anew(
    signer: SignerClient, batch: list[KeyRecord], refused: list[str]
) -> list[tuple[KeyRecord, GeneratedKey]]:
    """Each record with the one that replaces it; one that the signer refuses is named in ``refused`` and left out."""

    async def anew(record: KeyRecord) -> tuple[KeyRecord, GeneratedKey] | None:
        try:
            return record, await signer.rewrap(record)
        except SignerRefused as trouble:
            refused.append(f"key {record.key_id} of {record.org_id}: {trouble.reason}")
            return None

    made: list[tuple[KeyRecord, GeneratedKey]] = []
    # A few at a time: orders to sign that come in between wait for these only.
    for start in range(0, len(batch), _AT_ONCE):
        pairs = await asyncio.gather(*(anew(record) for record in batch[start : start + _AT_ONCE]))
        made += [pair for pair in pairs if pair is not None]
    return made


async def finish_root(
    database: Database,
    signer: SignerClient,
    store_id: str,
    newest: int,
    progress: Progress,
    settled: Callable[[], Awaitable[None]],
) -> list[int]:
    """Seal everything under root ``newest``, then destroy the older ones; the versions that are gone.

    ``settled`` waits until no order that read an older record can be on its way any more. Raises what ``reseal`` does.
    """
    while True:
        await reseal(database, signer, store_id, newest, progress)
        if not await database.write(lambda: rotation_store.retire(store_id, newest)):
            break
    await settled()
    gone = await database.write(lambda: rotation_store.destroy(store_id, newest))
    await signer.load_roots()
    return gone


def _had(outcome: T | Refusal) -> T:
    if isinstance(outcome, Refusal):
        raise ValueError(outcome.reason)  # noqa: TRY004 - the operator's to mend, not a wrong type
    return outcome
