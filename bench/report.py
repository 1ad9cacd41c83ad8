"""What was measured, for people and for programs."""

from __future__ import annotations

import os
import platform
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.run import CLIENTS, SCENARIOS, Results

_TITLES = {
    "hello": "hello (bench/hello.py)",
    "bare": "GET /healthz",
    "read": "GET /keys/{keyId}",
    "rename": "ceremony: PUT /keys/{keyId}",
    "sign": "ceremony: POST …/signatures",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that has to hold: ``value`` at most or at least ``limit``."""

    name: str
    value: float
    limit: float
    at_least: bool
    unit: str = ""

    @property
    def holds(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def figures(results: Results) -> list[Figure]:
    """What the measurements are held against."""
    found = []
    measured = results.measured
    engines = list(results.cold_start)
    for engine in engines:
        for clients in CLIENTS:
            hello = measured["", "hello", clients].rate
            for scenario, limit in (
                ("rename", 1 / 20),
                ("sign", 1 / 30),
                ("read", 0.5 if engine == "sqlite" else 0.25),
            ):
                if engine == "postgresql" and scenario != "read":
                    continue
                value = measured[engine, scenario, clients].rate / hello
                found.append(Figure(f"{engine}, {_clients(clients)}: {scenario} / hello", value, limit, True))
        if engine == "sqlite":
            one = measured[engine, "rename", 1]
            found.append(Figure(f"{engine}, 1 client: rename p50", one.percentile(0.5), 3.0, False, "ms"))
            spread = one.percentile(0.99) / one.percentile(0.5)
            found.append(Figure(f"{engine}, 1 client: rename p99 / p50", spread, 3.0, False))
        found.append(Figure(f"{engine}: cold start", results.cold_start[engine], 2.0, False, "s"))
        found.append(Figure(f"{engine}: idle memory, server and signer", sum(results.memory[engine]), 150, False, "MB"))
    if results.raw_rates:
        value = measured["postgresql", "rename", 16].rate / results.raw_rate
        found.append(Figure("postgresql, 16 clients: rename / bare transactions", value, 0.1, True))
    return found


def _clients(count: int) -> str:
    return f"{count} client{'s' if count > 1 else ''}"


def _latency(results: Results, console: Console) -> None:
    for clients in CLIENTS:
        table = Table(title=_clients(clients), title_justify="left")
        for name in ("engine", "what"):
            table.add_column(name)
        for name in ("a second", "p50 ms", "p99 ms", "of hello", "of bare"):
            table.add_column(name, justify="right")
        hello = results.measured["", "hello", clients]
        rows = [("", "hello")] + [(engine, each) for engine in results.cold_start for each in SCENARIOS]
        for engine, scenario in rows:
            each = results.measured[engine, scenario, clients]
            bare = results.measured[engine, "bare", clients] if engine else None
            table.add_row(
                engine,
                _TITLES[scenario],
                f"{each.rate:,.0f}",
                f"{each.percentile(0.5):.2f}",
                f"{each.percentile(0.99):.2f}",
                f"1/{hello.rate / each.rate:.1f}",
                "" if bare is None else f"1/{bare.rate / each.rate:.1f}",
            )
        console.print(table)


def _cost(results: Results, console: Console) -> None:
    table = Table(title="cost of each (of all three requests for a ceremony)", title_justify="left")
    for name in ("engine", "what", "clients"):
        table.add_column(name)
    for name in ("server µs", "signer µs", "client µs", "× hello", "× raw crypto", "SQL", "write tx", "commits"):
        table.add_column(name, justify="right")
    for (engine, scenario, clients), each in sorted(results.measured.items()):
        row = each.as_dict()
        total = row["serverCpuMicroseconds"] + row["signerCpuMicroseconds"]
        crypto = results.crypto_microseconds(scenario) if scenario in results.crypto else None
        table.add_row(
            engine,
            _TITLES[scenario],
            str(clients),
            f"{row['serverCpuMicroseconds']:.0f}",
            f"{row['signerCpuMicroseconds']:.0f}",
            f"{row['clientCpuMicroseconds']:.0f}",
            f"{total / results.measured['', 'hello', clients].as_dict()['serverCpuMicroseconds']:.1f}",
            "" if crypto is None else f"{total / crypto:.1f}",
            *[
                f"{row[name]:.2f}" if name in row else ""
                for name in ("sql_statements", "sql_write_transactions", "sql_commits")
            ],
        )
    console.print(table)


def show(results: Results, console: Console) -> None:
    """Print it."""
    console.print(machine())
    _latency(results, console)
    _cost(results, console)
    console.print(f"the machine itself: p99 / p50 of {results.disturbance:.1f} for work that waits for nothing")
    for scenario in results.crypto:
        console.print(f"raw crypto of {scenario}: {results.crypto_microseconds(scenario):.0f} µs")
    if results.raw_rates:
        console.print(f"bare transactions on PostgreSQL, 16 connections: {results.raw_rate:,.0f} a second")
    for engine in results.cold_start:
        before, after = results.memory[engine], results.memory_after[engine]
        console.print(
            f"{engine}: cold start {results.cold_start[engine]:.2f} s; PSS of server + signer "
            f"{before[0]:.0f} + {before[1]:.0f} MB idle, {after[0]:.0f} + {after[1]:.0f} MB after the run"
        )
    for why in results.missing:
        console.print(f"[bold red]PostgreSQL was not measured: {why}")
    table = Table(title="figures", title_justify="left")
    for name in ("what", "measured", "limit", ""):
        table.add_column(name)
    for figure in figures(results):
        sign = "≥" if figure.at_least else "≤"
        mark = "[green]holds" if figure.holds else "[bold red]missed"
        table.add_row(figure.name, f"{figure.value:.3f} {figure.unit}", f"{sign} {figure.limit:.3g}", mark)
    console.print(table)


def machine() -> str:
    """What it ran on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    return (
        f"{model}, {len(os.sched_getaffinity(0))} cores; Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, {platform.system()} {platform.release()}"
    )


def as_dict(results: Results) -> dict[str, Any]:
    """The same for a JSON file."""
    return {
        "machine": machine(),
        "disturbance": results.disturbance,
        "measured": [
            {"engine": engine, "scenario": scenario, "clients": clients, **each.as_dict()}
            for (engine, scenario, clients), each in results.measured.items()
        ],
        "rawCryptoMicroseconds": {name: results.crypto_microseconds(name) for name in results.crypto},
        "rawTransactions": results.raw_rates,
        "coldStartSeconds": results.cold_start,
        "idlePssMegabytes": results.memory,
        "pssMegabytesAfter": results.memory_after,
        "figures": [
            {
                "name": figure.name,
                "value": figure.value,
                "limit": figure.limit,
                "atLeast": figure.at_least,
                "holds": figure.holds,
            }
            for figure in figures(results)
        ],
        "missing": results.missing,
    }
