"""Age keys and installations for tests of backups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pyrage import x25519

from tests.support.commands import countersign
from tests.support.server import Sandbox


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
