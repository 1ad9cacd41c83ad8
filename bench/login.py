"""What a login costs next to a ceremony, and what reads wait for while two hundred people log in at once.

A login is two requests and a session, a ceremony three and a renamed key. The reads of the second part are those whose
time overlaps that of a burst, against as many clients that read without one.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.load import Load, Measured, measure
from bench.processes import UNLIMITED, Server, cores
from bench.run import postgresql

COST_LIMIT, READ_LIMIT = 2.0, 3.0
CLIENTS = (1, 16)
READERS, LOGINS = 16, 200
#: Beginnings of bursts, in seconds after each other.
_EVERY = 1.0
_LIMITS = dict.fromkeys(("public_requests_per_minute", "username_requests_per_minute"), UNLIMITED)


def run(engine: str, rounds: int, seconds: float, console: Console, tell: Callable[[str], None]) -> dict[str, Any]:
    """Measure, print; what was measured as JSON."""
    server_core, client_core = cores()
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="countersign-login-")))
        postgres = stack.enter_context(postgresql(client_core, [])) if engine == "postgresql" else None
        if engine == "postgresql" and postgres is None:
            raise SystemExit("no PostgreSQL is found here")
        url = f"sqlite://{place}/bench.db" if postgres is None else postgres.new_database(migrated=False)
        server = Server("login", place, url, server_core, settings=_LIMITS)
        server.prepare()
        stack.enter_context(server)
        readers, people = Load(client_core), Load(client_core)
        stack.callback(readers.close)
        stack.callback(people.close)
        keys = readers.create_keys(server.port, server.identity, 50)
        who = [json.dumps({"username": "bench@bench", "orgId": server.org_id})]
        measured: dict[tuple[str, int], Measured] = {}
        waits: dict[str, list[float]] = {"alone": [], "beside": []}
        for number in range(rounds + 1):
            tell(f"round {number} of {rounds}")
            for clients in CLIENTS:
                for what, over in (("rename", keys), ("login", who)):
                    # The first round only warms up.
                    into = measured.setdefault((what, clients), Measured()) if number else Measured()
                    measure(into, readers, server, server.pids, over, scenario=what, clients=clients, seconds=seconds)
            for how in waits:
                found = _reads(server, readers, people if how == "beside" else None, keys, who, 2 * seconds)
                if number:
                    waits[how] += found
    return _report(measured, waits, engine, console)


def _reads(
    server: Server, readers: Load, people: Load | None, keys: list[str], who: list[str], seconds: float
) -> list[float]:
    """Latencies (ms) of reads: of all, or where people log in of those that were under way together with a burst."""
    spans: list[tuple[float, float]] = []
    end = time.perf_counter() + seconds

    def log_in() -> None:
        assert people is not None
        while (begun := time.perf_counter()) < end:
            command = {"port": server.port, "keys": who, "scenario": "login", "clients": LOGINS, **server.identity}
            span = people.command(do="burst", **command)
            spans.append((span["begun"], span["ended"]))
            time.sleep(max(0.0, min(begun + _EVERY, end) - time.perf_counter()))

    beside = threading.Thread(target=log_in if people is not None else lambda: None)
    beside.start()
    reading = {"port": server.port, "keys": keys, "scenario": "read", "clients": READERS, **server.identity}
    answer = readers.command(do="run", seconds=seconds, ends=True, **reading)
    beside.join()
    timed = zip(answer["latencies"], answer["ends"], strict=True)
    if people is None:
        return list(answer["latencies"])
    return [took for took, done in timed if any(done > begun and done - took / 1000 < over for begun, over in spans)]


def _p99(latencies: list[float]) -> float:
    ordered = sorted(latencies)
    return ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]


def _report(
    measured: dict[tuple[str, int], Measured], waits: dict[str, list[float]], engine: str, console: Console
) -> dict[str, Any]:
    table = Table(title=f"login, {engine}", title_justify="left")
    for name in ("what", "clients", "a second", "p50 ms", "p99 ms", "server µs", "ratio", "limit", ""):
        table.add_column(name, justify="left" if name in ("what", "") else "right")
    ratios: dict[str, float] = {}

    def verdict(name: str, ratio: float, limit: float) -> list[str]:
        ratios[name] = ratio
        return [f"{ratio:.2f}", f"≤ {limit:g}", "[green]holds" if ratio <= limit else "[bold red]missed"]

    for (what, clients), each in measured.items():
        row = each.as_dict()
        cpu, base = each.each(each.server_cpu), measured["rename", clients]
        judged = ["", "", ""]
        if what == "login":
            judged = verdict(f"login/ceremony, {clients}", cpu / base.each(base.server_cpu), COST_LIMIT)
        shown = [f"{each.rate:,.0f}", f"{row['p50Milliseconds']:.2f}", f"{row['p99Milliseconds']:.2f}"]
        table.add_row("ceremony" if what == "rename" else what, str(clients), *shown, f"{cpu * 1e6:.0f}", *judged)
    for how, latencies in waits.items():
        judged = ["", "", ""]
        if how == "beside":
            judged = verdict("p99 of reads", _p99(latencies) / _p99(waits["alone"]), READ_LIMIT)
        median = f"{sorted(latencies)[len(latencies) // 2]:.2f}"
        name = "reads" if how == "alone" else f"reads beside {LOGINS} logins at once"
        table.add_row(name, str(READERS), "", median, f"{_p99(latencies):.2f}", "", *judged)
    console.print(table)
    return {
        "engine": engine,
        "ratios": ratios,
        "measured": [{"what": what, "clients": n, **each.as_dict()} for (what, n), each in measured.items()],
        "readsP99Milliseconds": {how: _p99(latencies) for how, latencies in waits.items()},
        "reads": {how: len(latencies) for how, latencies in waits.items()},
    }
