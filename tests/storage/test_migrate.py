"""Migrations: forward only, checksummed, and safe for two at once."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import chain
from pathlib import Path

import pytest

from countersign import storage
from countersign.storage import SchemaChanged, SchemaNewer, SchemaOutdated, StorageUnavailable, migrate, open_database
from countersign.storage.migrate import MigrationFailed, SchemaSession, migration
from tests.support import aio
from tests.support.postgres import PostgresServer

FIRST = migration(
    1, "first", b"-- a comment; with a semicolon\nCREATE TABLE one (n BIGINT);\nINSERT INTO one VALUES (1);\n"
)
SECOND = migration(2, "second", b"INSERT INTO one VALUES (2); -- and a comment\nCREATE TABLE two (\n  n BIGINT\n)")
BROKEN = migration(3, "broken", b"CREATE TABLE three (n BIGINT);\nINSERT INTO nowhere VALUES (1);\n")


async def session_of(url: str) -> SchemaSession:
    return await storage._schema_session(url, create=True)


async def test_migrations_are_applied_in_order_and_once(empty_url: str) -> None:
    session = await session_of(empty_url)
    assert await migrate.pending(session, [FIRST, SECOND]) == ["0001_first", "0002_second"]
    assert await migrate.apply(session, [FIRST]) == ["0001_first"]
    assert await migrate.pending(session, [FIRST, SECOND]) == ["0002_second"]
    assert await migrate.apply(session, [FIRST, SECOND]) == ["0002_second"]
    assert await migrate.apply(session, [FIRST, SECOND]) == []
    assert [row[0] for row in await session.fetch("SELECT n FROM one ORDER BY n")] == [1, 2]
    assert await session.has_table("two")
    await session.close()


async def test_a_migration_that_fails_leaves_nothing_of_itself(empty_url: str) -> None:
    session = await session_of(empty_url)
    told: list[tuple[str, str]] = []
    with pytest.raises(MigrationFailed, match=r"0003_broken failed and was undone: .*nowhere") as caught:
        await migrate.apply(session, [FIRST, SECOND, BROKEN], lambda *each: told.append(each))
    assert "\n" not in str(caught.value)
    assert told[2:] == [("0002_second", "applying"), ("0002_second", "applied"), ("0003_broken", "applying")]
    assert await session.has_table("two")
    assert not await session.has_table("three")
    assert await migrate.pending(session, [FIRST, SECOND, BROKEN]) == ["0003_broken"]
    await session.close()


async def test_each_shipped_migration_can_break_off_at_its_end_and_be_applied_again(empty_url: str) -> None:
    session, known = await session_of(empty_url), migrate.shipped()
    for each in known:
        broken = migration(each.version, each.name, f"{each.sql};\nINSERT INTO nowhere VALUES (1);".encode())
        with pytest.raises(MigrationFailed, match="nowhere"):
            await migrate.apply(session, [*known[: each.version - 1], broken])
        assert await migrate.apply(session, known[: each.version]) == [f"{each.version:04d}_{each.name}"]
    await session.close()


async def test_what_keeps_postgresql_from_being_migrated_is_told(postgres_server: PostgresServer) -> None:
    url = await asyncio.to_thread(postgres_server.new_database, migrated=False)
    name = url.rsplit("/", 1)[1]
    execute = partial(asyncio.to_thread, postgres_server.execute)
    await execute(f"CREATE ROLE {name} LOGIN")
    try:
        with pytest.raises(StorageUnavailable, match="may not make tables"):
            await storage.migrate_database(url.replace("postgres@", f"{name}@"))
        await execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        with pytest.raises(StorageUnavailable, match="read-only"):
            await storage.migrate_database(url)
    finally:
        await execute(f"DROP DATABASE {name} WITH (FORCE)")
        await execute(f"DROP ROLE {name}")


async def test_a_connection_that_is_lost_half_way_is_an_outage_and_leaves_nothing(
    postgres_server: PostgresServer,
) -> None:
    url = await asyncio.to_thread(postgres_server.new_database, migrated=False)
    cut = migration(2, "cut", b"CREATE TABLE two (n BIGINT); SELECT pg_terminate_backend(pg_backend_pid());")
    session = await session_of(url)
    with pytest.raises(StorageUnavailable):
        await migrate.apply(session, [FIRST, cut])
    await session.close()
    session = await session_of(url)
    assert await migrate.apply(session, [FIRST, SECOND]) == ["0002_second"]
    await session.close()
    await asyncio.to_thread(postgres_server.drop_database, url)


async def test_a_changed_migration_is_refused(empty_url: str) -> None:
    session = await session_of(empty_url)
    await migrate.apply(session, [FIRST])
    changed = migration(1, "first", FIRST.sql.encode() + b"-- changed")
    for check in (migrate.pending, migrate.apply):
        with pytest.raises(SchemaChanged, match="0001_first"):
            await check(session, [changed, SECOND])
    assert not await session.has_table("two")
    await session.close()


async def test_a_database_of_a_later_version_is_refused(empty_url: str) -> None:
    session = await session_of(empty_url)
    await migrate.apply(session, [FIRST, SECOND])
    for check in (migrate.pending, migrate.apply):
        with pytest.raises(SchemaNewer, match="0002"):
            await check(session, [FIRST])
    await session.close()


async def test_several_that_migrate_at_once_apply_each_migration_once(empty_url: str) -> None:
    sessions = [await session_of(empty_url) for _ in range(4)]
    if empty_url.startswith("sqlite"):
        # A SQLite session waits for the file's lock without the event loop, so each has a thread.
        runs = [asyncio.to_thread(asyncio.run, migrate.apply(each, [FIRST, SECOND])) for each in sessions]
    else:
        runs = [migrate.apply(each, [FIRST, SECOND]) for each in sessions]
    applied = await asyncio.gather(*runs)
    assert sorted(chain.from_iterable(applied)) == ["0001_first", "0002_second"]
    assert [row[0] for row in await sessions[0].fetch("SELECT n FROM one ORDER BY n")] == [1, 2]
    for each in sessions:
        await each.close()


async def test_a_table_is_kept_in_the_order_of_its_key_where_a_migration_says_so_to_sqlite(tmp_path: Path) -> None:
    session = await session_of(f"sqlite://{tmp_path}/clustered.db")
    clustered = b"CREATE TABLE one (n BIGINT PRIMARY KEY) /* SQLite: WITHOUT ROWID */;\n/* but not this */"
    await migrate.apply(session, [migration(1, "clustered", clustered)])
    assert [row[0] for row in await session.fetch("SELECT wr FROM pragma_table_list WHERE name = 'one'")] == [1]
    await session.close()


async def test_an_outdated_database_is_not_opened_and_says_what_to_run(empty_url: str) -> None:
    if empty_url.startswith("sqlite"):
        await asyncio.to_thread(Path(empty_url.removeprefix("sqlite://")).touch)
    with pytest.raises(SchemaOutdated, match="countersign migrate") as caught:
        await open_database(empty_url, migrate=False)
    assert caught.value.names[0] == "0001_initial"


def test_a_missing_file_is_not_made_where_nothing_is_to_be_migrated(tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/missing.db"
    assert aio.run(storage.pending_migrations(url))
    with pytest.raises(StorageUnavailable, match=r"no database file .*missing\.db"):
        aio.run(open_database(url, migrate=False))
    assert list(tmp_path.iterdir()) == []


async def test_the_shipped_migrations_apply_and_leave_nothing_pending(empty_url: str) -> None:
    applied = await storage.migrate_database(empty_url)
    assert applied == [f"{each.version:04d}_{each.name}" for each in migrate.shipped()]
    assert await storage.pending_migrations(empty_url) == []


def test_shipped_migrations_are_numbered_without_gaps() -> None:
    assert [each.version for each in migrate.shipped()] == list(range(1, len(migrate.shipped()) + 1))


async def test_another_process_that_holds_the_lock_for_long_is_an_outage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("countersign.storage.sqlite_schema.BUSY_TIMEOUT_MS", 1)
    url = f"sqlite://{tmp_path}/held.db"
    holder = await session_of(url)
    await holder.begin()
    with pytest.raises(StorageUnavailable, match="another process"):
        await storage.migrate_database(url)
    await holder.rollback()
    await holder.close()


async def test_what_was_approved_or_waited_before_approvals_had_jobs_gets_one(empty_url: str) -> None:
    session, known = await session_of(empty_url), list(migrate.shipped())
    await migrate.apply(session, [each for each in known if each.version < 8])
    await session.begin()
    signature = "INSERT INTO signatures (org_id, signature_id, key_id, requester, request_body, status, action_id, "
    for number, status, approval in ((1, "Executing", "'ap-1'"), (2, "Executing", "NULL"), (3, "Signed", "'ap-3'")):
        await session.fetch(
            f"{signature} requested_at, approval_id) VALUES ('o', 'sig-{number}', 'k', '', '', '{status}', "
            f"'a-{number}', 7, {approval})"
        )
    approval = (
        "INSERT INTO policy_approvals (org_id, approval_id, initiator_id, activity_kind, entity_kind, entity_id, "
        "status, groups, evaluations, expires_at, created_at, updated_at) VALUES ('o', 'ap-{}', '', '', '', '', "
        "'{}', '', '', {}, 5, 5)"
    )
    for number, status, ends in ((1, "Approved", 9), (4, "Pending", 9), (5, "Pending", "NULL")):
        await session.fetch(approval.format(number, status, ends))
    await session.commit()
    await migrate.apply(session, known)
    rows = await session.fetch("SELECT job_id, kind, unique_key, payload, due_at FROM jobs ORDER BY kind")
    assert [tuple(row) for row in rows] == [
        ("job-1", "keys.sign_approved", "sig-1", '{"signatureId":"sig-1"}', 7),
        ("job-4", "policies.end_approval", "ap-4", '{"approvalId":"ap-4"}', 9),
    ]
    await session.close()
