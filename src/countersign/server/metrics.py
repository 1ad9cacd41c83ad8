"""Prometheus metrics of one process, or of all processes of one server."""

from __future__ import annotations

import asyncio
import os
from bisect import bisect_left
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

from countersign import __version__
from countersign.storage import Statistics

_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class _Timings(Histogram):
    """A histogram that takes many observations at once."""

    def add(self, counts: Sequence[int], seconds: float) -> None:
        """So many observations in each bucket, ``seconds`` in all."""
        self._sum.inc(seconds)
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)


class _Answered:
    """Answers of one operation with one status that the metrics do not show yet."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin to count anew."""
        #: By bucket, the last one without a bound.
        self.counts = [0] * (len(_BUCKETS) + 1)
        self.seconds = 0.0


class Metrics:
    """Counters and timings by operation.

    What happens with every request is counted here, and shown by the metrics when they are read: a metric takes a lock
    for each number that it changes. Of several processes any may be asked, so each shows what it did right away.
    """

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "countersign_requests_total", "Requests answered", ["operation", "status"], registry=self.registry
        )
        self._seconds = _Timings(
            "countersign_request_seconds",
            "Time from the whole request to the answer",
            ["operation"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        # Name in the statistics -> its counter, and how much of it has been counted.
        self._sql = {
            name: Counter(f"countersign_sql_{name}_total", about, registry=self.registry)
            for name, about in (
                ("statements", "SQL statements of transactions and reads, BEGIN and COMMIT aside"),
                ("commits", "Commits of the database engine; SQLite makes one for a batch of transactions"),
                ("write_transactions", "Write transactions begun"),
            )
        }
        self._counted = dict.fromkeys(self._sql, 0)
        self._jobs = Counter(
            "countersign_jobs_total",
            "Runs of jobs by how they ended: done, later, retried, dead, or lost to another worker",
            ["kind", "outcome"],
            registry=self.registry,
        )
        # All processes look at the same tables, each at its own connections: the last one to look is right.
        self._job_age = self._gauge("jobs_oldest_due_seconds", "For how long the oldest due job waits", "kind")
        self._dead_jobs = self._gauge(
            "jobs_dead", "Jobs whose plan is used up and that nobody has dropped, of the newest thousand", "kind"
        )
        self._stores = self._gauge(
            "key_store_available", "Whether orders reach the key store: 1, or 0 while it is sealed or away", "store"
        )
        self._waiting_entries = self._gauge(
            "audit_waiting_entries", "Audit entries that no checkpoint covers yet, of the oldest hundred thousand"
        )
        self._gauge("info", "The version that runs", "version").labels(__version__).set(1)
        self._answered: dict[tuple[str, int], _Answered] = {}
        self._several = _DIRECTORY in os.environ
        self._catches_up_soon = False

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(f"countersign_{name}", about, labels, registry=self.registry, multiprocess_mode="mostrecent")

    def observe(self, operation: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        answered = self._answered.get((operation, status))
        if answered is None:
            answered = self._answered[operation, status] = _Answered()
        answered.counts[bisect_left(_BUCKETS, seconds)] += 1
        answered.seconds += seconds
        if self._several and not self._catches_up_soon:
            self._catches_up_soon = True
            asyncio.get_running_loop().call_soon(self.catch_up)

    def count_job(self, kind: str, outcome: str) -> None:
        """Count one run of a job."""
        self._jobs.labels(kind, outcome).inc()

    def set_jobs(self, kind: str, oldest_due: float, dead: int) -> None:
        """What waits (seconds) and what is dead, as the table says."""
        self._job_age.labels(kind).set(oldest_due)
        self._dead_jobs.labels(kind).set(dead)

    def set_key_store(self, store: str, *, available: bool) -> None:
        """Whether a key store takes orders now."""
        self._stores.labels(store).set(available)

    def set_waiting_entries(self, count: int) -> None:
        """How many audit entries no checkpoint covers yet."""
        self._waiting_entries.set(count)

    def catch_up(self) -> None:
        """Bring the metrics up to what was answered, and what the database has done, so far."""
        self._catches_up_soon = False
        for (operation, status), answered in self._answered.items():
            if any(answered.counts):
                self._requests.labels(operation, str(status)).inc(sum(answered.counts))
                self._seconds.labels(operation).add(answered.counts, answered.seconds)
                answered.clear()
        for name, counter in self._sql.items():
            done = getattr(self._statistics, name)
            counter.inc(done - self._counted[name])
            self._counted[name] = done

    def render(self) -> bytes:
        """The text exposition; over all processes where the multi-process directory is set."""
        self.catch_up()
        if self._several:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            return generate_latest(registry)
        return generate_latest(self.registry)
