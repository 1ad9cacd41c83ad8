"""The load generator as the benchmark sees it, and what a run of it cost the server."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

from bench.processes import ROOT, Identity, Server, cpu_seconds


class Worker:
    """A process that carries out commands, one at a time."""

    def __init__(self, module: str, core: set[int]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, json.dumps(sorted(core))],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def command(self, **members: Any) -> dict[str, Any]:
        """Have it carried out."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(members) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a process of the benchmark ended; its trace is above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def cpu(self) -> float:
        """CPU seconds that it used."""
        return cpu_seconds(self._process.pid)

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


class Load(Worker):
    """The load generator."""

    def __init__(self, core: set[int]) -> None:
        super().__init__("bench.client", core)

    def create_keys(self, port: int, identity: Identity, count: int) -> list[str]:
        """Make keys, and give the ids of (at most 50 of) them."""
        keys: list[str] = self.command(do="keys", port=port, count=count, **identity)["keys"]
        return keys


@dataclass
class Measured:
    """A scenario with a number of clients, over all rounds. A ceremony of three requests counts as one."""

    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0
    rates: list[float] = field(default_factory=list)
    server_cpu: float = 0.0
    signer_cpu: float = 0.0
    client_cpu: float = 0.0
    sql: dict[str, float] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return len(self.latencies)

    @property
    def rate(self) -> float:
        """A second, over all rounds."""
        return self.count / self.seconds

    def percentile(self, share: float) -> float:
        """Milliseconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def each(self, total: float) -> float:
        return total / self.count

    def as_dict(self) -> dict[str, Any]:
        """For the JSON file."""
        return {
            "count": self.count,
            "rate": self.rate,
            "rateOfRounds": self.rates,
            "p50Milliseconds": self.percentile(0.5),
            "p99Milliseconds": self.percentile(0.99),
            "serverCpuMicroseconds": self.each(self.server_cpu) * 1e6,
            "signerCpuMicroseconds": self.each(self.signer_cpu) * 1e6,
            "clientCpuMicroseconds": self.each(self.client_cpu) * 1e6,
            **{f"sql_{name}": self.each(value) for name, value in self.sql.items()},
        }


def measure(
    into: Measured, load: Load, target: Server | int, pids: tuple[int, ...], keys: list[str], **command: Any
) -> None:
    """Run a scenario once and add it to ``into``. ``target``: a server, or the port of the bare application."""
    identity: Identity = {"token": "", "credential": "", "seed": "00" * 32}
    before_sql: dict[str, float] = {}
    if isinstance(target, Server):
        identity, before_sql = target.identity, target.sql()
    port = target.port if isinstance(target, Server) else target
    before = [cpu_seconds(pid) for pid in pids]
    client_before = load.cpu()
    answer = load.command(do="run", port=port, keys=keys, **identity, **command)
    used = [cpu_seconds(pid) - earlier for pid, earlier in zip(pids, before, strict=True)]
    into.client_cpu += load.cpu() - client_before
    into.server_cpu += used[0]
    into.signer_cpu += sum(used[1:])
    if isinstance(target, Server):
        for name, value in target.sql().items():
            into.sql[name] = into.sql.get(name, 0.0) + value - before_sql[name]
    into.latencies += answer["latencies"]
    into.seconds += answer["seconds"]
    into.rates.append(len(answer["latencies"]) / answer["seconds"])
