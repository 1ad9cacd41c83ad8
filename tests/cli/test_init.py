"""``countersign init``: once, locally, and with one clear line when it cannot."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.parties import new_credential
from tests.support.commands import Done, environment, refusal
from tests.support.production import Production

#: Runs the command line in a process in which nothing can open a connection to a network.
OFFLINE = """
import socket, sys
def refuse(*_):
    raise AssertionError("the network was used")
socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = socket.getaddrinfo = refuse
from countersign.cli import main
main(sys.argv[1:])
"""


def prepared(directory: Path, database: str, settings: dict[str, object] | None = None) -> Production:
    """An installation that is not initialised yet, with a public key to name."""
    production = Production(directory, database, settings or {})
    production.directory.mkdir(parents=True)
    production.write_config()
    (directory / "kek").touch(0o600)
    (directory / "kek").write_bytes(bytes(range(32)))
    (directory / "admin.pub").write_text(new_credential(directory, "admin")[1])
    return production


def init(production: Production, key: object = None, owner: str = "admin@acme.test") -> Done:
    named = production.directory / "admin.pub" if key is None else key
    return production.run("init", "--org", "Acme", "--owner", owner, "--public-key", named, "--json")


def test_init_is_done_once(database_url: str, tmp_path: Path) -> None:
    production = prepared(tmp_path / "installation", database_url)
    done = init(production)
    assert done.status == 0, done.errors
    made = json.loads(done.output)
    assert made["auditFingerprint"].startswith("SHA256:")
    secret = production.directory / "server.secret"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert "initialised already" in refusal(init(production))
    # Nor with another secret, and none is made for nothing.
    secret.unlink()
    assert "initialised already" in refusal(init(production))
    assert not secret.exists()


@pytest.mark.parametrize("engine", ["sqlite"])
def test_init_says_what_is_wrong(database_url: str, tmp_path: Path) -> None:
    production = prepared(tmp_path / "installation", database_url)
    private = production.directory / "admin.pem"
    assert str(private) in refusal(init(production, private))
    nonsense = tmp_path / "nonsense"
    nonsense.write_bytes(b"\xff\x00 no key")
    assert str(nonsense) in refusal(init(production, nonsense))
    assert "name" in refusal(init(production, owner=" "))
    (production.directory / "kek").write_bytes(b"short")
    assert "32 bytes" in refusal(init(production))

    for name, settings, expected in (
        ("none", {"signer_kek": ""}, "signer_kek"),
        ("dev", {"signer_kek": f"dev:{tmp_path / 'dev.kek'}"}, "signer_kek"),
        ("strange", {"signer_kek": "tpm2:x"}, "tpm2"),
        ("secret", {"server_secret_file": "/proc/none/secret"}, "/proc/none"),
        ("unknown", {"databse": "sqlite:////x"}, "databse"),
        ("scheme", {"database": "mysql://x"}, "postgresql://"),
    ):
        wrong = prepared(tmp_path / name, database_url, settings)
        assert expected in refusal(init(wrong))
    # None of them has left anything behind.
    assert init(prepared(tmp_path / "right", database_url)).status == 0


@pytest.mark.parametrize("engine", ["sqlite"])
def test_init_uses_no_network(database_url: str, tmp_path: Path) -> None:
    production = prepared(tmp_path / "installation", database_url)
    arguments = ["--org", "Acme", "--owner", "admin", "--public-key", str(production.directory / "admin.pub")]
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, "init", *arguments],
        env=environment({"COUNTERSIGN_CONFIG": str(production.config)}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "authToken" in done.stdout
