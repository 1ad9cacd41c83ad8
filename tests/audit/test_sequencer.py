"""Positions are given behind the mutations: nothing is lost, nothing twice, however many sequencers there are."""

from __future__ import annotations

import asyncio
import hashlib
import io
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from countersign.audit import merkle, store
from countersign.audit.checkpoint import Ed25519CheckpointKey, fingerprint
from countersign.audit.entry import decode, pack_payload
from countersign.audit.export import export
from countersign.audit.log import append
from countersign.audit.report import Broken, Sound
from countersign.audit.sequencer import LostError, Sequencer, next_batch, sequence
from countersign.audit.verify import verify_file
from countersign.encoding import base64url
from countersign.jobs.leases import HeldLease
from countersign.storage import Database, Row, Statement, Transaction
from countersign.world import World
from tests.audit.logs import INSTALLATION, ORG, START, Log

KEY = Ed25519CheckpointKey("sk-1", hashlib.sha256(b"checkpoint").digest())
INSERT_KEY = Statement(
    "insert_server_key",
    "INSERT INTO server_keys (kid, purpose, state, public_key, sealed, handover, created_at) "
    "VALUES (?, 'checkpoint', 'Active', ?, ?, NULL, ?)",
)
LEAVES = Statement(
    "leaves", "SELECT position, entry_id, leaf_hash FROM audit_leaves WHERE org_id = ? ORDER BY position"
)
COUNT = Statement("count", "SELECT COUNT(*) FROM audit_unsequenced")
CHANGE = Statement("change", "UPDATE audit_entries SET entry = ? WHERE org_id = ? AND entry_id = ?")


def ask(statement: Statement, *arguments: Any) -> Transaction[list[Row]]:
    rows = yield statement, arguments
    return list(rows)


async def put(database: Database, log: Log, start: int = 0) -> None:
    """Append the log's entries from ``start`` on, each with its payload "sealed" by reversing it."""
    for data, payload in log.entries[start:]:
        sealed = None if payload is None else pack_payload(payload.encode(), "token")[::-1]
        assert await database.write(partial(append, decode(data), sealed))


def sequencer(database: Database, **options: Any) -> Sequencer:
    return Sequencer(database, World(), INSTALLATION, KEY, **options)


async def exported(database: Database, *, redact: bool = False) -> bytes:
    output = io.BytesIO()
    opener = None if redact else (lambda sealed, entry_id: sealed[::-1])
    await export(database, INSTALLATION, ORG, output, now=START, open_payload=opener)
    return output.getvalue()


async def with_key(database: Database) -> None:
    await database.write(partial(ask, INSERT_KEY, KEY.kid, base64url.encode(KEY.public_key), b"", START))


@pytest.fixture
def log() -> Log:
    log = Log()
    for _ in range(40):
        log.action()
    return log


async def test_appending_is_two_statements_and_once_only(database: Database, log: Log) -> None:
    entry = decode(log.entries[1][0])
    before = database.statistics.statements
    assert await database.write(partial(append, entry, None))
    assert database.statistics.statements - before == 2
    assert not await database.write(partial(append, entry, None))
    assert (await database.read(partial(ask, COUNT)))[0][0] == 1


async def test_every_entry_gets_one_gapless_position(database: Database, log: Log) -> None:
    await put(database, log)
    assert await sequencer(database, batch=16).drain() == 41
    rows = await database.read(partial(ask, LEAVES, ORG))
    assert [row[0] for row in rows] == list(range(41))
    texts = {decode(data).id: data for data, _ in log.entries}
    assert {row[1] for row in rows} == set(texts)
    assert all(bytes(row[2]) == merkle.leaf_hash(texts[row[1]]) for row in rows)
    assert (await database.read(partial(ask, COUNT)))[0][0] == 0
    assert await sequencer(database).drain() == 0


async def test_an_entry_committed_late_is_not_skipped(database: Database, log: Log) -> None:
    late, rest = log.entries[3], log.entries[:3] + log.entries[4:]
    log.entries = rest
    await put(database, log)
    one = sequencer(database, batch=16)
    assert await one.drain() == 40
    log.entries = [late]
    await put(database, log)
    assert await one.drain() == 1
    rows = await database.read(partial(ask, LEAVES, ORG))
    assert rows[40][1] == decode(late[0]).id


async def test_of_two_sequencers_with_the_same_batch_one_wins(database: Database, log: Log) -> None:
    await put(database, log)
    small = await database.read(partial(next_batch, ORG, 5))
    large = await database.read(partial(next_batch, ORG, 41))
    assert await database.write(partial(sequence, large, INSTALLATION, KEY, START)) == 41
    for batch in (small, large):
        with pytest.raises(LostError):
            await database.write(partial(sequence, batch, INSTALLATION, KEY, START))
    rows = await database.read(partial(ask, LEAVES, ORG))
    assert [row[0] for row in rows] == list(range(41))
    checkpoints = await database.read(partial(ask, store.LIST_CHECKPOINTS, ORG, 0, 100))
    assert [row[0] for row in checkpoints] == [41]


async def test_only_the_holder_of_the_lease_works(database: Database, log: Log) -> None:
    one, two = (sequencer(database, lease=HeldLease(database, "audit", owner, World())) for owner in ("a", "b"))
    await put(database, log)
    assert await one.drain() == 41
    log.action()
    await put(database, log, start=41)
    assert await two.drain() == 0
    assert await one.drain() == 1


async def test_an_idle_sequencer_writes_nothing(database: Database, log: Log) -> None:
    one = sequencer(database, lease=HeldLease(database, "audit", "a", World()))
    await put(database, log)
    await one.drain()
    before = database.statistics.write_transactions
    assert await one.drain() == 0
    assert database.statistics.write_transactions == before


async def test_it_runs_until_cancelled_and_leaves_the_lease_to_others(database: Database, log: Log) -> None:
    at_work = asyncio.Event()

    class Key:
        kid = KEY.kid

        def sign(self, message: bytes) -> bytes:
            loop.call_soon_threadsafe(at_work.set)
            return KEY.sign(message)

    loop = asyncio.get_running_loop()
    await put(database, log)
    lease = HeldLease(database, "audit", "a", World())
    one = Sequencer(database, World(), INSTALLATION, Key(), lease=lease, interval=0.001, batch=1)
    task = asyncio.create_task(one.run())
    await at_work.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await sequencer(database, lease=HeldLease(database, "audit", "b", World())).drain()
    assert (await database.read(partial(ask, COUNT)))[0][0] == 0
    assert [row[0] for row in await database.read(partial(ask, LEAVES, ORG))] == list(range(41))


async def test_a_new_key_signs_from_the_next_checkpoint_on(database: Database, log: Log) -> None:
    await put(database, log)
    one = sequencer(database)
    await one.drain()
    one.use_key(Ed25519CheckpointKey("sk-2", bytes(32)))
    log.action()
    await put(database, log, start=41)
    await one.drain()
    checkpoints = await database.read(partial(ask, store.LIST_CHECKPOINTS, ORG, 0, 100))
    assert [(row[0], row[3]) for row in checkpoints] == [(41, "sk-1"), (42, "sk-2")]


async def test_an_export_of_a_database_is_sound(database: Database, log: Log, tmp_path: Path) -> None:
    await with_key(database)
    await put(database, log)
    await sequencer(database, batch=16).drain()
    start = len(log.entries)
    log.action()
    await put(database, log, start=start)
    path = tmp_path / "export.jsonl"
    for redact in (False, True):
        path.write_bytes(await exported(database, redact=redact))
        finding = verify_file(path, trusted_fingerprint=fingerprint(KEY.public_key))
        assert isinstance(finding, Sound), finding
        summary = finding.summary
        assert (summary.entries, summary.checkpoints, summary.unsequenced) == (41, 3, 1)
        assert summary.redacted_payloads == (41 if redact else 0)


async def test_a_row_changed_in_the_database_is_found(database: Database, log: Log, tmp_path: Path) -> None:
    await with_key(database)
    await put(database, log)
    await sequencer(database).drain()
    position = 7
    entry_id = (await database.read(partial(ask, LEAVES, ORG)))[position][1]
    text = next(data for data, _ in log.entries if decode(data).id == entry_id).decode()
    await database.write(partial(ask, CHANGE, text.replace("192.0.2.1", "192.0.2.2"), ORG, entry_id))
    path = tmp_path / "export.jsonl"
    path.write_bytes(await exported(database))
    finding = verify_file(path, trusted_fingerprint=fingerprint(KEY.public_key))
    assert isinstance(finding, Broken)
    assert (finding.position, finding.entry_id) == (position, entry_id)


async def test_what_is_sequenced_during_an_export_is_in_it_once(database: Database, log: Log, tmp_path: Path) -> None:
    await with_key(database)
    await put(database, log)
    one = sequencer(database, batch=16)
    await one.drain()
    pending: list[asyncio.Task[None]] = []

    async def more() -> None:
        start = len(log.entries)
        log.action()
        await put(database, log, start=start)
        await one.drain()

    output = io.BytesIO()
    await export(
        database,
        INSTALLATION,
        ORG,
        output,
        now=START,
        open_payload=None,
        progress=lambda done, total: pending.append(asyncio.create_task(more())),
    )
    await asyncio.gather(*pending)
    path = tmp_path / "export.jsonl"
    path.write_bytes(output.getvalue())
    finding = verify_file(path, trusted_fingerprint=fingerprint(KEY.public_key))
    assert isinstance(finding, Sound), finding
    assert finding.summary.entries + finding.summary.unsequenced >= 41
