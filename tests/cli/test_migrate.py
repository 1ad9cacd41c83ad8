"""``countersign migrate`` over a database that an earlier version left behind."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from countersign.storage import migrate
from tests.clients.parties import new_credential
from tests.support.commands import Done, countersign, refusal
from tests.support.databases import as_left_by_an_earlier_version

LAST = migrate.shipped()[-1]
NAME = f"{LAST.version:04d}_{LAST.name}"


def run(url: str, *options: str) -> Done:
    return countersign("migrate", *options, env={"COUNTERSIGN_DATABASE": url})


@asynccontextmanager
async def a_server(url: str) -> AsyncIterator[None]:
    """What a server of the version before has open."""
    if url.startswith("sqlite"):
        file = sqlite3.connect(url.removeprefix("sqlite://"))
        file.execute("SELECT 1 FROM installation")
        yield
        file.close()
    else:
        connection = await asyncpg.connect(url, server_settings={"application_name": "countersign"})
        yield
        await connection.close()


async def test_what_is_pending_is_said_then_applied_and_not_while_a_server_runs(empty_url: str) -> None:
    url = await asyncio.to_thread(as_left_by_an_earlier_version, empty_url)
    async with a_server(url):
        assert "stop every server" in refusal(await asyncio.to_thread(run, url))
        said = await asyncio.to_thread(run, url, "--dry-run")
        assert (said.status, said.output) == (0, f"{NAME} is to be applied\n"), said.errors
    done = await asyncio.to_thread(run, url)
    assert (done.status, done.output) == (0, f"{NAME} ... applied\n"), done.errors
    async with a_server(url):
        assert (await asyncio.to_thread(run, url)).output == "the schema is up to date\n"


def test_a_migration_that_fails_is_named_with_its_cause_in_one_line(empty_url: str) -> None:
    in_the_way = "ALTER TABLE tokens RENAME COLUMN delegated_by TO by_whom"
    failed = run(as_left_by_an_earlier_version(empty_url, in_the_way))
    assert failed.output == f"{NAME} ... undone\n"
    assert f"migration {NAME} failed and was undone: " in refusal(failed)


def test_what_a_command_refuses_to_work_on_it_does_not_migrate_either(empty_url: str, tmp_path: Path) -> None:
    name = "INSERT INTO installation (name, value) VALUES"
    url = as_left_by_an_earlier_version(
        empty_url,
        f"{name} ('installation_id', 'in-1')",
        f"{name} ('store_id', 'ks-1')",
        f"{name} ('profile', 'production')",
    )
    told = refusal(countersign("up", "--data", tmp_path / "data", "--port", "0", "--database", url))
    assert "production server" in told
    (tmp_path / "kek").write_bytes(bytes(32))
    (tmp_path / "admin.pub").write_text(new_credential(tmp_path, "admin")[1])
    settings = {
        "COUNTERSIGN_DATABASE": url,
        "COUNTERSIGN_SERVER_SECRET_FILE": str(tmp_path / "secret"),
        "COUNTERSIGN_SIGNER_KEK": f"file:{tmp_path}/kek",
    }
    founding = ("init", "--org", "Acme", "--owner", "admin", "--public-key", tmp_path / "admin.pub")
    assert "initialised already" in refusal(countersign(*founding, env=settings))
    assert run(url, "--dry-run").output == f"{NAME} is to be applied\n"


@pytest.mark.parametrize("engine", ["sqlite"])
def test_a_server_does_not_migrate_the_database_of_a_sandbox(empty_url: str) -> None:
    url = as_left_by_an_earlier_version(empty_url, "INSERT INTO installation VALUES ('profile', 'sandbox')")
    told = refusal(countersign("serve", "--port", "0", env={"COUNTERSIGN_DATABASE": url}))
    assert "made by the sandbox" in told
    assert run(url, "--dry-run").output == f"{NAME} is to be applied\n"
