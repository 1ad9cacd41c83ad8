"""What only the SQLite engine does: batches, other processes, disks that fail."""

from __future__ import annotations

import asyncio
import re
import resource
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from countersign.storage import Statement, StorageUnavailable, Transaction, open_database, sqlite
from countersign.storage.sqlite import SqliteDatabase
from tests.storage.catalogue import Refused, count, get, put, put_then_refuse
from tests.support import aio, disks


class _CannotEnd:
    """A connection in whose transaction no statement works any more."""

    in_transaction = True

    def __init__(self, connection: sqlite3.Connection | None) -> None:
        assert connection is not None
        self._connection = connection

    def execute(self, sql: str) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "countersign.db"


def size(path: Path) -> int:
    return path.stat().st_size


async def put_until_refused(database: SqliteDatabase, acknowledged: list[str]) -> None:
    for n in range(100):
        name = f"name {n}"
        await database.write(lambda name=name: put(name, "x" * 4000))
        acknowledged.append(name)


async def opened(path: Path) -> SqliteDatabase:
    database = await open_database(f"sqlite://{path}", migrate=True)
    assert isinstance(database, SqliteDatabase)
    return database


async def test_the_file_is_made_for_its_owner_alone(path: Path) -> None:
    database = await opened(path)
    await database.write(lambda: put("colour", "blue"))
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name
    await database.close()


async def test_durability_settings_are_in_force(path: Path) -> None:
    database = await opened(path)
    seen = {}

    def look() -> Transaction[None]:
        for name in ("journal_mode", "synchronous", "foreign_keys"):
            rows = yield Statement(name, f"PRAGMA {name}"), ()
            seen[name] = rows[0][0]

    await database.write(look)
    assert seen == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 0}
    await database.close()


async def test_concurrent_writes_share_commits(path: Path) -> None:
    database = await opened(path)
    await asyncio.gather(*[database.write(lambda n=n: put(f"name {n}", "")) for n in range(200)])
    assert database.statistics.write_transactions == 200
    assert database.statistics.commits == -(-200 // sqlite.BATCH_LIMIT)
    await database.close()


async def test_a_batch_in_which_all_fail_commits_nothing(path: Path) -> None:
    database = await opened(path)
    writes = [database.write(lambda n=n: put_then_refuse(str(n))) for n in range(5)]
    answers = await asyncio.gather(*writes, return_exceptions=True)
    assert all(isinstance(answer, Refused) for answer in answers)
    assert database.statistics.commits == 0
    assert await database.read(count) == 0
    await database.close()


async def test_a_read_does_not_see_what_is_not_yet_committed(path: Path) -> None:
    database = await opened(path)
    seen = []

    def put_and_look() -> Transaction[None]:
        yield from put("colour", "blue")
        reading = database.read(count)
        with pytest.raises(StopIteration) as ended:
            reading.send(None)  # a read never waits, so that it can be run to its end right here
        seen.append(ended.value.value)

    await database.write(put_and_look)
    assert seen == [0]
    assert await database.read(count) == 1
    await database.close()


async def test_reads_of_one_round_of_the_event_loop_see_one_state_and_those_of_the_next_the_newest(path: Path) -> None:
    database = await opened(path)
    counts = []
    with closing(sqlite3.connect(path)) as other:
        for number in range(3):
            counts += [await database.read(count), await database.read(count)]
            with other:
                other.execute("INSERT INTO installation (name, value) VALUES (?, '')", (str(number),))
            counts.append(await database.read(count))
            await asyncio.sleep(0)
    assert counts == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert await database.read(count) == 3
    await database.close()


async def test_whoever_is_told_of_a_commit_reads_what_it_wrote_however_many_others_read(path: Path) -> None:
    database = await opened(path)
    done = False

    async def reads_on() -> None:
        while not done:
            await database.read(count)
            await asyncio.sleep(0)

    async def writes_and_reads(name: str) -> list[str | None]:
        read = []
        for number in range(5):
            await database.write(lambda number=number: put(f"{name} {number}", name))
            read.append(await database.read(lambda number=number: get(f"{name} {number}")))
        return read

    readers = [asyncio.create_task(reads_on()) for _ in range(8)]
    names = [f"writer {number}" for number in range(20)]
    assert await asyncio.gather(*map(writes_and_reads, names)) == [[name] * 5 for name in names]
    done = True
    await asyncio.gather(*readers)
    await database.close()


async def test_reads_go_on_with_a_new_connection_when_a_state_cannot_be_given_up(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = await opened(path)
    assert [await database.read(count), await database.read(count)] == [0, 0]
    monkeypatch.setattr(database, "_reader", _CannotEnd(database._reader))
    await database.write(lambda: put("colour", "blue"))
    assert await database.read(count) == 1
    await database.close()


async def test_more_waiting_writes_than_the_limit_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "WAITING_LIMIT", 10)
    database = await opened(path)
    writes = [database.write(lambda n=n: put(str(n), "")) for n in range(15)]
    answers = await asyncio.gather(*writes, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, StorageUnavailable)]
    assert len(refused) == 5
    assert "waiting" in refused[0].reason
    assert await database.read(count) == 10
    await database.close()


async def test_a_write_waits_for_another_process_while_reads_go_on(path: Path) -> None:
    database = await opened(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writes = [asyncio.create_task(database.write(lambda n=n: put(f"name {n}", ""))) for n in range(3)]
    for _ in range(10):
        await asyncio.sleep(0)
        assert await database.read(count) == 0
    other.execute("COMMIT")
    await asyncio.gather(*writes)
    assert await database.read(count) == 3
    other.close()
    await database.close()


async def test_a_write_that_waited_too_long_for_another_process_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_MS", 1)
    database = await opened(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageUnavailable, match="another process"):
        await database.write(lambda: put("colour", "blue"))
    other.execute("COMMIT")
    other.close()
    await database.write(lambda: put("colour", "blue"))
    await database.close()


async def test_the_log_is_copied_back_while_writes_go_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "COMMITS_PER_CHECKPOINT", 4)
    database = await opened(path)
    before = size(path)
    for n in range(40):
        await database.write(lambda n=n: put(f"name {n}", "x" * 2000))
    await database.close()
    assert size(path) > before
    again = await opened(path)
    assert await again.read(count) == 40
    await again.close()


async def test_d2_on_a_full_disk_writes_are_refused_reads_go_on_and_space_heals(tmp_path: Path) -> None:
    with disks.tiny_disk(tmp_path / "disk", "2m") as disk:
        database = await opened(disk / "countersign.db")
        await database.write(lambda: put("colour", "blue"))
        disks.fill(disk / "filler")
        acknowledged = ["colour"]
        with pytest.raises(StorageUnavailable, match="the disk is full") as caught:
            await put_until_refused(database, acknowledged)
        assert not caught.value.unknown_outcome
        # A whole batch is refused alike, and nobody waits for ever.
        writes = [database.write(lambda n=n: put(f"more {n}", "x" * 4000)) for n in range(20)]
        answers = await asyncio.gather(*writes, return_exceptions=True)
        assert all(isinstance(answer, StorageUnavailable) for answer in answers)
        assert await database.read(lambda: get("colour")) == "blue"
        assert await database.read(count) == len(acknowledged)
        (disk / "filler").unlink()
        await database.write(lambda: put("shape", "x" * 4000))
        assert await database.read(count) == len(acknowledged) + 1
        await database.close()


@pytest.mark.parametrize("writes", [1, 3])
async def test_d2_a_statement_that_finds_no_room_refuses_its_whole_batch(path: Path, writes: int) -> None:
    """Which of them SQLite has undone by itself is not known."""
    database = await opened(path)
    await database.write(lambda: put("before", "x"))
    assert database._writer is not None
    (pages,) = database._writer.execute("PRAGMA page_count").fetchone()
    database._writer.execute(f"PRAGMA max_page_count={pages}")
    wanted = [database.write(lambda n=n: put(f"name {n}", "x" * 100_000 if n == 0 else "x")) for n in range(writes)]
    refused = await asyncio.gather(*wanted, return_exceptions=True)
    assert [type(each) for each in refused] == [StorageUnavailable] * writes
    # A new connection writes again, and finds nothing of the batch.
    await database.write(lambda: put("name 0", "y"))
    assert [await database.read(lambda name=name: get(name)) for name in ("before", "name 0", "name 1")] == [
        "x",
        "y",
        None,
    ]
    await database.close()


@pytest.mark.parametrize(("code", "unknown"), [(sqlite3.SQLITE_IOERR_FSYNC, True), (sqlite3.SQLITE_FULL, False)])
async def test_d2_after_a_failed_sync_the_outcome_is_unknown(
    path: Path, monkeypatch: pytest.MonkeyPatch, code: int, unknown: bool
) -> None:
    database = await opened(path)
    error = sqlite3.OperationalError("of a test")
    error.sqlite_errorcode = code
    with monkeypatch.context() as failing:
        failing.setattr(database, "_attempt", lambda _sql: error)
        with pytest.raises(StorageUnavailable) as refused:
            await database.write(lambda: put("colour", "blue"))
    assert refused.value.unknown_outcome is unknown
    assert await database.write(lambda: put("colour", "green")) is not None
    assert await database.read(lambda: get("colour")) == "green"
    await database.close()


@contextmanager
def files_cannot_grow(path: Path) -> Iterator[None]:
    """Every write beyond the present end of the log fails, as on a failing or read-only disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    log = path.with_name(path.name + "-wal")
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_d2_when_the_disk_refuses_writes_reads_go_on_and_writes_recover(path: Path) -> None:
    database = await opened(path)
    await database.write(lambda: put("colour", "blue"))
    with files_cannot_grow(path):
        with pytest.raises(StorageUnavailable, match="the disk"):
            await put_until_refused(database, [])
        assert await database.read(lambda: get("colour")) == "blue"
    before = await database.read(count)
    await database.write(lambda: put("shape", "x" * 4000))
    assert await database.read(count) == before + 1
    await database.close()


async def test_a_file_that_cannot_be_made_is_named_to_the_operator_who_starts_the_server(tmp_path: Path) -> None:
    # Files are made by local commands only; no answer to a request ever holds this text.
    with pytest.raises(StorageUnavailable, match=re.escape(f"{tmp_path}/missing/countersign.db")):
        await open_database(f"sqlite://{tmp_path}/missing/countersign.db", migrate=True)


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be looked at" * 50)
    with pytest.raises(StorageUnavailable, match="not a database"):
        aio.run(open_database(f"sqlite://{path}", migrate=True))
