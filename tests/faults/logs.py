"""The audit log of a running sandbox, taken and checked with the command line as an auditor would."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.waiting import until
from tests.support.server import Sandbox


@dataclass(frozen=True)
class ExportedLog:
    """Entries by id, and the file they were read from."""

    path: Path
    entries: dict[str, dict[str, Any]]


def countersign(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the command line."""
    return subprocess.run([sys.executable, "-m", "countersign", *words], capture_output=True, text=True)


def _database(sandbox: Sandbox) -> tuple[str, ...]:
    return ("--database", sandbox.database or f"sqlite://{sandbox.directory / 'countersign.db'}")


def export(sandbox: Sandbox, path: Path, *, whole: bool = True) -> ExportedLog:
    """The log as it is now; if ``whole``, once every entry of it has its place in the tree."""
    secret = str(sandbox.directory / "server.secret")
    options = ("--server-secret", secret, "--org", sandbox.values["orgId"], "--output", str(path))

    def complete() -> bool:
        done = countersign("audit", "export", *_database(sandbox), *options)
        assert done.returncode == 0, done.stderr
        return " 0 not yet in the tree" in done.stdout or not whole

    until("every audit entry is in the tree", complete)
    lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    entries = (json.loads(line["entry"]) for line in lines if line["type"] == "entry")
    return ExportedLog(path, {entry["id"]: entry for entry in entries})


def fingerprint(sandbox: Sandbox) -> str:
    """What an auditor trusts."""
    done = countersign("audit", "fingerprint", *_database(sandbox))
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[0]


def verify(log: ExportedLog, trust: str, *options: str) -> None:
    """Fail unless the log is sound."""
    done = countersign("audit", "verify", str(log.path), "--trust", trust, *options)
    assert done.returncode == 0, done.stdout
