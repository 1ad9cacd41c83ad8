"""Backup and drill of many keys: time, and the most memory that each command held."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from pyrage import x25519
from rich.console import Console
from rich.table import Table

from countersign.keystores.kek import open_provider
from countersign.keystores.protocol import Generated, Order, Reply
from countersign.keystores.service import SignerService
from countersign.world import World
from tests.support.server import Sandbox

LIMIT_MB = 300
_SCHEMES = (("ECDSA", "secp256k1"), ("EdDSA", "ed25519"), ("Schnorr", "secp256k1"))
_KEY = (
    "INSERT INTO keys (org_id, key_id, scheme, curve, public_key, status, custodial, store_id, created_at)"
    " VALUES (?, ?, ?, ?, ?, 'Active', 1, ?, ?)"
)
_RECORD = (
    "INSERT INTO key_records (org_id, key_id, store_id, secret_kind, root_version, generation, record)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)


def run(keys: int, console: Console, tell: Callable[[str], None]) -> dict[str, Any]:
    """Make ``keys`` keys in a sandbox, back it up, drill; what was measured as JSON."""
    with tempfile.TemporaryDirectory(prefix="countersign-backup-") as name:
        place = Path(name)
        sandbox = Sandbox(place / "sandbox")
        with sandbox:
            org_id = sandbox.values["orgId"]
        tell(f"making {keys:,} keys")
        fill(sandbox.directory / "countersign.db", f"dev:{sandbox.directory / 'dev.kek'}", org_id, keys)
        identity = x25519.Identity.generate()
        (place / "identity.txt").write_text(f"{identity}\n")
        file, kek = place / "backup.age", sandbox.directory / "dev.kek"
        recipient = str(identity.to_public())
        results = {
            "backup": _measure("backup", file, "--data", sandbox.directory, "--recipient", recipient),
            "restore": _measure("restore", file, "--identity", place / "identity.txt", "--data", place / "restored"),
            "drill": _measure(
                "drill", file, "--identity", place / "identity.txt", "--kek", f"dev:{kek}", "--report", place / "r.json"
            ),
        }
        size = file.stat().st_size
    table = Table(title=f"{keys:,} keys, a backup of {size / 1e6:.0f} MB", title_justify="left")
    for column in ("command", "seconds", "most memory (RSS)", "limit", ""):
        table.add_column(column)
    for command, measured in results.items():
        held = "holds" if measured["megabytes"] <= LIMIT_MB else "missed"
        table.add_row(
            command, f"{measured['seconds']:.1f}", f"{measured['megabytes']:.0f} MB", f"≤ {LIMIT_MB} MB", held
        )
    console.print(table)
    return {"keys": keys, "bytes": size, **results}


def fill(file: Path, kek: str, org_id: str, keys: int) -> None:
    """Put so many new keys into an installation's SQLite database, sealed under its key-encryption key."""
    service = SignerService(open_provider(kek), clock=World().now, grant_level="G0")
    encode, decode = msgspec.msgpack.encode, msgspec.msgpack.Decoder(Reply).decode
    made = msgspec.msgpack.Decoder(Generated).decode
    world = World()
    with sqlite3.connect(file) as database:
        (store_id,) = database.execute("SELECT store_id FROM key_stores").fetchone()
        roots = [row[0] for row in database.execute("SELECT wrapped FROM keystore_roots")]
        loaded = decode(service.handle(memoryview(bytearray(encode(Order(0, "load", payload=encode(roots)))))))
        assert loaded.code == "ok", loaded.data
        for number in range(keys):
            scheme, curve = _SCHEMES[number % len(_SCHEMES)]
            key_id = world.new_id("key")
            order = Order(0, "generate", key_id, scheme, payload=memoryview(curve.encode()), payload_kind="generate")
            order.org_id, order.curve = org_id, curve
            reply = decode(service.handle(memoryview(bytearray(encode(order)))))
            assert reply.code == "ok", reply.data
            new = made(reply.data)
            database.execute(_KEY, (org_id, key_id, scheme, curve, new.public_key.hex(), store_id, world.now()))
            sealed = (new.secret_kind, new.root_version, new.generation, new.record)
            database.execute(_RECORD, (org_id, key_id, store_id, *sealed))
    service.seal()


def _measure(*arguments: object) -> dict[str, float]:
    """Run a command; its wall time in seconds and its largest resident set in megabytes."""
    started = time.monotonic()
    command = [sys.executable, "-m", "countersign", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"{arguments[0]} ended with {process.returncode}"
    return {"seconds": time.monotonic() - started, "megabytes": usage.ru_maxrss / 1024}
