"""What webhooks deliver, on either engine: events that wait, next to a bare client, and events that just happened.

A server of production delivers to a receiver on loopback. First many events at once, written in one transaction by
another process, again and again, with nothing in the database and with much; in between a bare HTTP client posts the
same body to the same receiver from the server's core, as many at a time. Then single events at a tenth of that rate,
each in a transaction of its own; from before it begins to the arrival of the first attempt is counted. Another process
writes them, so that no hint of a commit tells the server: it finds them when it looks.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.governance import FULL_LIMIT, fill, prepared, verdict
from bench.identities import key_ring
from bench.load import Worker
from bench.processes import Server, cores, cpu_seconds
from bench.run import postgresql
from countersign.storage import Database, Statement, Transaction, open_database
from countersign.webhooks import emit
from countersign.webhooks.signature import HEADER, sign
from countersign.webhooks.types import CreateWebhook
from countersign.webhooks.webhooks import create, new_secret
from countersign.world import World

RATE_LIMIT = 0.25
LATENCY_LIMIT_MS = 500
#: Deliveries of one webhook that wait for an answer at a time: the default of the settings.
AT_ONCE = 8
_PATIENCE_S = 600
_LEFT = Statement("bench.deliveries_left", "SELECT COUNT(*) FROM jobs WHERE kind = 'webhooks.deliver'")
_SETTINGS = {
    "outgoing_allow_http": "true",
    "outgoing_any_port": "true",
    "outgoing_allowed_networks": '["127.0.0.0/8"]',
}


@dataclass
class Posted:
    """Of several rounds: how many a second arrived, and what each cost its sender, in microseconds of CPU time."""

    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    @property
    def microseconds(self) -> float:
        return statistics.median(self.cpu)


class Teller:
    """Who writes events into the database of a server, from outside of it."""

    def __init__(self, server: Server, database: Database, webhook_id: str, world: World) -> None:
        self._server = server
        self._database = database
        self._world = world
        self._webhook_id = webhook_id
        self.secret = new_secret(world)
        self._told = 0

    async def subscribe(self, url: str) -> None:
        """Make the webhook that is told of everything."""
        sealed = (await key_ring(self._server)).payload_seal.seal(self.secret.encode(), self._webhook_id)
        webhook = CreateWebhook(url=url, events=["*"])
        now = self._world.now()
        make = partial(create, self._server.org_id, self._webhook_id, webhook, self.secret, sealed, 1, now)
        await self._database.write(make)

    async def tell(self, count: int) -> None:
        """Write so many events, in one transaction."""
        first = self._told
        self._told += count

        def events() -> Transaction[None]:
            for number in range(first, first + count):
                yield from emit(self._server.org_id, "wallet.signature.signed", _signature(number), self._world)

        await self._database.write(events)

    async def told_all(self) -> None:
        """Until the server has written down every delivery."""
        while (await self._database.read(_left)) > 0:  # noqa: ASYNC110 - another process writes, and tells nobody
            await asyncio.sleep(0.01)

    async def tell_singly(self, rate: float, seconds: float) -> dict[str, float]:
        """One event at a time, so many a second; when the writing of each began, by the id of its signature."""
        begun: dict[str, float] = {}
        start = time.perf_counter()
        for count in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, start + count / rate - time.perf_counter()))
            begun[_signature(self._told)["signatureRequest"]["id"]] = time.perf_counter()
            await self.tell(1)
        return begun

    async def close(self) -> None:
        """Close the database."""
        await self._database.close()


def run(
    engine: str, events: int, finished: int, rounds: int, seconds: float, console: Console, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Measure, print; what was measured as JSON. ``seconds``: of single events. ``finished``: see ``fill``."""
    server_core, client_core = cores()
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="countersign-webhooks-")))
        postgres = stack.enter_context(postgresql(client_core, [])) if engine == "postgresql" else None
        if engine == "postgresql" and postgres is None:
            raise SystemExit("no PostgreSQL is found here")
        receiver, bare = Worker("bench.receiver", client_core), Worker("bench.posting", server_core)
        stack.callback(receiver.close)
        stack.callback(bare.close)
        url = f"http://127.0.0.1:{receiver.command(do='port')['port']}/hook"
        runner = stack.enter_context(asyncio.Runner())
        servers: dict[str, tuple[Server, Teller]] = {}
        for name in ("empty", "full"):
            server = prepared(f"webhooks-{name}", place, postgres, server_core)
            server.settings = _SETTINGS
            webhook_id = World().new_id("wh")
            if name == "full":
                fill(server, finished, webhook_id)
                tell(f"{finished:,} events and {finished:,} dead jobs are in")
            teller = runner.run(_teller(server, webhook_id, url))
            stack.callback(lambda teller=teller: runner.run(teller.close()))
            servers[name] = stack.enter_context(server), teller
        measured = {name: Posted() for name in ("bare", *servers)}
        for number in range(rounds + 1):
            tell(f"events, round {number} of {rounds}")
            # The first round only warms up.
            into = measured if number else {name: Posted() for name in measured}
            for name, (server, teller) in servers.items():
                body = _deliver(into[name], server, teller, receiver, runner, events)
                _post(into["bare"], bare, receiver, url, body, teller.secret, events)
        rate = measured["empty"].rate / 10
        tell(f"single events, {rate:.0f} a second")
        begun = runner.run(servers["empty"][1].tell_singly(rate, seconds))
        latencies = _latencies(begun, receiver.command(do="wait", count=len(begun), seconds=_PATIENCE_S))
    return _report(engine, finished, measured, rate, latencies, console)


async def _teller(server: Server, webhook_id: str, url: str) -> Teller:
    teller = Teller(server, await open_database(server.database, migrate=False), webhook_id, World())
    await teller.subscribe(url)
    return teller


def _deliver(
    into: Posted, server: Server, teller: Teller, receiver: Worker, runner: asyncio.Runner, events: int
) -> str:
    """Have so many events delivered; the body of one."""
    pid = server.pids[0]
    before = cpu_seconds(pid)
    runner.run(teller.tell(events))
    arrived = receiver.command(do="wait", count=events, seconds=_PATIENCE_S)
    runner.run(teller.told_all())
    used = cpu_seconds(pid) - before
    _add(into, arrived, events, used)
    return str(arrived["bodies"][-1])


def _post(into: Posted, bare: Worker, receiver: Worker, url: str, body: str, secret: str, count: int) -> None:
    headers = {"Content-Type": "application/json", HEADER: sign(secret, body.encode())}
    answer = bare.command(url=url, body=body, headers=headers, count=count, clients=AT_ONCE)
    _add(into, receiver.command(do="wait", count=count, seconds=_PATIENCE_S), count, answer["cpu"])


def _add(into: Posted, arrived: dict[str, Any], count: int, cpu: float) -> None:
    times = arrived["times"]
    if len(times) != count:
        raise RuntimeError(f"{len(times)} requests arrived where {count} were expected")
    into.rates.append((count - 1) / (times[-1] - times[0]))
    into.cpu.append(cpu / count * 1e6)


def _signature(number: int) -> dict[str, Any]:
    """What an event of a signature shows."""
    return {
        "signatureRequest": {
            "id": f"sig-{number}",
            "keyId": "key-01234-56789-0123456789abcdef",
            "requester": {"userId": "us-01234-56789-0123456789abcdef"},
            "requestBody": {"kind": "Message", "message": f"0x{number:064x}"},
            "status": "Signed",
            "signature": {"r": "0x" + "ab" * 32, "s": "0x" + "cd" * 32, "encoded": "0x" + "abcd" * 32},
            "dateRequested": "2026-01-01T00:00:00.000Z",
            "dateSigned": "2026-01-01T00:00:00.000Z",
        }
    }


def _left() -> Transaction[int]:
    return int((yield _LEFT, ())[0][0])


def _latencies(begun: dict[str, float], arrived: dict[str, Any]) -> list[float]:
    """Milliseconds from before the writing of each event to its arrival, ascending."""
    found = {
        json.loads(body)["data"]["signatureRequest"]["id"]: at
        for at, body in zip(arrived["times"], arrived["bodies"], strict=True)
    }
    return sorted((found[name] - at) * 1000 for name, at in begun.items())


def _report(
    engine: str, finished: int, measured: dict[str, Posted], rate: float, latencies: list[float], console: Console
) -> dict[str, Any]:
    title = f"webhooks, {engine}; full: {finished:,} events and dead jobs"
    table = Table(title=title, title_justify="left")
    for name in ("sender", "database", "a second", "cpu µs", "against", "ratio", "limit", ""):
        table.add_column(name, justify="left" if name in ("sender", "database", "against", "") else "right")
    bare, empty, full = measured["bare"], measured["empty"], measured["full"]
    ratios = {
        "rate": empty.rate / bare.rate,
        "cpu": bare.microseconds / empty.microseconds,
        "full": full.microseconds / empty.microseconds,
    }
    rows = (
        ("bare client", "", bare, "", ["", "", ""]),
        ("server", "empty", empty, "rate of the bare client", verdict(ratios["rate"], RATE_LIMIT, least=True)),
        # What the rates would be with nothing else on the core.
        ("", "", None, "CPU time, the other way round", verdict(ratios["cpu"], RATE_LIMIT, least=True)),
        ("server", "full", full, "CPU time of empty", verdict(ratios["full"], FULL_LIMIT)),
    )
    for sender, database, each, against, holds in rows:
        numbers = ["", ""] if each is None else [f"{each.rate:,.0f}", f"{each.microseconds:.0f}"]
        table.add_row(sender, database, *numbers, against, *holds)
    p50, p95 = (latencies[int(len(latencies) * share)] for share in (0.5, 0.95))
    console.print(table)
    said = "[green]holds" if p95 <= LATENCY_LIMIT_MS else "[bold red]missed"
    console.print(
        f"{len(latencies)} single events, {rate:.0f} a second: p50 {p50:.0f} ms, p95 {p95:.0f} ms "
        f"(≤ {LATENCY_LIMIT_MS}) {said}"
    )
    return {
        "engine": engine,
        "finished": finished,
        "ratios": ratios,
        "singleEvents": {"rate": rate, "p50Milliseconds": p50, "p95Milliseconds": p95},
        "rounds": {name: {"rates": each.rates, "cpuMicroseconds": each.cpu} for name, each in measured.items()},
    }
