"""Age keys and installations for tests of backups."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyrage import x25519

from tests.clients.sdk_python import python_client
from tests.support.commands import countersign
from tests.support.server import Sandbox

PAIRS = [("ECDSA", "secp256k1"), ("EdDSA", "ed25519"), ("Schnorr", "secp256k1")]


def use(sandbox: Sandbox, key_id: str, scheme: str) -> str:
    with python_client(sandbox.service) as client:
        body = {"kind": "Hash", "hash": "0x" + "5a" * 32}
        if scheme == "Schnorr":
            body["taprootMerkleRoot"] = ""
        return str(client.keys.generate_signature(key_id, body)["status"])


def make_keys(sandbox: Sandbox) -> dict[str, str]:
    """Key ids and their schemes; each key has signed."""
    with python_client(sandbox.service) as client:
        made = {client.keys.create_key({"scheme": scheme, "curve": curve})["id"]: scheme for scheme, curve in PAIRS}
    for key_id, scheme in made.items():
        assert use(sandbox, key_id, scheme) == "Signed"
    return made


@dataclass(frozen=True)
class Saved:
    """``file`` opens with ``identity``, the recovery copies in it with ``recovery``."""

    directory: Path
    file: Path
    identity: Path
    recipient: str
    recovery: Path

    @property
    def database(self) -> str:
        return f"sqlite://{self.directory}/countersign.db"


def age_key(directory: Path, name: str = "backup") -> tuple[Path, str]:
    """An identity file and its recipient."""
    key = x25519.Identity.generate()
    path = directory / f"{name}.age"
    path.write_text(f"# made for a test\n{key}\n")
    return path, str(key.to_public())


def backed_up(sandbox: Sandbox, file: Path, recipient: str) -> str:
    """Back a sandbox up; what the command printed."""
    done = countersign("backup", file, "--data", sandbox.directory, "--recipient", recipient)
    assert done.status == 0, done.errors
    return done.output


def drilled(file: Path, identity: Path, kek: Path, *arguments: object) -> tuple[int, dict[str, Any], str]:
    """Run a drill: exit status, report, errors."""
    report = file.with_suffix(".report.json")
    report.unlink(missing_ok=True)
    done = countersign("drill", file, "--identity", identity, "--kek", f"dev:{kek}", "--report", report, *arguments)
    return done.status, json.loads(report.read_text()) if report.exists() else {}, done.errors
