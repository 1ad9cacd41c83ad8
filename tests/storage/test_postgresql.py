"""What only the PostgreSQL engine does: re-runs, lost connections, old servers."""

from __future__ import annotations

import asyncio
import shutil
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from countersign.storage import (
    SchemaError,
    Statement,
    StorageUnavailable,
    Timeouts,
    Transaction,
    open_database,
    postgresql,
)
from countersign.storage.postgresql import PostgresqlDatabase
from countersign.storage.postgresql_connections import SILENCE_S, Connections
from countersign.storage.postgresql_schema import check_version
from tests.storage.catalogue import count, get, put, spend
from tests.support import aio, disks
from tests.support.postgres import PostgresServer

REPEATABLE_READ = Statement("repeatable_read", "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
GET = Statement("get", "SELECT value FROM installation WHERE name = ?")
SET = Statement("set", "UPDATE installation SET value = ? WHERE name = ?")
END_MYSELF = Statement("end_myself", "SELECT pg_terminate_backend(pg_backend_pid())")


@pytest.fixture
def url(postgres_server: PostgresServer) -> Iterator[str]:
    url = postgres_server.new_database()
    yield url
    postgres_server.drop_database(url)


async def opened(url: str) -> PostgresqlDatabase:
    database = await open_database(url, migrate=False)
    assert isinstance(database, PostgresqlDatabase)
    return database


async def test_a_server_that_vanished_is_noticed(url: str) -> None:
    # The kernel does the rest; to have packets vanish takes rights that tests do not have.
    database = await opened(url)
    connection = await database._connections.take()
    peer = connection._transport.get_extra_info("socket")
    assert peer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    idle, every, times, unacknowledged = (
        peer.getsockopt(socket.IPPROTO_TCP, option)
        for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
    )
    assert idle + every * times == unacknowledged / 1000 == SILENCE_S
    database._connections.give_back(connection)
    await database.close()


def meanwhile(url: str, value: str) -> None:
    """Commit a change from another connection, as another process would."""

    async def change() -> None:
        database = await opened(url)

        def write() -> Transaction[None]:
            yield SET, (value, "colour")

        await database.write(write)
        await database.close()

    thread = threading.Thread(target=aio.run, args=(change(),))
    thread.start()
    thread.join()


class Rival:
    """A transaction at REPEATABLE READ that another one overtakes in each of its first ``times`` runs."""

    def __init__(self, url: str, times: int) -> None:
        self.url = url
        self.times = times
        self.runs = 0

    def __call__(self) -> Transaction[str]:
        self.runs += 1
        yield REPEATABLE_READ, ()
        rows = yield GET, ("colour",)
        if self.runs <= self.times:
            meanwhile(self.url, f"red {self.runs}")
        yield SET, (f"{rows[0][0]} and blue", "colour")
        return str(rows[0][0])


async def test_a_serialization_failure_runs_the_transaction_again_from_its_start(url: str) -> None:
    database = await opened(url)
    await database.write(lambda: put("colour", "green"))
    rival = Rival(url, times=2)
    assert await database.write(rival) == "red 2"
    assert rival.runs == 3
    assert await database.read(lambda: get("colour")) == "red 2 and blue"
    assert database.statistics.write_transactions == 2
    assert database.statistics.commits == 2
    await database.close()


async def test_endless_conflicts_are_given_back_to_the_caller(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "ATTEMPTS", 2)
    database = await opened(url)
    await database.write(lambda: put("colour", "green"))
    with pytest.raises(StorageUnavailable, match="same rows") as caught:
        await database.write(Rival(url, times=9))
    assert not caught.value.unknown_outcome
    assert await database.read(lambda: get("colour")) == "red 2"
    await database.close()


async def test_a_connection_lost_inside_a_transaction_is_an_outage_and_the_next_write_works(url: str) -> None:
    database = await opened(url)

    def put_and_end() -> Transaction[None]:
        yield from put("colour", "blue")
        yield END_MYSELF, ()

    with pytest.raises(StorageUnavailable) as caught:
        await database.write(put_and_end)
    assert not caught.value.unknown_outcome
    assert await database.read(count) == 0
    await database.write(lambda: put("colour", "blue"))
    await database.close()


async def test_a_connection_lost_at_commit_leaves_the_outcome_unknown(url: str) -> None:
    database = await opened(url)
    processes: list[int] = []

    def put_and_be_ended() -> Transaction[None]:
        rows = yield Statement("who", "SELECT pg_backend_pid()"), ()
        processes.append(rows[0][0])
        yield from put("colour", "blue")
        thread = threading.Thread(target=aio.run, args=(end(url, processes[0]),))
        thread.start()
        thread.join()

    with pytest.raises(StorageUnavailable) as caught:
        await database.write(put_and_be_ended)
    assert caught.value.unknown_outcome
    assert await database.read(count) == 0
    await database.close()


async def end(url: str, process: int) -> None:
    database = await opened(url)

    def terminate() -> Transaction[None]:
        yield Statement("terminate", "SELECT pg_terminate_backend(?, 10000)"), (process,)

    await database.read(terminate)
    await database.close()


async def test_idle_connections_that_the_server_ended_are_replaced(url: str) -> None:
    database = await opened(url)
    await asyncio.gather(*[database.read(count) for _ in range(8)])
    others = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database()"

    async def end_others() -> None:
        ender = await opened(url)

        def run() -> Transaction[None]:
            yield Statement("end", f"{others} AND pid <> pg_backend_pid()"), ()

        await ender.read(run)
        await ender.close()

    await end_others()
    await database.write(lambda: put("colour", "blue"))
    assert await database.read(lambda: get("colour")) == "blue"
    await database.close()


async def test_50_spends_over_two_sets_of_connections_are_one(url: str) -> None:
    databases = [await opened(url), await opened(url)]
    await databases[0].write(lambda: put("action", "unspent"))
    spent = await asyncio.gather(*[databases[n % 2].write(lambda n=n: spend("action", str(n))) for n in range(50)])
    assert sum(spent) == 1
    for database in databases:
        await database.close()


async def test_a_cancelled_transaction_leaves_no_lock_behind(url: str) -> None:
    database = await opened(url)
    holds = asyncio.Event()

    def put_and_hang() -> Transaction[None]:
        yield from put("colour", "blue")
        holds.set()
        yield Statement("hang", "SELECT pg_sleep(600)"), ()

    hanging = asyncio.create_task(database.write(put_and_hang))
    await holds.wait()
    await asyncio.sleep(0)
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging
    assert await database.write(lambda: put("colour", "red")) == "red"
    await database.close()


async def test_a_statement_that_takes_too_long_is_ended(url: str) -> None:
    database = await PostgresqlDatabase.open(url, timeouts=Timeouts(statement=0.05))

    def put_and_hang() -> Transaction[None]:
        yield from put("colour", "blue")
        yield Statement("hang", "SELECT pg_sleep(600)"), ()

    with pytest.raises(StorageUnavailable, match="a statement took too long") as caught:
        await database.write(put_and_hang)
    assert not caught.value.unknown_outcome
    assert await database.read(count) == 0
    await database.close()


async def test_a_lock_that_is_not_to_be_had_in_time_is_not_waited_for(url: str) -> None:
    holder = await opened(url)
    await holder.write(lambda: put("colour", "green"))
    refused: list[str] = []

    def hold() -> Transaction[None]:
        yield SET, ("blue", "colour")
        thread = threading.Thread(target=lambda: refused.append(aio.run(overtake(url))))
        thread.start()
        thread.join()

    await holder.write(hold)
    assert "a lock could not be had in time" in refused[0]
    assert await holder.read(lambda: get("colour")) == "blue"
    await holder.close()


async def overtake(url: str) -> str:
    """What keeps another transaction from the same row, within a moment."""
    database = await PostgresqlDatabase.open(url, timeouts=Timeouts(lock=0.05))

    def write() -> Transaction[None]:
        yield SET, ("red", "colour")

    try:
        await database.write(write)
    except StorageUnavailable as error:
        return error.reason
    finally:
        await database.close()
    raise AssertionError("it did not wait")


async def test_a_transaction_that_stands_still_is_ended_and_holds_nothing(url: str) -> None:
    database = await PostgresqlDatabase.open(url, timeouts=Timeouts(idle_transaction=0.05))

    def put_and_stand_still() -> Transaction[None]:
        rows = yield Statement("who", "SELECT pg_backend_pid()"), ()
        yield from put("colour", "blue")
        thread = threading.Thread(target=aio.run, args=(gone(url, rows[0][0]),))
        thread.start()
        thread.join()
        yield from put("shape", "round")

    with pytest.raises(StorageUnavailable) as caught:
        await database.write(put_and_stand_still)
    assert not caught.value.unknown_outcome
    await database.write(lambda: put("colour", "red"))
    assert await database.read(count) == 1
    await database.close()


async def gone(url: str, process: int) -> None:
    """Wait until PostgreSQL has ended this connection."""
    database = await opened(url)

    def look() -> Transaction[int]:
        rows = yield Statement("look", "SELECT count(*) FROM pg_stat_activity WHERE pid = ?"), (process,)
        return int(rows[0][0])

    async with asyncio.timeout(20):
        while True:
            if not await database.read(look):
                break
            await asyncio.sleep(0.01)
    await database.close()


async def test_a_caller_that_gets_no_connection_in_time_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("countersign.storage.postgresql_connections.WAIT_S", 0.001)
    connections = Connections(url, {}, limit=1)
    taken = await connections.take()
    with pytest.raises(StorageUnavailable, match="in use"):
        await connections.take()
    connections.give_back(taken)
    assert await connections.take() is taken
    connections.give_back(taken)
    await connections.close()


async def test_a_server_that_is_not_there_is_an_outage_that_names_no_address() -> None:
    with pytest.raises(StorageUnavailable) as caught:
        await open_database("postgresql://someone:secret@127.0.0.1:1/nothing", migrate=True)
    assert not any(word in caught.value.reason for word in ("someone", "secret", "127.0.0.1"))


def test_servers_before_15_are_refused() -> None:
    def server(major: int) -> SimpleNamespace:
        return SimpleNamespace(get_server_version=lambda: SimpleNamespace(major=major))

    check_version(server(15))
    with pytest.raises(SchemaError, match="PostgreSQL 14 is too old"):
        check_version(server(14))


async def test_d2_while_the_server_is_read_only_writes_are_refused_and_reads_go_on(url: str) -> None:
    database = await opened(url)
    await database.write(lambda: put("colour", "blue"))

    async def read_only(value: str) -> None:
        # For the sessions that exist: their next transaction begins read-only, as on a standby.
        connections = [await database._connections.take() for _ in range(3)]
        for connection in connections:
            await connection.execute(f"SET default_transaction_read_only = {value}")
        for connection in connections:
            database._connections.give_back(connection)

    await read_only("on")
    with pytest.raises(StorageUnavailable, match="read-only"):
        await database.write(lambda: put("shape", "round"))
    assert await database.read(lambda: get("colour")) == "blue"
    await read_only("off")
    await database.write(lambda: put("shape", "round"))
    await database.close()


FILL = Statement("fill", "INSERT INTO filler SELECT repeat(md5(n::text), 60) FROM generate_series(1, ?) n")


def test_d2_on_a_full_disk_writes_are_refused_reads_go_on_and_space_heals(
    url: str, postgres_server: PostgresServer, runner: asyncio.Runner
) -> None:
    def run(sql: str) -> Transaction[None]:
        yield Statement("run", sql), ()

    def fill(rows: int) -> Transaction[None]:
        yield FILL, (rows,)

    with disks.tiny_disk(postgres_server.directory / "disk", "2m") as disk:
        shutil.chown(disk, postgres_server.directory.owner())
        postgres_server.execute(f"CREATE TABLESPACE tiny LOCATION '{disk}'")
        database = runner.run(opened(url))
        runner.run(database.write(lambda: run("CREATE TABLE filler (content TEXT) TABLESPACE tiny")))
        disks.fill(disk / "filler")
        with pytest.raises(StorageUnavailable, match="disk space") as caught:
            runner.run(database.write(lambda: fill(100)))
        assert not caught.value.unknown_outcome
        assert runner.run(database.read(count)) == 0
        (disk / "filler").unlink()
        runner.run(database.write(lambda: fill(100)))
        runner.run(database.write(lambda: run("DROP TABLE filler")))
        runner.run(database.close())
        postgres_server.execute("DROP TABLESPACE tiny")
