"""What governance costs, on either engine: signing under policies, running a job, and all that was done before.

A hundred policies, a quarter each: never asked, asked and not triggered, triggered and reported only, and velocities.
None of them holds or blocks, so that the same happens as without them, and the difference is what asking costs. A job
runs in this process: taken, run, and ended, next to the bare update that any other way would need too. Ended jobs are
deleted; what stays is the events of webhooks and the jobs that failed for good, put in by hand by the million.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.filling import filling
from bench.load import Load, Measured, measure
from bench.processes import Server, cores
from bench.run import KEYS, postgresql
from bench.scale import identifiers
from countersign.jobs import Done, Job, Kind, RetryPlan, enqueue
from countersign.jobs.plan import Bounds
from countersign.jobs.workers import Workers
from countersign.policies.book import renew_revision
from countersign.policies.policies import create, read_body
from countersign.storage import Database, Statement, Transaction, open_database
from countersign.webhooks.store import INSERT_EVENT
from countersign.world import World
from tests.support.postgres import PostgresServer

POLICIES = 100
SIGN_LIMIT, JOB_LIMIT, FULL_LIMIT = 1.3, 3.0, 1.2
CLIENTS = (1, 16)
_JOBS = 1500
_BATCH = 50_000
_BARE = Statement("bench.bare", "UPDATE organisations SET name = ? WHERE org_id = ?")
_COUNT = Statement("bench.jobs_left", "SELECT COUNT(*) FROM jobs WHERE kind = 'bench.job'")


def run(
    engine: str, finished: int, rounds: int, seconds: float, console: Console, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Measure, print; what was measured as JSON. ``finished``: stored events, and as many jobs that failed for good."""
    server_core, client_core = cores()
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="countersign-governance-")))
        postgres = stack.enter_context(postgresql(client_core, [])) if engine == "postgresql" else None
        if engine == "postgresql" and postgres is None:
            raise SystemExit("no PostgreSQL is found here")
        jobs = _jobs(place, postgres, server_core, finished, rounds, tell)
        signing = _signing(place, postgres, server_core, client_core, rounds, seconds, tell)
    return _report(engine, finished, signing, jobs, console)


def prepared(name: str, place: Path, postgres: PostgresServer | None, core: set[int]) -> Server:
    """A server that is not started yet, over a database of its own."""
    url = f"sqlite://{place}/{name}/bench.db" if postgres is None else postgres.new_database(migrated=False)
    server = Server(name, place / name, url, core)
    server.prepare()
    return server


def policies(number: int) -> list[dict[str, Any]]:
    """So many policies about signatures, a quarter of each sort."""
    always = {"kind": "AlwaysTrigger"}
    limit = {"kind": "TransactionAmountLimit", "configuration": {"limit": 1, "currency": "USD"}}
    many = {"kind": "TransactionCountVelocity", "configuration": {"limit": 10_000_000, "timeframe": 1}}
    sorts: list[dict[str, Any]] = [
        {"rule": always, "action": {"kind": "Block"}, "filters": {"walletTags": {"hasAny": ["cold"]}}},
        {"rule": limit, "action": {"kind": "NoAction"}},
        {"rule": always, "action": {"kind": "NoAction"}},
        {"rule": many, "action": {"kind": "Block"}},
    ]
    return [
        {"name": f"policy {count}", "activityKind": "Wallets:Sign", **sorts[count % len(sorts)]}
        for count in range(number)
    ]


async def _put(server: Server, made: list[dict[str, Any]]) -> None:
    database, world = await open_database(server.database, migrate=False), World()

    def work() -> Transaction[None]:
        for policy in made:
            yield from create(server.org_id, read_body(policy), world)
        yield from renew_revision(server.org_id, world)

    await database.write(work)
    await database.close()


def _signing(
    place: Path,
    postgres: PostgresServer | None,
    server_core: set[int],
    client_core: set[int],
    rounds: int,
    seconds: float,
    tell: Callable[[str], None],
) -> dict[tuple[str, int], Measured]:
    with ExitStack() as stack:
        load = Load(client_core)
        stack.callback(load.close)
        servers = {name: prepared(name, place, postgres, server_core) for name in ("none", "policies")}
        asyncio.run(_put(servers["policies"], policies(POLICIES)))
        for server in servers.values():
            stack.enter_context(server)
        keys = {name: load.create_keys(server.port, server.identity, KEYS) for name, server in servers.items()}
        measured: dict[tuple[str, int], Measured] = {}
        for number in range(rounds + 1):
            tell(f"signing, round {number} of {rounds}")
            for clients in CLIENTS:
                for name, server in servers.items():
                    # The first round only warms up.
                    into = measured.setdefault((name, clients), Measured()) if number else Measured()
                    how = {"scenario": "sign", "clients": clients, "seconds": seconds}
                    measure(into, load, server, server.pids, keys[name], **how)
        return measured


def _jobs(
    place: Path,
    postgres: PostgresServer | None,
    core: set[int],
    finished: int,
    rounds: int,
    tell: Callable[[str], None],
) -> dict[str, list[float]]:
    """Microseconds of this process for each: a bare update, and a job, in a database with nothing and with much."""
    servers = {name: prepared(f"jobs-{name}", place, postgres, core) for name in ("empty", "full")}
    begun = time.perf_counter()
    fill(servers["full"], finished)
    tell(f"{finished:,} events and {finished:,} dead jobs, put in in {time.perf_counter() - begun:.0f} s")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, core)
    measured: dict[str, list[float]] = {}
    try:
        for number in range(rounds + 1):
            tell(f"jobs, round {number} of {rounds}")
            for name, server in servers.items():
                for what, took in asyncio.run(_round(server)).items():
                    if number:
                        measured.setdefault(f"{what} {name}", []).append(took)
    finally:
        os.sched_setaffinity(0, before)
    return measured


def fill(server: Server, number: int, webhook_id: str = "wh-1") -> None:
    """Put in so many events of a webhook, and as many jobs that failed for good."""
    now = World().now()
    with filling(server.database) as database:
        made: list[tuple[str, int]] = []
        for count, each in enumerate(identifiers("whe", number, now), 1):
            made.append(each)
            if len(made) < _BATCH and count < number:
                continue
            columns = "org_id webhook_id event_id kind date data status sent_at failed attempt"
            rows = [
                (server.org_id, webhook_id, id_, "wallet.signature.signed", at, "{}" * 100, "200", at // 1000, 0, 1)
                for id_, at in made
            ]
            database.insert("webhook_events", columns, rows)
            columns = "org_id job_id kind lane payload attempt fence reason created_at died_at"
            dead = [(server.org_id, f"job{id_[3:]}", "bench.job", "", "{}", 9, 9, "no", at, at) for id_, at in made]
            database.insert("dead_jobs", columns, dead)
            made.clear()


async def _round(server: Server) -> dict[str, float]:
    database, world = await open_database(server.database, migrate=False), World()
    try:
        return await _measure_jobs(database, server.org_id, world)
    finally:
        await database.close()


async def _measure_jobs(database: Database, org_id: str, world: World) -> dict[str, float]:
    def bare(number: int) -> Transaction[None]:
        yield _BARE, (f"Bench {number}", org_id)

    def event() -> Transaction[None]:
        now = world.now()
        told = ("wallet.signature.signed", now, "{}" * 100, "200", None, now // 1000)
        yield INSERT_EVENT, (org_id, "wh-1", world.new_id("whe"), *told, 0, 1, None, None)

    async def work(_job: Job) -> Done:
        return Done()

    async def deliver(_job: Job) -> Done:
        return Done(event)

    async def ended(run: Callable[[Job], Any]) -> float:
        kind = Kind("bench.job", run, RetryPlan((1000,)), Bounds(8))
        workers = Workers(database, [kind], world.new_id("owner"), world)

        def put() -> Transaction[None]:
            for _ in range(_JOBS):
                yield from enqueue("bench.job", org_id, {}, None, None, world)

        await database.write(put)
        begun = time.process_time()
        await workers.until_idle()
        took = time.process_time() - begun
        # Nothing stays of what ended.
        if (await database.read(_left)) != 0:
            raise RuntimeError("jobs are left")
        return took / _JOBS * 1e6

    order = ["bare", "job", "job with an event"]
    random.shuffle(order)
    result = {}
    for what in order:
        if what == "bare":
            begun = time.process_time()
            # As many at once as jobs run at once.
            for first in range(0, _JOBS, 8):
                await asyncio.gather(*[database.write(partial(bare, first + each)) for each in range(8)])
            result[what] = (time.process_time() - begun) / (-(-_JOBS // 8) * 8) * 1e6
        else:
            result[what] = await ended(work if what == "job" else deliver)
    return result


def _left() -> Transaction[int]:
    return int((yield _COUNT, ())[0][0])


def verdict(ratio: float, limit: float, *, least: bool = False) -> list[str]:
    """A ratio, its limit and whether it holds, for a table. ``least``: it may not be less, instead of more."""
    holds = ratio >= limit if least else ratio <= limit
    return [f"{ratio:.2f}", f"{'≥' if least else '≤'} {limit}", "[green]holds" if holds else "[bold red]missed"]


def _report(
    engine: str,
    finished: int,
    signing: dict[tuple[str, int], Measured],
    jobs: dict[str, list[float]],
    console: Console,
) -> dict[str, Any]:
    table = Table(title=f"POST /keys/{{keyId}}/signatures, {engine}", title_justify="left")
    for name in ("clients", "policies", "a second", "p50 ms", "server µs", "signer µs", "ratio", "limit", ""):
        table.add_column(name, justify="left" if name == "" else "right")
    ratios: dict[str, float] = {}
    for (name, clients), each in signing.items():
        row = each.as_dict()
        cpu = row["serverCpuMicroseconds"] + row["signerCpuMicroseconds"]
        shown = ["", "", ""]
        if name == "policies":
            bare = signing["none", clients].as_dict()
            ratio = cpu / (bare["serverCpuMicroseconds"] + bare["signerCpuMicroseconds"])
            ratios[f"signing, {clients} clients"] = ratio
            shown = verdict(ratio, SIGN_LIMIT)
        number = str(POLICIES if name == "policies" else 0)
        numbers = [f"{row[of]:.0f}" for of in ("serverCpuMicroseconds", "signerCpuMicroseconds")]
        table.add_row(str(clients), number, f"{each.rate:,.0f}", f"{row['p50Milliseconds']:.2f}", *numbers, *shown)
    console.print(table)
    median = {name: sorted(values)[len(values) // 2] for name, values in jobs.items()}
    table = Table(title=f"a job, {engine}; full: {finished:,} events and dead jobs", title_justify="left")
    for name in ("what", "database", "µs", "against", "ratio", "limit", ""):
        table.add_column(name, justify="left" if name in ("what", "database", "against", "") else "right")
    for name in ("empty", "full"):
        table.add_row("bare update", name, f"{median[f'bare {name}']:.0f}", "", "", "", "")
        for what in ("job", "job with an event"):
            took = median[f"{what} {name}"]
            if name == "empty" and what != "job":
                table.add_row(what, name, f"{took:.0f}", "", "", "", "")
                continue
            base, against, limit = median["bare empty"], "bare update", JOB_LIMIT
            if name == "full":
                base, against, limit = median[f"{what} empty"], "empty", FULL_LIMIT
            ratios[f"{what}, {name}"] = took / base
            table.add_row(what, name, f"{took:.0f}", against, *verdict(took / base, limit))
    console.print(table)
    return {
        "engine": engine,
        "finished": finished,
        "ratios": ratios,
        "signing": [
            {"policies": name, "clients": clients, **each.as_dict()} for (name, clients), each in signing.items()
        ],
        "jobMicroseconds": jobs,
    }
