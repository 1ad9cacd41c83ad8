"""A lost key-encryption key loses no key that has a recovery copy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.backup.builders import age_key, backed_up, drilled
from tests.backup.test_restore import make_keys, use
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
    shutil.rmtree(new)

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
    recovery, _ = age_key(tmp_path, "recovery")
    file = tmp_path / "b.age"
    with Sandbox(tmp_path / "old") as old:
        make_keys(old)
        backed_up(old, file, recipient)
    done = countersign(
        "keystore", "recover", file, "--identity", identity, "--recovery-identity", recovery, "--data", tmp_path / "n"
    )
    assert done.status == 1
    assert "none has a recovery copy" in done.errors
