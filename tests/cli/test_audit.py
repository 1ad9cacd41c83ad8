"""``countersign audit`` from the command line: a database to a file, a file to a verdict."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from countersign.access import server_keys
from countersign.audit.checkpoint import Ed25519CheckpointKey, fingerprint
from countersign.audit.entry import decode, pack_payload
from countersign.audit.log import append
from countersign.audit.sequencer import Sequencer
from countersign.cli.audit import audit
from countersign.storage import Database, Statement, Transaction, open_database
from countersign.world import World
from tests.audit.logs import INSTALLATION, ORG, Log, resealed, write
from tests.support import aio

SECRET = bytes(range(32))
NAME = Statement("name_installation", "INSERT INTO installation (name, value) VALUES ('installation_id', ?)")


def execute(statement: Statement, *arguments: Any) -> Transaction[None]:
    yield statement, arguments


async def fill(url: str, log: Log) -> str:
    """A database with the log in it, under rotated keys of the server; answers the first key's fingerprint."""
    database: Database = await open_database(url, migrate=False)
    try:
        world = World()
        await database.write(partial(execute, NAME, INSTALLATION))
        keys = await database.write(lambda: server_keys.create_all(SECRET, world))
        seal = server_keys.PayloadSeal(keys.of("payload"), keys.active("payload"), world)
        first = keys.active("checkpoint")
        key = Ed25519CheckpointKey(first.kid, first.secret)
        sequencer = Sequencer(database, world, INSTALLATION, key, batch=5)
        for index, (data, payload) in enumerate(log.entries):
            entry = decode(data)
            sealed = None if payload is None else seal.seal(pack_payload(payload.encode(), "token"), entry.id)
            await database.write(partial(append, entry, sealed))
            if index == 5:
                await sequencer.drain()
                new = await database.write(lambda: server_keys.rotate("checkpoint", SECRET, world))
                sequencer.use_key(Ed25519CheckpointKey(new.kid, new.secret))
        await sequencer.drain()
        return fingerprint(first.public_key)
    finally:
        await database.close()


def run(*arguments: object) -> Result:
    return CliRunner().invoke(audit, [str(argument) for argument in arguments])


@pytest.fixture
def log() -> Log:
    log = Log()
    for _ in range(9):
        log.action()
    return log


@pytest.fixture
def file(tmp_path: Path, log: Log) -> Path:
    return write(tmp_path / "audit.export", log.export(batch=4))


def test_a_database_is_exported_and_verified_with_the_first_key_as_trust(
    database_url: str, log: Log, tmp_path: Path
) -> None:
    trust = aio.run(fill(database_url, log))
    secret, output = tmp_path / "secret", tmp_path / "audit.export"
    secret.touch(mode=0o600)
    secret.write_bytes(SECRET)
    done = run("export", "--database", database_url, "--server-secret", secret, "--org", ORG, "--output", output)
    assert done.exit_code == 0, done.output
    assert "10 entries, 3 checkpoints, 0 not yet in the tree" in done.output
    assert output.stat().st_mode & 0o777 == 0o600
    assert b'"payload":"{\\"name\\"' in output.read_bytes()
    verified = run("verify", output, "--trust", trust)
    assert verified.exit_code == 0, verified.output
    assert verified.output.startswith("SOUND")
    listed = run("fingerprint", "--database", database_url)
    assert listed.output.splitlines()[0].startswith(trust + "  sk-")
    assert len(listed.output.splitlines()) == 2


def test_an_export_is_written_into_no_file_that_somebody_else_made(database_url: str, log: Log, tmp_path: Path) -> None:
    aio.run(fill(database_url, log))
    output, theirs = tmp_path / "audit.export", tmp_path / "audit.export.part"
    theirs.touch(mode=0o666)
    done = run("export", "--database", database_url, "--org", ORG, "--output", output, "--redact")
    assert done.exit_code == 0, done.output
    assert (output.stat().st_mode & 0o777, theirs.read_bytes()) == (0o600, b"")
    assert set(tmp_path.glob("audit.export*")) == {output, theirs}


def test_a_redacted_export_needs_no_secret(database_url: str, log: Log, tmp_path: Path) -> None:
    trust = aio.run(fill(database_url, log))
    output = tmp_path / "audit.export"
    done = run("export", "--database", database_url, "--org", ORG, "--output", output, "--redact")
    assert done.exit_code == 0, done.output
    assert b"cold" not in output.read_bytes()
    assert run("verify", output, "--trust", trust).exit_code == 0


@pytest.mark.parametrize("engine", ["sqlite"])
def test_database_and_secret_are_those_of_the_settings(database_url: str, log: Log, tmp_path: Path) -> None:
    trust = aio.run(fill(database_url, log))
    secret, output, config = tmp_path / "secret", tmp_path / "audit.export", tmp_path / "countersign.toml"
    secret.touch(mode=0o600)
    secret.write_bytes(SECRET)
    config.write_text(f'database = "{database_url}"\nserver_secret_file = "{secret}"\n')
    assert run("fingerprint", "--config", config).output.startswith(trust)
    assert "there is no organisation yet" in run("export", "--config", config, "--output", output).output
    done = run("export", "--config", config, "--org", ORG, "--output", output)
    assert (done.exit_code, b'"payload":"{\\"name\\"' in output.read_bytes()) == (0, True), done.output


def test_an_export_that_fails_leaves_no_file(database_url: str, log: Log, tmp_path: Path) -> None:
    secret, output = tmp_path / "secret", tmp_path / "audit.export"
    command = ("export", "--database", database_url, "--output", output, "--server-secret", secret, "--org")
    assert "no installation" in run(*command, ORG).output
    aio.run(fill(database_url, log))
    assert "No such file" in run(*command, ORG).output
    secret.touch(mode=0o600)
    secret.write_bytes(bytes(32))
    assert "does not open" in run(*command, ORG).output
    secret.write_bytes(SECRET)
    assert "has no audit log" in run(*command, "or-other").output
    assert run("export", "--org", ORG, "--database", database_url, "--output", output).exit_code == 2
    assert sorted(path.name for path in tmp_path.iterdir() if "export" in path.name) == []


def test_without_trust_it_says_so_and_exits_non_zero(file: Path) -> None:
    result = run("verify", file)
    assert result.exit_code == 3
    assert "SELF-CONSISTENT ONLY" in result.output
    assert "--trust" in result.output


def test_a_bad_log_exits_1_and_names_the_entry(file: Path, log: Log) -> None:
    body = log.export(batch=4)
    write(file, resealed([*body[:3], *body[4:]]))
    result = run("verify", file, "--trust", log.fingerprint)
    assert result.exit_code == 1
    assert "BROKEN" in result.output
    assert "position 2, entry uj-" in result.output


def test_an_unreadable_file_exits_2(tmp_path: Path, log: Log) -> None:
    assert run("verify", tmp_path / "missing", "--trust", log.fingerprint).exit_code == 2
    assert run("verify", write(tmp_path / "other", [b"hello\n"])).exit_code == 2


def test_a_malformed_fingerprint_is_a_usage_error(file: Path) -> None:
    result = run("verify", file, "--trust", "abc")
    assert result.exit_code == 2
    assert "SHA256:" in result.output


def test_a_checkpoint_is_saved_and_held_against_a_later_export(file: Path, log: Log, tmp_path: Path) -> None:
    saved = tmp_path / "checkpoint.json"
    assert run("verify", file, "--save-checkpoint", saved).exit_code == 3
    assert not saved.exists()
    assert run("verify", file, "--trust", log.fingerprint, "--save-checkpoint", saved).exit_code == 0
    log.action()
    write(file, log.export(batch=4))
    result = run("verify", file, "--trust", log.fingerprint, "--checkpoint", saved)
    assert result.exit_code == 0
    assert "extends the saved checkpoint of 10 entries" in result.output
    del log.entries[-3:]
    write(file, log.export(batch=4))
    result = run("verify", file, "--trust", log.fingerprint, "--checkpoint", saved)
    assert result.exit_code == 1
    assert "rolled back" in result.output
    saved.write_text("{}")
    assert run("verify", file, "--trust", log.fingerprint, "--checkpoint", saved).exit_code == 2


def test_the_text_shows_all_that_lets_somebody_in_and_counts_the_rest(tmp_path: Path, log: Log) -> None:
    for event in ["SecurityEvent"] * 30 + ["IdentityActivated"] * 25:
        log.system(event)
    output = run("verify", write(tmp_path / "many", log.export(batch=4))).output
    assert output.count("IdentityActivated ") == 25
    assert output.count("SecurityEvent ") == 20
    assert "and 10 more" in output


def test_the_result_as_json(file: Path, log: Log) -> None:
    result = json.loads(run("verify", file, "--trust", log.fingerprint, "--json").output)
    assert result["outcome"] == "sound"
    assert result["summary"]["actions"] == 9
    assert result["summary"]["unasserted"][0]["event"] == "Initialised"
    broken = write(file, log.export(batch=4)[:-1])
    result = json.loads(run("verify", broken, "--json").output)
    assert result["outcome"] == "broken"
    assert "trailer" in result["reason"]
