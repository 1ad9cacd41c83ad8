"""D3: a backup of a running server becomes that server again on an empty machine, on either engine."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from countersign.backup import archive
from countersign.backup.archive import BadBackup
from countersign.backup.load import load
from countersign.backup.save import save
from countersign.storage import copying
from countersign.storage.copying import NotEmpty, open_source
from tests.backup.builders import Saved, age_key, backed_up, drilled, make_keys, use
from tests.support.commands import countersign
from tests.support.databases import as_left_by_an_earlier_version
from tests.support.postgres import PostgresServer
from tests.support.server import Sandbox


def contents(url: str) -> dict[str, list[tuple[object, ...]]]:
    source = open_source(url)
    try:
        return {
            table.name: sorted((tuple(row) for rows in source.rows(table) for row in rows), key=repr)
            for table in source.tables()
        }
    finally:
        source.close()


def identities(path: Path) -> list[object]:
    from countersign.cli.backup import read_identities

    return list(read_identities(path))


def test_d3_a_restored_server_serves_the_clients_it_had(tmp_path: Path, database_url: str) -> None:
    identity, recipient = age_key(tmp_path)
    file = tmp_path / "countersign.age"
    with Sandbox(tmp_path / "old", database_url) as old:
        keys = make_keys(old)
        printed = backed_up(old, file, recipient)
        connection = (tmp_path / "old" / "connection.json").read_bytes()
    assert "3 sealed keys" in printed
    assert "root " in printed
    assert b"secp256k1" not in file.read_bytes()

    new = tmp_path / "new"
    done = countersign("restore", file, "--identity", identity, "--data", new)
    assert done.status == 0, done.errors
    # What is kept elsewhere comes back by hand: the key-encryption key, and what belongs to the clients.
    for name in ("dev.kek", *(path.name for path in (tmp_path / "old").glob("*.pem"))):
        shutil.copy(tmp_path / "old" / name, new / name)
    (new / "connection.json").write_bytes(connection)
    with Sandbox(new) as restored:
        for key_id, scheme in keys.items():
            assert use(restored, key_id, scheme) == "Signed"
        more = make_keys(restored)
        assert not more.keys() & keys.keys()


def test_a_snapshot_goes_from_either_engine_into_either(
    tmp_path: Path, database_url: str, postgres_server: PostgresServer
) -> None:
    identity, recipient = age_key(tmp_path)
    with Sandbox(tmp_path / "old", database_url) as old:
        make_keys(old)
    backed_up(old, tmp_path / "b.age", recipient)
    before = contents(database_url)
    other = postgres_server.new_database()
    try:
        for url in (f"sqlite://{tmp_path / 'copy.db'}", other):
            restored = load(tmp_path / "b.age", identities(identity), url)
            assert contents(url) == before
            assert restored.manifest.rows == sum(map(len, before.values()))
            with pytest.raises(NotEmpty):
                load(tmp_path / "b.age", identities(identity), url)
    finally:
        postgres_server.drop_database(other)


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_two_restorations_at_once_into_one_place_end_as_the_first(
    tmp_path: Path, engine: str, saved: Saved, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, prepare = contents(saved.database), copying._prepare
    other = postgres_server.new_database()
    target = other if engine == "postgresql" else f"sqlite://{tmp_path / 'copy.db'}"

    def restore(url: str) -> None:
        load(saved.file, identities(saved.identity), url)

    async def overtaken(*arguments: object) -> None:
        await prepare(*arguments)
        monkeypatch.setattr(copying, "_prepare", prepare)
        await asyncio.to_thread(restore, target)

    monkeypatch.setattr(copying, "_prepare", overtaken)
    try:
        with pytest.raises(NotEmpty):
            restore(target)
        assert contents(target) == before
    finally:
        postgres_server.drop_database(other)


def test_two_backups_at_once_into_one_file_end_as_one_whole(tmp_path: Path, saved: Saved) -> None:
    file = tmp_path / "b.age"
    done: list[object] = []

    def run(progress: object = lambda done, total: None) -> object:
        recipients = [archive.recipient(saved.recipient)]
        return save(saved.database, {}, recipients, file, now=1_700_000_000_000, progress=progress).manifest

    def overtaken(rows: int, total: int) -> None:
        if not done:
            done.append(run())

    with pytest.raises(FileExistsError):
        run(overtaken)
    url = f"sqlite://{tmp_path / 'copy.db'}"
    assert load(file, identities(saved.identity), url).manifest == done[0]
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("what", ["rows", "file", "more"])
def test_a_backup_that_holds_something_else_than_it_says_is_refused(tmp_path: Path, saved: Saved, what: str) -> None:
    """Anyone can encrypt to a recipient; and a tool that copies members may lose one."""
    members: list[tuple[str, bytes]] = []
    with saved.file.open("rb") as file:
        archive.read(file, identities(saved.identity), lambda name, data: members.append((name, data)))
    reason = "the rows of the backup are not those that were saved"
    if what == "rows":
        members = [member for member in members if not member[0].startswith("tables/audit_entries/")]
    elif what == "file":
        members = [(name, data[:-1] if name.startswith("files/server.secret") else data) for name, data in members]
        reason = "the files of the backup are not those that were saved"
    else:
        members.append(("files/more/000001", b"more"))
        reason = "there is something behind the end of the backup"
    forged, url = tmp_path / "forged.age", f"sqlite://{tmp_path / 'copy.db'}"
    pieces = [*(archive.member(name, data, 0) for name, data in members), archive.end()]
    with forged.open("wb") as output:
        archive.write(output, [archive.recipient(saved.recipient)], pieces)
    with pytest.raises(BadBackup, match=reason):
        load(forged, identities(saved.identity), url)
    assert contents(url)["installation"] == []


def test_a_restoration_whose_files_can_not_be_written_leaves_an_empty_database(tmp_path: Path, saved: Saved) -> None:
    new = tmp_path / "new"
    new.mkdir(mode=0o700)
    (new / "signer-state").write_text("in the way")
    refused = countersign("restore", saved.file, "--identity", saved.identity, "--data", new)
    assert refused.status == 1
    assert contents(f"sqlite://{new / 'countersign.db'}")["installation"] == []
    for left in ("signer-state", "server.secret"):
        (new / left).unlink(missing_ok=True)
    done = countersign("restore", saved.file, "--identity", saved.identity, "--data", new)
    assert done.status == 0, done.errors


def test_a_backup_of_an_earlier_version_is_restored_as_it_was_and_says_what_is_left_to_do(
    tmp_path: Path, saved: Saved
) -> None:
    url = f"sqlite://{tmp_path}/old.db"
    as_left_by_an_earlier_version(url, "INSERT INTO installation VALUES ('installation_id', 'in-old')")
    file, to = tmp_path / "old.age", f"sqlite://{tmp_path}/new.db"
    (tmp_path / "server.secret").write_bytes(bytes(32))
    env = {"COUNTERSIGN_DATABASE": url, "COUNTERSIGN_SERVER_SECRET_FILE": str(tmp_path / "server.secret")}
    made = countersign("backup", file, "--recipient", saved.recipient, env=env)
    assert made.status == 0, made.errors
    env = {"COUNTERSIGN_DATABASE": to, "COUNTERSIGN_SERVER_SECRET_FILE": str(tmp_path / "new" / "server.secret")}
    done = countersign("restore", file, "--identity", saved.identity, env=env)
    assert "run 'countersign migrate'" in done.output, done.errors
    assert countersign("migrate", env=env).output.endswith(" ... applied\n")
    assert (
        "countersign migrate"
        not in countersign("restore", saved.file, "--identity", saved.identity, "--data", tmp_path / "today").output
    )


def test_what_is_refused_leaves_nothing_behind(tmp_path: Path, database_url: str) -> None:
    identity, recipient = age_key(tmp_path)
    with Sandbox(tmp_path / "old", database_url) as old:
        make_keys(old)
    file = tmp_path / "b.age"
    backed_up(old, file, recipient)
    again = countersign("backup", file, "--data", old.directory, "--recipient", recipient)
    assert again.status == 1
    assert "File exists" in again.errors
    data = file.read_bytes()
    file.write_bytes(data[:-40])
    url = f"sqlite://{tmp_path / 'copy.db'}"
    with pytest.raises(BadBackup):
        load(file, identities(identity), url)
    # The place can be used again: nothing but empty tables is there.
    file.write_bytes(data)
    load(file, identities(identity), url)
    # What has no place by the settings of the new server is left out, and named.
    (old.directory / "authoriser-state").mkdir()
    (old.directory / "authoriser-state" / "roster.log").write_text("of an authoriser")
    apart = {"COUNTERSIGN_AUTHORISER": "process"}
    more = tmp_path / "more.age"
    saved = countersign("backup", more, "--data", old.directory, "--recipient", recipient, env=apart)
    assert saved.status == 0, saved.errors
    done = countersign("restore", more, "--identity", identity, "--data", tmp_path / "left")
    assert "note: authoriser-roster.log is left out" in done.output, done.errors
    stranger, _ = age_key(tmp_path, "stranger")
    done = countersign("restore", file, "--identity", stranger, "--data", tmp_path / "new")
    assert done.status == 1
    assert "not one that the backup was made for" in done.errors


def test_a_backup_needs_someone_who_can_open_it(tmp_path: Path) -> None:
    with Sandbox(tmp_path / "old") as old:
        pass
    done = countersign("backup", tmp_path / "b.age", "--data", old.directory)
    assert done.status == 2
    assert "--recipient" in done.errors
    nowhere = countersign(
        "backup", tmp_path / "no" / "b.age", "--data", old.directory, "--recipient", age_key(tmp_path)[1]
    )
    assert nowhere.errors == f"Error: {tmp_path / 'no'}: No such file or directory\n"
    done = countersign("backup", tmp_path / "b.age", "--data", old.directory, "--recipient", "age1x")
    assert "not an age recipient" in done.errors
    assert not list(tmp_path.glob("b.age*"))


def test_a_drill_uses_every_key_and_compares_the_audit_root(tmp_path: Path, database_url: str) -> None:
    identity, recipient = age_key(tmp_path)
    file = tmp_path / "b.age"
    with Sandbox(tmp_path / "old", database_url) as old:
        make_keys(old)
    backed_up(old, file, recipient)
    fingerprint = countersign("audit", "fingerprint", "--database", database_url).output.split()[0]
    kek = old.directory / "dev.kek"
    status, report, errors = drilled(file, identity, kek, "--trust", fingerprint)
    assert status == 0, errors
    assert report["outcome"] == "passed"
    assert report["keys"]["total"] == report["keys"]["used"] == 3
    assert [log["outcome"] for log in report["audit"]] == ["sound"]
    assert all(log["trusted"] and log["rootHash"] == log["expected"] for log in report["audit"])

    # A drill may take an hour, and its report replaces no other.
    report_path = file.with_suffix(".report.json")
    again = countersign("drill", file, "--identity", identity, "--kek", "dev:/nowhere", "--report", report_path)
    assert (again.status, "File exists" in again.errors) == (1, True)
    failed = countersign("drill", file, "--identity", identity, "--kek", "dev:/nowhere", "--report", tmp_path / "r")
    assert (failed.status, (tmp_path / "r").exists()) == (1, False)

    wrong = tmp_path / "other.kek"
    wrong.write_bytes(bytes(32))
    wrong.chmod(0o600)
    status, report, errors = drilled(file, identity, wrong)
    assert (status, report) == (1, {})
    assert "not the one that wrapped" in errors


def test_a_drill_names_the_key_that_is_not_what_it_was(tmp_path: Path) -> None:
    identity, recipient = age_key(tmp_path)
    file = tmp_path / "b.age"
    with Sandbox(tmp_path / "old") as old:
        first, *_ = make_keys(old)
    with sqlite3.connect(old.directory / "countersign.db") as database:
        database.execute(
            "UPDATE keys SET public_key = '02' || substr(public_key, 3, 62) || '00' WHERE key_id = ?", (first,)
        )
        database.execute("UPDATE audit_entries SET entry = replace(entry, '/keys', '/kays')")
    backed_up(old, file, recipient)
    status, report, _ = drilled(file, identity, old.directory / "dev.kek")
    assert status == 1
    assert report["outcome"] == "failed"
    assert [key["keyId"] for key in report["keys"]["failures"]] == [first]
    assert [log["outcome"] for log in report["audit"]] == ["broken"]


def test_a_disk_without_hard_links_takes_a_backup_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: object, target: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(target))

    identity, recipient = age_key(tmp_path)
    with Sandbox(tmp_path / "old") as old:
        pass
    monkeypatch.setattr(os, "link", refuse)
    file, database = tmp_path / "b.age", f"sqlite://{old.directory}/countersign.db"
    saved = save(database, {}, [archive.recipient(recipient)], file, now=1_700_000_000_000)
    assert load(file, identities(identity), f"sqlite://{tmp_path / 'copy.db'}").manifest == saved.manifest
    with pytest.raises(FileExistsError):
        save(database, {}, [archive.recipient(recipient)], file, now=1_700_000_000_000)
    assert not list(tmp_path.glob("*.part"))
