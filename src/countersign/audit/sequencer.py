"""Giving entries their positions: one leased sequencer, in batches, behind the mutations and never in their way."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import structlog

from countersign.audit import merkle, store
from countersign.audit.checkpoint import Checkpoint, CheckpointKey
from countersign.storage import Database, StorageUnavailable, Transaction
from countersign.world import World

_log = structlog.get_logger(__name__)

#: Entries per batch: hashing them holds the event loop for about a millisecond.
BATCH = 256
INTERVAL_SECONDS = 0.5


class LostError(Exception):
    """Another sequencer was faster; raised inside a transaction, so that it is rolled back."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries that got no position yet, and the tree that they are to be added to."""

    org_id: str
    before: merkle.Frontier
    entries: tuple[tuple[str, str], ...]


def waiting_organisations() -> Transaction[tuple[str, ...]]:
    """Organisations with entries that have no position."""
    rows = yield store.LIST_WAITING_ORGANISATIONS, ()
    return tuple(row[0] for row in rows)


def count_waiting() -> Transaction[int]:
    """How many entries have no position; counted up to a hundred thousand."""
    rows = yield store.COUNT_WAITING, ()
    return int(rows[0][0])


def next_batch(org_id: str, limit: int) -> Transaction[Batch]:
    """The next entries of an organisation in order of their ids; reads only.

    Whatever is without a position is taken, however late its transaction was committed, so none is skipped.
    """
    # The tree is read first: whoever adds to it meanwhile takes the positions that this batch would.
    rows = yield store.LATEST_CHECKPOINT, (org_id,)
    before = merkle.Frontier.from_bytes(rows[0][0], bytes(rows[0][2])) if rows else merkle.Frontier()
    rows = yield store.LIST_WAITING, (org_id, limit)
    # Sorted here, because databases sort text by their locale.
    return Batch(org_id, before, tuple(sorted((row[0], row[1]) for row in rows)))


def sequence(batch: Batch, installation_id: str, key: CheckpointKey, now: int) -> Transaction[int]:
    """Give the batch its positions and write the signed checkpoint over them; answers how many entries it was.

    All in one transaction. Raises :class:`LostError` when another sequencer was faster.
    """
    leaves = [merkle.leaf_hash(text.encode("utf-8")) for _, text in batch.entries]
    after = batch.before.append(leaves)
    checkpoint = Checkpoint(installation_id, batch.org_id, after.size, after.root(), now)
    signature = key.sign(checkpoint.note().encode("utf-8"))
    row = (batch.org_id, after.size, checkpoint.root, after.to_bytes(), key.kid, signature, now)
    if not (yield store.INSERT_CHECKPOINT, row):
        raise LostError("the positions are taken")
    done = 0
    while done < len(leaves):
        count = next(size for size in store.LEAVES_PER_STATEMENT if size <= len(leaves) - done)
        arguments: list[str | int | bytes] = []
        for index in range(done, done + count):
            arguments += (batch.org_id, batch.before.size + index, batch.entries[index][0], leaves[index])
        taken = yield store.insert_leaves(count), tuple(arguments)
        if len(taken) != count:
            raise LostError("the positions are taken")
        done += count
    yield store.DELETE_SEQUENCED, (batch.org_id, batch.org_id, batch.before.size, after.size)
    return len(leaves)


class Lease(Protocol):
    """Who may run the sequencer. It spares work only: positions are unique, so two sequencers can never both win."""

    async def hold(self) -> bool:
        """Take or renew the lease; whether it is held now."""

    async def release(self) -> None:
        """Give it up, so that another can take it at once."""


class Sequencer:
    """Runs the sequencer while the process lives; of several processes the holder of the lease does the work.

    ``key`` signs the checkpoints. ``lease``: ``None`` where this process is the only one. ``interval``:
    seconds between looks at the table.
    """

    def __init__(
        self,
        database: Database,
        world: World,
        installation_id: str,
        key: CheckpointKey,
        *,
        lease: Lease | None = None,
        interval: float = INTERVAL_SECONDS,
        batch: int = BATCH,
    ) -> None:
        self._database = database
        self._world = world
        self._installation_id = installation_id
        self._key = key
        self._lease = lease
        self._interval = interval
        self._batch = batch

    def use_key(self, key: CheckpointKey) -> None:
        """Sign with another key from the next checkpoint on."""
        self._key = key

    async def run(self) -> None:
        """Sequence until cancelled; a database that is away is tried again."""
        try:
            while True:
                try:
                    await self.drain()
                except (StorageUnavailable, LostError) as error:
                    _log.warning("audit sequencing is delayed", reason=type(error).__name__, detail=str(error))
                await asyncio.sleep(self._interval)
        finally:
            if self._lease is not None:
                await self._lease.release()

    async def drain(self) -> int:
        """Give positions to everything that waits now; answers how many entries it was.

        0 also when another process holds the lease. Raises :class:`LostError` when another took over meanwhile.
        """
        total = 0
        for org_id in await self._database.read(waiting_organisations):
            # The lease is taken only where there is work, so that an idle server writes nothing.
            while await self._held():
                batch = await self._database.read(partial(next_batch, org_id, self._batch))
                if not batch.entries:
                    break
                key, now = self._key, self._world.now()
                total += await self._database.write(partial(sequence, batch, self._installation_id, key, now))
        return total

    async def _held(self) -> bool:
        return self._lease is None or await self._lease.hold()
