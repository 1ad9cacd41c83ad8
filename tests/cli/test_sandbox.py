"""``countersign up`` and what goes with it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.clients.connection import as_admin
from tests.support.caller import Caller
from tests.support.commands import countersign, refusal
from tests.support.server import Sandbox


def test_a_second_start_keeps_everything_but_the_administrators_token(database_url: str, tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path / "data", database_url)
    with sandbox, Caller(sandbox.service) as caller:
        first = sandbox.values
        key = caller.create_key()
    with sandbox:
        second = sandbox.values
        changed = {name for name in first if first[name] != second[name]}
        assert {"adminToken"} <= changed <= {"adminToken", "baseUrl"}
        with Caller(sandbox.service) as caller:
            assert caller.send("GET", f"/keys/{key}").status_code == 200
        with Caller(sandbox.admin) as caller:
            assert caller.send("GET", "/keys").status_code == 200
    wanted = {
        "baseUrl", "orgId", "appId", "userId", "authToken", "credentialId", "privateKeyPath",
        "adminToken", "adminCredentialId", "adminPrivateKeyPath",
    }  # fmt: skip
    assert wanted <= set(second)
    for path in sandbox.directory.iterdir():
        if path.is_file() and path.suffix not in (".db", ".db-wal", ".db-shm"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE((sandbox.directory / "connection.json").stat().st_mode) == 0o600


def test_the_data_directory_is_all_that_other_commands_need(sandbox: Sandbox, tmp_path: Path) -> None:
    data = sandbox.directory
    before = sandbox.values
    renewed = countersign("sandbox", "token", "--data", data)
    assert renewed.status == 0, renewed.errors
    assert renewed.output.strip() == sandbox.values["adminToken"] != before["adminToken"]
    with Caller(as_admin(sandbox.values)) as caller:
        assert caller.send("GET", "/keys").status_code == 200

    assert countersign("keystore", "status", "--data", data).output.startswith("unsealed")
    assert "checkpoint" in countersign("server-keys", "list", "--data", data).output
    for command, told in (
        (("jobs", "list", "--dead"), "no such job is dead\n"),
        (("admin", "webhooks", "list"), "no webhook yet\n"),
        (("admin", "identity-providers", "list"), "no identity provider is trusted\n"),
    ):
        assert countersign(*command, "--data", data).output == told
    assert f"{before['baseUrl'].replace('127.0.0.1', 'localhost')}/console" in sandbox.log()
    assert "signer WARNING" not in sandbox.log()
    assert countersign("migrate", "--data", data).output == "the schema is up to date\n"

    with Caller(sandbox.service) as caller:
        key = caller.create_key()
        made = caller.signed("POST", f"/keys/{key}/signatures", {"kind": "Message", "message": "c0ffee"})
        assert made.status_code == 200
    export = tmp_path / "audit.export"
    done = countersign("audit", "export", "--data", data, "--org", before["orgId"], "--output", export)
    assert done.status == 0, done.errors
    # The fingerprint that the server printed when it started.
    fingerprint = next(word for word in sandbox.log().split() if word.startswith("SHA256:"))
    verified = countersign("audit", "verify", export, "--trust", fingerprint)
    assert (verified.status, verified.output.split()[0]) == (0, "SOUND:"), verified.output
    assert countersign("audit", "verify", export).status == 3
    changed = tmp_path / "changed.export"
    changed.write_bytes(export.read_bytes().replace(b"c0ffee", b"c0ffef"))
    assert countersign("audit", "verify", changed, "--trust", fingerprint).status == 1


@pytest.mark.parametrize("engine", ["sqlite"])
def test_up_refuses_what_is_not_its_own(database_url: str, tmp_path: Path) -> None:
    with Sandbox(tmp_path / "data", database_url):
        pass
    other = f"sqlite://{tmp_path / 'other.db'}"
    assert "another database" in refusal(countersign("up", "--data", tmp_path / "data", "--database", other))
    assert "data directory" in refusal(countersign("up", "--data", tmp_path / "new", "--database", database_url))
    assert "loopback" in refusal(countersign("up", "--data", tmp_path / "data", "--host", "0.0.0.0"))
    assert "no sandbox" in refusal(countersign("sandbox", "token", "--data", tmp_path / "nowhere"))


@pytest.mark.parametrize("engine", ["sqlite"])
def test_a_second_server_on_the_data_directory_is_refused_and_disturbs_nothing(
    database_url: str, tmp_path: Path
) -> None:
    sandbox = Sandbox(tmp_path / "data", database_url)
    with sandbox:
        before = sandbox.values
        assert "is running on" in refusal(countersign("up", "--data", sandbox.directory, "--port", "0"))
        assert sandbox.values == before
        with Caller(sandbox.service) as caller:
            caller.create_key()
        sandbox.kill()
        # The hold ends with the process, however that ended.
        sandbox.start()


def test_commands_say_what_keeps_them_from_their_work(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    for command in (
        ("keystore", "status"),
        ("server-keys", "list"),
        ("admin", "identities", "list"),
        ("audit", "fingerprint"),
    ):
        assert "holds no sandbox" in refusal(countersign(*command, "--data", nowhere)), command
    assert not nowhere.exists()
    assert "/proc/none" in refusal(countersign("up", "--data", "/proc/none"))
    assert "/proc/none" in refusal(countersign("sandbox", "ca", "--data", "/proc/none"))
    for host in ("two words", "münchen.example", "-", ""):
        assert "host name" in refusal(countersign("sandbox", "ca", "--data", nowhere, "--host", host)), host
    assert not nowhere.exists()
    closed = "postgresql://someone:secret@127.0.0.1:1/name"
    told = refusal(countersign("up", "--data", tmp_path / "data", "--port", "0", "--database", closed))
    assert "nothing listens at its address" in told
    assert "secret" not in told
    told = refusal(countersign("keystore", "status", env={"COUNTERSIGN_DATABASE": closed}))
    assert "nothing listens at its address" in told
    told = refusal(countersign("migrate", env={"COUNTERSIGN_DATABASE": f"sqlite://{nowhere}/x.db"}))
    assert f"{nowhere}/x.db" in told
