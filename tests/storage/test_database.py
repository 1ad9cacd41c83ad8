"""What both engines do alike."""

from __future__ import annotations

import asyncio

import pytest

from countersign.storage import ConstraintViolated, Database, StorageUnavailable, Transaction, open_database
from tests.storage import catalogue
from tests.storage.catalogue import count, get, put, put_then_refuse, spend


async def test_what_a_transaction_wrote_is_read_afterwards(database: Database) -> None:
    assert await database.write(lambda: put("colour", "blue")) == "blue"
    assert await database.read(lambda: get("colour")) == "blue"


async def test_what_was_written_is_there_after_opening_again(database_url: str) -> None:
    first = await open_database(database_url, migrate=False)
    await first.write(lambda: put("colour", "blue"))
    await first.close()
    second = await open_database(database_url, migrate=True)
    assert await second.read(lambda: get("colour")) == "blue"
    await second.close()


async def test_an_exception_inside_rolls_back_and_reaches_the_caller(database: Database) -> None:
    with pytest.raises(catalogue.Refused, match="colour"):
        await database.write(lambda: put_then_refuse("colour"))
    assert await database.read(lambda: get("colour")) is None
    await database.write(lambda: put("colour", "blue"))


async def test_200_concurrent_writes_are_all_made(database: Database) -> None:
    answers = await asyncio.gather(*[database.write(lambda n=n: put(f"name {n}", str(n))) for n in range(200)])
    assert answers == [str(n) for n in range(200)]
    assert await database.read(count) == 200


async def test_one_transaction_that_fails_leaves_its_neighbours_alone(database: Database) -> None:
    def one(n: int) -> Transaction[object]:
        return put_then_refuse(f"name {n}") if n % 3 == 0 else put(f"name {n}", str(n))

    writes = [database.write(lambda n=n: one(n)) for n in range(60)]
    answers = await asyncio.gather(*writes, return_exceptions=True)
    for n, answer in enumerate(answers):
        assert isinstance(answer, catalogue.Refused) if n % 3 == 0 else answer == str(n)
    assert await database.read(count) == 40


async def test_of_50_parallel_conditional_updates_exactly_one_succeeds(database: Database) -> None:
    await database.write(lambda: put("action", "unspent"))
    spent = await asyncio.gather(*[database.write(lambda n=n: spend("action", str(n))) for n in range(50)])
    assert sum(spent) == 1
    winner = spent.index(True)
    assert await database.read(lambda: get("action")) == f"spent by {winner}"


async def test_a_duplicate_key_names_the_statement_and_not_the_value(database: Database) -> None:
    await database.write(lambda: put("colour", "blue"))
    with pytest.raises(ConstraintViolated) as caught:
        await database.write(lambda: put("colour", "a secret"))
    assert caught.value.statement == "put"
    assert "secret" not in str(caught.value)
    assert await database.read(lambda: get("colour")) == "blue"


async def test_a_conflict_that_is_provided_for_answers_no_row(database: Database) -> None:
    def put_once(value: str) -> Transaction[bool]:
        rows = yield catalogue.PUT_ONCE, ("colour", value)
        return bool(rows)

    assert await database.write(lambda: put_once("blue"))
    assert not await database.write(lambda: put_once("red"))
    assert await database.read(lambda: get("colour")) == "blue"


async def test_a_wrong_statement_is_a_defect_and_not_an_outage(database: Database) -> None:
    for use in (database.read, database.write):
        with pytest.raises(Exception, match="nowhere") as caught:
            await use(catalogue.nonsense)
        assert not isinstance(caught.value, StorageUnavailable)
    await database.write(lambda: put("colour", "blue"))


async def test_bytes_large_integers_and_null_come_back_as_they_were(database: Database) -> None:
    columns = "kid, purpose, state, public_key, sealed, handover, created_at, retired_at"
    insert = catalogue.Statement("insert", f"INSERT INTO server_keys ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
    select = catalogue.Statement("select", f"SELECT {columns} FROM server_keys")
    key = ("k1", "session", "active", "ключ \U0001f511", b"\x00\xff12", None, 2**62, None)

    def insert_key() -> Transaction[None]:
        yield insert, key

    def select_keys() -> Transaction[list[tuple[object, ...]]]:
        rows = yield select, ()
        return [tuple(row) for row in rows]

    await database.write(insert_key)
    assert await database.read(select_keys) == [key]


async def test_statistics_count_statements_and_write_transactions(database: Database) -> None:
    def three() -> Transaction[None]:
        for n in range(3):
            yield catalogue.PUT, (f"name {n}", "")

    before = database.statistics
    statements, commits, writes = before.statements, before.commits, before.write_transactions
    await database.read(count)
    assert (before.statements, before.commits, before.write_transactions) == (statements + 1, commits, writes)
    await database.write(three)
    assert (before.statements, before.commits, before.write_transactions) == (statements + 4, commits + 1, writes + 1)


async def test_a_read_only_database_refuses_writes(database_url: str) -> None:
    database = await open_database(database_url, migrate=False, readonly=True)
    with pytest.raises(StorageUnavailable, match="reading only"):
        await database.write(lambda: put("colour", "blue"))
    with pytest.raises(Exception, match=r"read.?only"):
        await database.read(lambda: put("colour", "blue"))
    assert await database.read(count) == 0
    await database.close()


async def test_closing_finishes_what_is_under_way_and_refuses_the_rest(database_url: str) -> None:
    database = await open_database(database_url, migrate=False)
    write = asyncio.create_task(database.write(lambda: put("colour", "blue")))
    await asyncio.sleep(0)
    await database.close()
    assert await write == "blue"
    for use in (database.read, database.write):
        with pytest.raises(StorageUnavailable, match="closed"):
            await use(count)


async def test_a_cancelled_caller_leaves_the_database_usable(database: Database) -> None:
    writes = [asyncio.create_task(database.write(lambda n=n: put(f"name {n}", ""))) for n in range(20)]
    await asyncio.sleep(0)
    for write in writes[::2]:
        write.cancel()
    await asyncio.gather(*writes, return_exceptions=True)
    kept = await database.read(count)
    assert 10 <= kept <= 20
    await database.write(lambda: put("colour", "blue"))
    assert await database.read(lambda: get("colour")) == "blue"


@pytest.mark.parametrize("url", ["mysql://localhost/x", "sqlite://relative.db", "", "/tmp/x.db"])
async def test_another_kind_of_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        await open_database(url, migrate=True)
