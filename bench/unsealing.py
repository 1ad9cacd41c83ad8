"""What unsealing costs by the number of keys: the roots opened, and a server from its start to ready.

Two production servers on SQLite, one with few keys and one with many, take turns.
"""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from bench.backup import fill
from bench.processes import Server, cores, cpu_seconds
from countersign.keystores.kek import open_provider
from countersign.keystores.protocol import Order, Reply, State
from countersign.keystores.service import SignerService
from countersign.world import World

FEW = 10
#: How many times the cost with few keys unsealing may have with many.
LIMIT = 1.2
_OPENED = 50
_WHAT = {
    "unseal": "roots read and opened, CPU µs",
    "signer": "signer, start to ready, CPU ms",
    "server": "server, start to ready, CPU ms",
    "ready": "start to ready, ms",
}


@dataclass
class _Place:
    """A server with so many keys, and its figures by round."""

    server: Server
    keys: int
    figures: dict[str, list[float]] = field(default_factory=lambda: {what: [] for what in _WHAT})

    @property
    def database(self) -> Path:
        return Path(self.server.database.removeprefix("sqlite:///"))

    def prepare(self) -> None:
        """Make the installation and its keys."""
        self.server.prepare()
        with self.server:
            pass  # the schema is there, and so is whatever a first start makes
        fill(self.database, self.kek, self.server.org_id, self.keys)

    @property
    def kek(self) -> str:
        return f"file:{self.server.directory / 'kek'}"

    def measure(self) -> None:
        """One round."""
        begun = time.process_time()
        for _ in range(_OPENED):
            self._unseal()
        self.figures["unseal"].append((time.process_time() - begun) / _OPENED * 1e6)
        self.figures["ready"].append(self.server.start() * 1e3)
        try:
            for what, pid in zip(("server", "signer"), self.server.pids, strict=True):
                self.figures[what].append(cpu_seconds(pid) * 1e3)
        finally:
            self.server.stop()

    def _unseal(self) -> None:
        """What happens when a signer is handed the roots: read from the database, opened, wiped again."""
        with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True) as database:
            blobs = [row[0] for row in database.execute("SELECT wrapped FROM keystore_roots ORDER BY version")]
        database.close()
        service = SignerService(open_provider(self.kek), clock=World().now)
        payload = memoryview(msgspec.msgpack.encode(blobs))
        reply = service.handle(memoryview(bytearray(msgspec.msgpack.encode(Order(0, "load", payload=payload)))))
        state = msgspec.msgpack.decode(msgspec.msgpack.decode(reply, type=Reply).data, type=State)
        assert state.state == "unsealed", state.reason
        service.seal()


def run(keys: int, rounds: int, console: Console, tell: Callable[[str], None]) -> dict[str, Any]:
    """Measure with ``FEW`` keys and with ``keys``, print; what was measured as JSON."""
    core, _ = cores()
    with tempfile.TemporaryDirectory(prefix="countersign-unsealing-") as name:
        places = []
        for count in (FEW, keys):
            directory = Path(name) / str(count)
            server = Server(str(count), directory, f"sqlite:///{directory / 'countersign.db'}", core)
            places.append(_Place(server, count))
            tell(f"making {count:,} keys")
            places[-1].prepare()
        for number in range(rounds):
            tell(f"round {number + 1} of {rounds}")
            # Whoever is second finds the machine warmer: take turns at that as well.
            for place in places if number % 2 else reversed(places):
                place.measure()
    return _report(places, console)


def _report(places: list[_Place], console: Console) -> dict[str, Any]:
    few, many = places
    table = Table(title="unsealing by the number of keys, median of the rounds", title_justify="left")
    for name in ("what", f"{few.keys:,} keys", f"{many.keys:,} keys", "ratio", "limit", ""):
        table.add_column(name, justify="left" if name in ("what", "") else "right")
    ratios = {}
    for what, title in _WHAT.items():
        ratios[what] = statistics.median(b / a for a, b in zip(few.figures[what], many.figures[what], strict=True))
        medians = [f"{statistics.median(place.figures[what]):.1f}" for place in places]
        verdict = "[green]holds" if ratios[what] <= LIMIT else "[bold red]missed"
        table.add_row(title, *medians, f"{ratios[what]:.2f}", f"≤ {LIMIT:g}", verdict)
    console.print(table)
    return {
        "limit": LIMIT,
        "ratios": ratios,
        "measured": [{"keys": place.keys, **place.figures} for place in places],
    }
