"""A lost key-encryption key loses no key that has a recovery copy."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

from countersign.backup import archive
from countersign.backup.probe import Bench
from countersign.backup.recover import recover
from countersign.backup.save import save
from countersign.cli.backup import read_identities
from countersign.keystores.kek import DevProvider
from countersign.keystores.keks.quorum import QuorumProvider
from countersign.keystores.memory import LockedPage
from countersign.keystores.record import Binding
from countersign.keystores.recovery_copy import seal_copy
from countersign.keystores.schemes import SCHEMES, generate
from tests.backup.builders import Saved, age_key, backed_up, drilled, make_keys, use
from tests.support.commands import countersign
from tests.support.server import Sandbox


def test_k4_keys_come_back_under_another_key_encryption_key(tmp_path: Path, database_url: str) -> None:
    identity, recipient = age_key(tmp_path)
    recovery, recovery_recipient = age_key(tmp_path, "recovery")
    file = tmp_path / "b.age"
    with Sandbox(tmp_path / "old", database_url, {"COUNTERSIGN_RECOVERY_RECIPIENTS": recovery_recipient}) as old:
        keys = make_keys(old)
        backed_up(old, file, recipient)
    (old.directory / "dev.kek").unlink()

    new = tmp_path / "new"
    stranger, _ = age_key(tmp_path, "stranger")
    refused = countersign(
        "keystore", "recover", file, "--identity", identity, "--recovery-identity", stranger, "--data", new
    )
    assert refused.status == 1
    assert "does not open this recovery copy" in refused.errors

    done = countersign(
        "keystore", "recover", file, "--identity", identity, "--recovery-identity", recovery, "--data", new, "--json"
    )
    assert done.status == 0, done.errors
    told = json.loads(done.output)
    assert (told["recovered"], told["withoutCopy"], told["refused"]) == (3, [], {})
    for path in [old.directory / "connection.json", *old.directory.glob("*.pem")]:
        shutil.copy(path, new / path.name)
    with Sandbox(new) as recovered:
        for key_id, scheme in keys.items():
            assert use(recovered, key_id, scheme) == "Signed"
        make_keys(recovered)
    again = tmp_path / "again.age"
    backed_up(recovered, again, recipient)
    status, report, errors = drilled(again, identity, new / "dev.kek")
    assert status == 0, errors
    assert report["keys"]["used"] == 6


def test_keys_without_a_copy_are_named(tmp_path: Path) -> None:
    identity, recipient = age_key(tmp_path)
    recovery, named = age_key(tmp_path, "recovery")
    file = tmp_path / "b.age"
    with Sandbox(tmp_path / "old") as old:
        make_keys(old)
        backed_up(old, file, recipient)
    command = ("keystore", "recover", "--identity", identity, "--recovery-identity", recovery, "--data", tmp_path / "n")
    done = countersign(*command, file)
    assert done.status == 1
    assert "none has a recovery copy" in done.errors
    # Who could write the database puts in copies of keys of their own, and waits for the day.
    page, own = LockedPage(), SCHEMES["ECDSA", "secp256k1"]
    with sqlite3.connect(old.directory / "countersign.db") as database:
        stored = database.execute("SELECT org_id, key_id, secret_kind FROM key_records").fetchall()
        for org_id, key_id, kind in stored:
            public = generate(own, page)
            binding = Binding("ks", org_id, key_id, "ECDSA", "secp256k1", kind, public, 1, 1)
            copy = seal_copy(binding, page.secret_area[:32], [named])
            database.execute("UPDATE key_records SET recovery_copy = ? WHERE key_id = ?", (copy, key_id))
    planted = tmp_path / "planted.age"
    backed_up(old, planted, recipient)
    done = countersign(*command, planted)
    assert done.status == 1
    assert "the copy is of another" in done.errors


def test_keys_come_back_under_a_quorum(tmp_path: Path, saved: Saved) -> None:
    kek, url = QuorumProvider(2, 3), f"sqlite://{tmp_path / 'new.db'}"
    shares = kek.split()
    keys = read_identities(saved.identity), read_identities(saved.recovery)
    done = recover(saved.file, *keys, url, kek, bytearray())
    assert (done.recovered, done.lost, done.refused) == (3, [], {})
    with sqlite3.connect(tmp_path / "new.db") as database:
        (root,) = database.execute("SELECT wrapped FROM keystore_roots").fetchone()
    bench = Bench(QuorumProvider(None, None), 1_700_000_000_000)
    bench.unseal([root], [bytearray(share.encode()) for share in shares[:2]])
    bench.close()


def test_a_copy_of_another_key_or_another_secret_is_named(tmp_path: Path, saved: Saved) -> None:
    changed = tmp_path / "changed.db"
    shutil.copy(saved.directory / "countersign.db", changed)
    with sqlite3.connect(changed) as database:
        columns = "k.org_id, k.key_id, k.scheme, k.curve, k.public_key, r.secret_kind, r.recovery_copy"
        rows = database.execute(f"SELECT {columns} FROM keys k JOIN key_records r ON r.key_id = k.key_id").fetchall()
        (org_id, first, *_), (_, second, scheme, curve, public, kind, copy), _ = rows
        page = LockedPage()
        generate(SCHEMES["ECDSA", "secp256k1"], page)
        binding = Binding("ks", org_id, second, scheme, curve, kind, bytes.fromhex(public), 1, 1)
        (recipient,) = (str(key.to_public()) for key in read_identities(saved.recovery))
        wrong = seal_copy(binding, page.secret_area[:32], [recipient])
        for key_id, put in ((first, copy), (second, wrong)):
            database.execute("UPDATE key_records SET recovery_copy = ? WHERE key_id = ?", (put, key_id))
    file = tmp_path / "b.age"
    save(f"sqlite://{changed}", {}, [archive.recipient(saved.recipient)], file, now=1_700_000_000_000)
    kek = DevProvider(tmp_path / "kek")
    keys = read_identities(saved.identity), read_identities(saved.recovery)
    done = recover(file, *keys, f"sqlite://{tmp_path / 'new.db'}", kek, bytearray())
    assert (done.recovered, done.lost) == (1, [])
    assert done.refused == {
        first: "the copy is of another key",
        second: "the secret in the copy does not belong to its public key",
    }
