"""The cost of a ceremony over a large database, next to the same over an empty one. SQLite.

The rows are copies of what the server itself wrote, under identifiers of their own that are spread over a year, put
in by hand because ten million ceremonies would take hours. They differ from real ones where it costs nothing to
look at: the evidence repeats, the sealed payload beside each entry is left out (as in a log whose payloads were
redacted; it would take three times the disk), and the hashes of the tree are random.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.load import Load, Measured, measure
from bench.processes import Server, cores
from countersign.encoding.dates import to_iso
from countersign.world import encode_id

LIMIT = 1.3
CLIENTS = (1, 16)
_YEAR_MS = 365 * 86_400_000
_SAMPLE = 5000
_BATCH = 50_000
_ROW_OVERHEAD = 520
"""Bytes of an entry in the indexes, the tree and the gaps of pages, about."""


def run(
    keys: int,
    entries: int,
    directory: Path | None,
    rounds: int,
    seconds: float,
    console: Console,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Seed, measure, print; what was measured as JSON."""
    server_core, client_core = cores()
    with ExitStack() as stack:
        place = directory or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="countersign-scale-")))
        load = Load(client_core)
        stack.callback(load.close)
        servers = {
            name: Server(name, place / name, f"sqlite://{place}/{name}/bench.db", server_core)
            for name in ("empty", "full")
        }
        names: dict[str, list[str]] = {}
        for name, server in servers.items():
            server.prepare()
            with server:
                names[name] = load.create_keys(server.port, server.identity, 50)
                how = {"scenario": "rename", "clients": 1, "seconds": 1.5}
                measure(Measured(), load, server, server.pids, names[name], **how)
        begun = time.perf_counter()
        names["full"] = seed(place / "full" / "bench.db", servers["full"].org_id, keys, entries, tell)
        seeded = time.perf_counter() - begun
        size = (place / "full" / "bench.db").stat().st_size / 1e9
        tell(f"seeded {keys:,} keys and {entries:,} entries in {seeded:.0f} s, {size:.1f} GB")
        for server in servers.values():
            stack.enter_context(server)
        measured = {(name, clients): Measured() for clients in CLIENTS for name in servers}
        for number in range(rounds + 1):
            tell(f"round {number} of {rounds}")
            for clients in CLIENTS:
                for name, server in servers.items():
                    # The first round only warms up.
                    into = measured[name, clients] if number else Measured()
                    how = {"scenario": "rename", "clients": clients, "seconds": seconds}
                    measure(into, load, server, server.pids, names[name], **how)
    return _report(measured, keys, entries, seeded, size, console)


def _report(
    measured: dict[tuple[str, int], Measured], keys: int, entries: int, seeded: float, size: float, console: Console
) -> dict[str, Any]:
    console.print(f"{keys:,} keys and {entries:,} audit entries: {size:.1f} GB, seeded in {seeded:.0f} s")
    table = Table(title="ceremony: PUT /keys/{keyId}", title_justify="left")
    for name in ("clients", "database", "a second", "p50 ms", "p99 ms", "server µs", "ratio", "limit", ""):
        table.add_column(name, justify="left" if name in ("database", "") else "right")
    ratios = {}
    for (name, clients), each in measured.items():
        row = each.as_dict()
        cpu = row["serverCpuMicroseconds"]
        verdict = ["", "", ""]
        if name == "full":
            ratio = ratios[clients] = cpu / measured["empty", clients].as_dict()["serverCpuMicroseconds"]
            verdict = [f"{ratio:.2f}", f"≤ {LIMIT}", "[green]holds" if ratio <= LIMIT else "[bold red]missed"]
        p50, p99 = row["p50Milliseconds"], row["p99Milliseconds"]
        table.add_row(str(clients), name, f"{each.rate:,.0f}", f"{p50:.2f}", f"{p99:.2f}", f"{cpu:.0f}", *verdict)
    console.print(table)
    return {
        "keys": keys,
        "entries": entries,
        "seedSeconds": seeded,
        "gigabytes": size,
        "ratios": ratios,
        "measured": [
            {"database": name, "clients": clients, **each.as_dict()} for (name, clients), each in measured.items()
        ],
    }


def seed(path: Path, org_id: str, keys: int, entries: int, tell: Callable[[str], None]) -> list[str]:
    """Fill a database that no server has open; some of the ids of its keys."""
    with bulk(path) as connection:
        template = connection.execute(
            "SELECT entry_id, user_id, performed_at, entry FROM audit_entries "
            'WHERE org_id = ? AND entry LIKE \'%"method":"PUT"%\' LIMIT 1',
            (org_id,),
        ).fetchone()
        needed = entries * (len(template[3]) + _ROW_OVERHEAD) + keys * 1000
        free = shutil.disk_usage(path.parent).free
        if needed > free * 0.9:
            raise SystemExit(
                f"{needed / 1e9:.0f} GB are needed and {free / 1e9:.0f} GB free: "
                "name another place with --scale-directory, or fewer with --scale-entries"
            )
        made = _keys(connection, org_id, keys)
        _entries(connection, org_id, template, entries, tell)
    return made


@contextmanager
def bulk(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that gives up all safety for speed, and puts it back."""
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "cache_size=-1000000"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    yield connection
    for pragma in ("locking_mode=NORMAL", "journal_mode=WAL"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    connection.close()


def identifiers(prefix: str, count: int, end: int) -> Iterator[tuple[str, int]]:
    """Identifiers and their times, spread evenly over the year before ``end``."""
    for number in range(count):
        moment = end - _YEAR_MS + _YEAR_MS * number // count
        yield encode_id(prefix, (moment << 82) | random.getrandbits(82)), moment


def _keys(connection: sqlite3.Connection, org_id: str, count: int) -> list[str]:
    scheme, curve, store_id = connection.execute("SELECT scheme, curve, store_id FROM keys LIMIT 1").fetchone()
    kind, version, generation, record = connection.execute(
        "SELECT secret_kind, root_version, generation, record FROM key_records LIMIT 1"
    ).fetchone()
    sample: list[str] = []
    step = max(1, count // _SAMPLE)
    made = identifiers("key", count, int(time.time() * 1000) - 60_000)
    rows: list[tuple[Any, ...]] = []
    connection.execute("BEGIN")
    for number, (key_id, moment) in enumerate(made, 1):
        if number % step == 0:
            sample.append(key_id)
        rows.append((key_id, moment))
        if len(rows) == _BATCH or number == count:
            connection.executemany(
                "INSERT INTO keys (org_id, key_id, scheme, curve, public_key, name, status, custodial, store_id, "
                "created_at) VALUES (?, ?, ?, ?, ?, ?, 'Active', 1, ?, ?)",
                [(org_id, id_, scheme, curve, os.urandom(32).hex(), "treasury", store_id, at) for id_, at in rows],
            )
            connection.executemany(
                "INSERT INTO key_records (org_id, key_id, store_id, secret_kind, root_version, generation, record) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(org_id, id_, store_id, kind, version, generation, record) for id_, _ in rows],
            )
            rows.clear()
    connection.execute("COMMIT")
    random.shuffle(sample)
    return sample


def _entries(
    connection: sqlite3.Connection, org_id: str, template: tuple[Any, ...], count: int, tell: Callable[[str], None]
) -> None:
    entry_id, user_id, performed_at, text = template
    # The id and the time are what differs; both have the same length in every entry.
    before_id, _, rest = text.partition(entry_id)
    before_time, _, after = rest.partition(to_iso(performed_at))
    first, *_ = connection.execute("SELECT MAX(size) FROM audit_checkpoints WHERE org_id = ?", (org_id,)).fetchone()
    position = first
    batch: list[tuple[str, int]] = []
    connection.execute("BEGIN")
    for number, made in enumerate(identifiers("uj", count, int(time.time() * 1000) - 60_000), 1):
        batch.append(made)
        if len(batch) < _BATCH and number < count:
            continue
        connection.executemany(
            "INSERT INTO audit_entries (org_id, entry_id, user_id, performed_at, entry, payload) "
            "VALUES (?, ?, ?, ?, ?, NULL)",
            [(org_id, id_, user_id, at, f"{before_id}{id_}{before_time}{to_iso(at)}{after}") for id_, at in batch],
        )
        hashes = os.urandom(32 * len(batch))
        connection.executemany(
            "INSERT INTO audit_leaves (org_id, position, entry_id, leaf_hash) VALUES (?, ?, ?, ?)",
            [(org_id, position + at, id_, hashes[32 * at : 32 * at + 32]) for at, (id_, _) in enumerate(batch)],
        )
        position += len(batch)
        batch.clear()
        if number % 1_000_000 == 0:
            tell(f"{number:,} entries")
    # One hash for each complete subtree: as many as the size has ones in binary.
    connection.execute(
        "INSERT INTO audit_checkpoints (org_id, size, root_hash, frontier, kid, signature, created_at) "
        "SELECT org_id, ?, root_hash, ?, kid, signature, created_at FROM audit_checkpoints "
        "WHERE org_id = ? AND size = ?",
        (position, os.urandom(32 * position.bit_count()), org_id, first),
    )
    connection.execute("COMMIT")
