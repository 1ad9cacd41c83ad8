"""Prometheus metrics of one process, or of all processes of one server."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

from countersign.storage import Statistics

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """Counters and timings by operation; children are looked up once per operation and status."""

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "countersign_requests_total", "Requests answered", ["operation", "status"], registry=self.registry
        )
        self._seconds = Histogram(
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
        # All processes look at the same table: the last one to look is right.
        self._job_age = Gauge(
            "countersign_jobs_oldest_due_seconds",
            "For how long the oldest due job waits",
            ["kind"],
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self._dead_jobs = Gauge(
            "countersign_jobs_dead",
            "Jobs whose plan is used up and that nobody has dropped",
            ["kind"],
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self._cache: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    def observe(self, operation: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        pair = self._cache.get((operation, status))
        if pair is None:
            pair = (self._requests.labels(operation, str(status)), self._seconds.labels(operation))
            self._cache[operation, status] = pair
        pair[0].inc()
        pair[1].observe(seconds)

    def count_job(self, kind: str, outcome: str) -> None:
        """Count one run of a job."""
        self._jobs.labels(kind, outcome).inc()

    def set_jobs(self, kind: str, oldest_due: float, dead: int) -> None:
        """What waits (seconds) and what is dead, as the table says."""
        self._job_age.labels(kind).set(oldest_due)
        self._dead_jobs.labels(kind).set(dead)

    def count_sql(self) -> None:
        """Bring the counters of the database up to what it has done so far."""
        for name, counter in self._sql.items():
            done = getattr(self._statistics, name)
            counter.inc(done - self._counted[name])
            self._counted[name] = done

    def render(self) -> bytes:
        """The text exposition; over all processes where the multi-process directory is set."""
        self.count_sql()
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            return generate_latest(registry)
        return generate_latest(self.registry)
