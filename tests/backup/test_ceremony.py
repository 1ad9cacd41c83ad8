"""A ceremony proves the key store it is about, and the server serves no other."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from countersign.keystores import transcript
from tests.backup.builders import age_key
from tests.support.commands import Done, countersign
from tests.support.production import Production


@pytest.fixture
def house(tmp_path: Path) -> Production:
    return Production(tmp_path / "house", f"sqlite://{tmp_path}/house/countersign.db").initialise()


def person(directory: Path, name: str, passphrase: bytes | None = None) -> str:
    lock = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    path = directory / f"{name}.key"
    path.write_bytes(Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))
    return f"{name}={path}"


def held(house: Production, directory: Path, name: str, *more: object, passphrase: str | None = None) -> Done:
    locked = passphrase.encode() if passphrase else None
    _, recipient = age_key(directory, "backup") if not (directory / "backup.age").exists() else (None, "")
    return house.run(
        "keystore", "ceremony", "--operator", person(directory, "alice", locked),
        "--operator", person(directory, "bob"), "--witness", person(directory, "carol"),
        "--backup", directory / f"{name}.backup", "--transcript", directory / f"{name}.transcript",
        *(("--recipient", recipient) if recipient else ()), *more, passphrase=passphrase,
    )  # fmt: skip


def test_a_ceremony_writes_down_what_was_proved_and_the_server_asks_for_it(tmp_path: Path, house: Production) -> None:
    identity, recipient = age_key(tmp_path, "whose")
    done = held(house, tmp_path, "first", "--identity", identity, "--recipient", recipient, passphrase="correct horse")
    assert done.status == 0, done.errors
    digest = done.output.split('ceremony_transcript = "')[1].split('"')[0]
    found = transcript.verify((tmp_path / "first.transcript").read_bytes())
    assert isinstance(found, transcript.Held)
    assert found.digest == digest
    facts = {step.step: step.facts for step in found.steps}
    assert list(facts) == [
        "participants", "program", "key store", "unsealed", "test keys", "backup", "restore", "end",
    ]  # fmt: skip
    assert facts["key store"]["installationId"] == house.made["installationId"]
    assert facts["key store"]["auditFingerprints"] == [house.made["auditFingerprint"]]
    assert facts["restore"]["done"] is True
    assert facts["restore"]["keys"] == facts["test keys"]["keys"]

    shown = countersign("keystore", "transcript", tmp_path / "first.transcript", "--digest", digest)
    assert shown.status == 0
    assert "witness   carol" in shown.output
    assert countersign("keystore", "transcript", tmp_path / "first.transcript", "--digest", "0" * 64).status == 1

    again = held(house, tmp_path, "second")
    assert again.status == 1
    assert "had its ceremony already" in again.errors
    assert not (tmp_path / "second.transcript").exists()

    house.settings["ceremony_transcript"] = "0" * 64
    house.write_config()
    refused = house.run("serve")
    assert refused.status == 1
    assert "ceremony_transcript is not the digest" in refused.errors
    house.settings["ceremony_transcript"] = digest
    house.write_config()
    house.start()
    house.stop()


def test_a_ceremony_that_fails_leaves_what_was_seen_until_then(tmp_path: Path, house: Production) -> None:
    (house.directory / "kek").write_bytes(bytes(32))
    done = held(house, tmp_path, "first")
    assert done.status == 1
    assert "not the one that wrapped root 1" in done.errors
    found = transcript.verify((tmp_path / "first.transcript").read_bytes())
    assert isinstance(found, transcript.Held)
    assert [step.step for step in found.steps] == ["participants", "program"]


@pytest.mark.parametrize("left_out", ["--operator", "--witness"])
def test_a_ceremony_needs_people(tmp_path: Path, house: Production, left_out: str) -> None:
    options = {"--operator": [person(tmp_path, "a"), person(tmp_path, "b")], "--witness": [person(tmp_path, "c")]}
    options[left_out].pop()
    named = [word for option, people in options.items() for each in people for word in (option, each)]
    done = house.run(
        "keystore", "ceremony", *named, "--backup", tmp_path / "b", "--transcript", tmp_path / "t",
    )  # fmt: skip
    assert done.status == 2
    assert "two operators and one witness" in done.errors
