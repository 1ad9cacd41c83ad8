"""Rotations from the command line, on a production server that goes on signing."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.caller import Caller
from tests.support.commands import command, countersign, environment
from tests.support.production import Production

HASH = {"kind": "Hash", "hash": "ab" * 32}
PASSPHRASE = "correct horse battery staple"
LIMITS = ("public", "address", "organisation")
IMPATIENT = {f"{each}_requests_per_minute": 100_000 for each in LIMITS}


class Load:
    """Signs without a pause, with every key; ``failures`` holds each answer that was no signature."""

    def __init__(self, production: Production, keys: list[str]) -> None:
        self.signed, self.failures = 0, list[str]()
        self._production, self._keys, self._stop = production, keys, threading.Event()

    def _run(self) -> None:
        with Caller(self._production.admin) as caller:
            while not self._stop.is_set():
                for key in self._keys:
                    answer = caller.signed("POST", f"/keys/{key}/signatures", HASH)
                    if answer.status_code == 200 and answer.json()["status"] == "Signed":
                        self.signed += 1
                    else:
                        self.failures.append(answer.text)

    @contextmanager
    def running(self) -> Iterator[Load]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join(30)


def status(production: Production) -> list[tuple[int, str, str, int]]:
    done = production.run("keystore", "status", "--json")
    assert done.status == 0, done.errors
    roots = json.loads(done.output)["roots"]
    return [(root["version"], root["state"], root["provider"], root["records"]) for root in roots]


def run(production: Production, *arguments: object, secret: str | None = None) -> str:
    done = production.run("keystore", *arguments, passphrase=secret)
    assert done.status == 0, done.errors
    return done.output


def kill_when_sealed(production: Production) -> None:
    """``kill -9`` of a rotation in the middle: every key is under the new root, the old one still there."""
    process = subprocess.Popen(
        command("keystore", "rotate-root", "--settle", 3000),
        env=environment({"COUNTERSIGN_CONFIG": str(production.config), "PYTHONUNBUFFERED": "1"}),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "every key is sealed" in line:
            break
    process.kill()
    process.wait(20)
    process.stdout.close()


def restart_signer(production: Production) -> None:
    assert production.signer is not None
    production.signer.terminate()
    production.signer.wait(20)
    production.start_signer()


def test_k4_no_request_fails_while_the_root_rotates_and_a_killed_rotation_is_taken_up(
    database_url: str, tmp_path: Path
) -> None:
    with Production(tmp_path / "installation", database_url, dict(IMPATIENT)) as production:
        with Caller(production.admin) as caller:
            production.wait(lambda: _unsealed(caller))
            pairs = [("EdDSA", "ed25519"), ("ECDSA", "secp256k1")]
            keys = [caller.create_key(scheme, curve) for scheme, curve in pairs]
        assert status(production) == [(1, "Active", "file", 2)]
        with Load(production, keys).running() as load:
            kill_when_sealed(production)
            assert status(production) == [(1, "Retiring", "file", 0), (2, "Active", "file", 2)]
            assert "rotation to root 2: 2 of 2 keys" in run(production, "status")
            assert "destroyed root 1" in run(production, "rotate-root", "--resume", "--settle", 1)
            assert "destroyed root 2" in run(production, "rotate-root", "--settle", 1)
        assert load.failures == []
        assert load.signed > 0
        assert status(production)[1:] == [(2, "Destroyed", "", 0), (3, "Active", "file", 2)]
        assert "no rotation" in production.run("keystore", "rotate-root", "--resume").errors
        restart_signer(production)
        with Caller(production.admin) as caller:
            production.wait(lambda: _unsealed(caller))
            for key in [*keys, caller.create_key()]:
                assert _signs(caller, key)


def _unsealed(caller: Caller) -> bool:
    """Whether the server knows that its signer would sign."""
    return caller.http.get("/readyz").json().get("signer") == "unsealed"


def _signs(caller: Caller, key: str) -> bool:
    return caller.signed("POST", f"/keys/{key}/signatures", HASH).status_code == 200


def test_the_key_encryption_key_moves_from_a_file_to_a_passphrase_while_the_signer_goes_on(
    database_url: str, tmp_path: Path
) -> None:
    with (
        Production(tmp_path / "installation", database_url, dict(IMPATIENT)) as production,
        Caller(production.admin) as caller,
    ):
        production.wait(lambda: _unsealed(caller))
        key = caller.create_key()
        missing = production.run("keystore", "rotate-kek")
        assert "say one of --to" in missing.errors
        same = production.run("keystore", "rotate-kek", "--to", f"dev:{tmp_path / 'dev'}")
        assert "refused in production" in same.errors
        said = run(production, "rotate-kek", "--to", "passphrase", "--keep-old", secret=PASSPHRASE)
        assert "root 1 is wrapped by passphrase too" in said
        assert "is being exchanged" in run(production, "status")
        assert _signs(caller, key)
        production.kek = "passphrase"
        production.write_config()
        restart_signer(production)
        production.wait(lambda: production.run("keystore", "status").output.startswith("sealed"))
        assert run(production, "unseal", "--passphrase", secret=PASSPHRASE).startswith("unsealed")
        assert "deleted the old wraps of root 1" in run(production, "rotate-kek", "--finish", secret=PASSPHRASE)
        assert status(production) == [(1, "Active", "passphrase", 1)]
        production.wait(lambda: _unsealed(caller))
        assert _signs(caller, key)
        # With a passphrase: it is asked for once, and given to the signer too.
        assert "destroyed root 1" in run(production, "rotate-root", "--settle", 0, secret=PASSPHRASE)
        assert _signs(caller, key)


@pytest.mark.parametrize("engine", ["sqlite"])
def test_custodians_unseal_one_by_one_and_rotate_the_root_together(database_url: str, tmp_path: Path) -> None:
    production = Production(tmp_path / "installation", database_url, dict(IMPATIENT), kek="quorum:2-of-3")
    shares_directory = tmp_path / "shares"
    try:
        production.initialise(None, "--shares", shares_directory)
        shares = [(shares_directory / f"share-{number}-of-3.txt").read_text().strip() for number in (1, 2, 3)]
        production.start_signer()
        production.start()
        production.wait(lambda: "waits for 2 shares" in production.run("keystore", "status").output)
        first = run(production, "unseal", "--share", secret=shares[2])
        assert "1 of 2 shares is here (number 3)" in first
        wrong = production.run("keystore", "unseal", "--share", passphrase="abandon " * 33)
        assert "mistyped or changed" in wrong.errors
        assert run(production, "unseal", "--share", secret=shares[0]).startswith("unsealed")
        with Caller(production.admin) as caller:
            production.wait(lambda: _unsealed(caller))
            key = caller.create_key()
            both = f"{shares[1]}\n{shares[0]}"
            assert "destroyed root 1" in run(production, "rotate-root", "--settle", 0, secret=both)
            assert _signs(caller, key)
            few = production.run("keystore", "rotate-root", "--settle", "0", passphrase=shares[1])
            assert "no further line" in few.errors
        log = production.log() + production.log_path("signer").read_text()
        assert not any(share in log for share in shares)
    finally:
        production.__exit__(None, None, None)


@pytest.mark.parametrize("engine", ["sqlite"])
def test_init_with_a_quorum_says_what_it_needs(database_url: str, tmp_path: Path) -> None:
    production = Production(tmp_path / "installation", database_url, kek="quorum:2-of-3")
    with pytest.raises(AssertionError, match="--shares DIRECTORY"):
        production.initialise()
    assert countersign("keystore", "rotate-root", env={"COUNTERSIGN_CONFIG": os.devnull}).status != 0
