"""A sandbox that was backed up and restored on an empty place: what tests run against when they are told to."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pyrage import x25519

from tests.support.commands import countersign
from tests.support.server import Sandbox

VARIABLE = "RESTORED_SANDBOXES"


def wanted() -> bool:
    """Whether shared sandboxes are to be restored ones."""
    return os.environ.get(VARIABLE) == "1"


def restored(original: Sandbox) -> Sandbox:
    """Start ``original`` once, back it up, and give what is restored from it beside: SQLite, not started yet."""
    key = x25519.Identity.generate()
    place = original.directory.with_name(original.directory.name + "-restored")
    identity, file = place.with_suffix(".identity"), place.with_suffix(".age")
    identity.write_text(f"{key}\n")
    with original:
        done = countersign("backup", file, "--data", original.directory, "--recipient", str(key.to_public()))
        assert done.status == 0, done.errors
    done = countersign("restore", file, "--identity", identity, "--data", place)
    assert done.status == 0, done.errors
    # What is kept elsewhere comes back by hand: the key-encryption key, and what belongs to the clients.
    for path in (original.directory / "dev.kek", original.directory / "connection.json"):
        shutil.copy(path, place / path.name)
    for path in Path(original.directory).glob("*.pem"):
        shutil.copy(path, place / path.name)
    return Sandbox(place, None, original.environment, original.arguments)
