"""The interleaved run: every scenario in every round, so that a machine's moods meet all of them alike."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.crypto import disturbance, microseconds
from bench.load import Load, Measured, Worker, measure
from bench.processes import Hello, Server, cores, pss_megabytes
from tests.support.postgres import PostgresMissing, PostgresServer

SCENARIOS = ("bare", "read", "rename", "sign")
CLIENTS = (1, 16)
KEYS = 50


@dataclass
class Results:
    """What one run measured. Keys of ``measured``: engine, scenario, clients; hello has the engine ``""``."""

    measured: dict[tuple[str, str, int], Measured] = field(default_factory=lambda: defaultdict(Measured))
    crypto: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    transactions: Measured = field(default_factory=Measured)
    raw_rates: list[float] = field(default_factory=list)
    cold_start: dict[str, float] = field(default_factory=dict)
    memory: dict[str, tuple[float, float]] = field(default_factory=dict)
    memory_after: dict[str, tuple[float, float]] = field(default_factory=dict)
    disturbances: list[float] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def raw_rate(self) -> float:
        """Transactions a second on PostgreSQL, nothing around them."""
        return statistics.mean(self.raw_rates)

    @property
    def disturbance(self) -> float:
        """p99 by p50 of work that waits for nothing: 1 on a quiet machine; latencies are at least as uneven."""
        return statistics.median(self.disturbances)

    def crypto_microseconds(self, scenario: str) -> float:
        return statistics.median(self.crypto[scenario])


@contextmanager
def postgresql(core: set[int], missing: list[str]) -> Iterator[PostgresServer | None]:
    """PostgreSQL on the client's core: in production it is another machine."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, core)
    try:
        server = PostgresServer.start()
    except PostgresMissing as error:
        missing.append(str(error))
        yield None
        return
    finally:
        os.sched_setaffinity(0, before)
    try:
        yield server
    finally:
        server.stop()


def run(rounds: int, seconds: float, tell: Callable[[str], None]) -> Results:
    """Measure everything; ``seconds`` for each scenario and number of clients in each round."""
    results = Results()
    server_core, client_core = cores()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="countersign-bench-")))
        postgres = stack.enter_context(postgresql(client_core, results.missing))
        load = Load(client_core)
        stack.callback(load.close)
        servers = [Server("sqlite", directory / "sqlite", f"sqlite://{directory}/sqlite/bench.db", server_core)]
        raw: tuple[Worker, str, str] | None = None
        if postgres is not None:
            servers.append(Server("postgresql", directory / "postgresql", postgres.new_database(), server_core))
            raw = _raw(directory, postgres, server_core, stack)
        for server in servers:
            tell(f"starting {server.name}")
            _start(server, results, stack)
        hello = stack.enter_context(Hello(directory, server_core))
        keys = {server.name: load.create_keys(server.port, server.identity, KEYS) for server in servers}
        for number in range(rounds):
            tell(f"round {number + 1} of {rounds}")
            _round(results, load, hello, servers, keys, seconds)
            if raw is not None:
                worker, url, org = raw
                answer = worker.command(url=url, org=org, clients=16, seconds=seconds)
                results.raw_rates.append(answer["count"] / answer["seconds"])
            _crypto(results, server_core, seconds)
        for server in servers:
            results.memory_after[server.name] = _memory(server)
    return results


def _raw(directory: Path, postgres: PostgresServer, core: set[int], stack: ExitStack) -> tuple[Worker, str, str]:
    """A database that no server serves, and who runs transactions in it."""
    place = Server("raw", directory / "raw", postgres.new_database(), core)
    place.prepare()
    worker = Worker("bench.transactions", core)
    stack.callback(worker.close)
    return worker, place.database, place.org_id


def _start(server: Server, results: Results, stack: ExitStack) -> None:
    server.prepare()
    starts = []
    for _ in range(3):
        starts.append(server.start())
        server.stop()
    stack.enter_context(server)
    results.cold_start[server.name] = statistics.median([*starts, server.cold_start])
    results.memory[server.name] = _memory(server)


def _memory(server: Server) -> tuple[float, float]:
    main, signer = server.pids
    return pss_megabytes(main), pss_megabytes(signer)


def _round(
    results: Results, load: Load, hello: Hello, servers: list[Server], keys: dict[str, list[str]], seconds: float
) -> None:
    assert hello.process is not None
    pid = hello.process.pid
    for clients in CLIENTS:
        for scenario in SCENARIOS:
            for server in servers:
                into = results.measured["", "hello", clients]
                measure(into, load, hello.port, (pid,), [], scenario="hello", clients=clients, seconds=seconds / 4)
                into = results.measured[server.name, scenario, clients]
                names = keys[server.name]
                measure(into, load, server, server.pids, names, scenario=scenario, clients=clients, seconds=seconds)


def _crypto(results: Results, core: set[int], seconds: float) -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, core)
    try:
        for scenario in ("rename", "sign"):
            results.crypto[scenario].append(microseconds(scenario, seconds / 10))
        results.disturbances.append(disturbance(500))
    finally:
        os.sched_setaffinity(0, before)
