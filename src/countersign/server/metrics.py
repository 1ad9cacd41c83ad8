"""Prometheus metrics of one process, or of all processes of one server."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, multiprocess

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """Counters and timings by operation; children are looked up once per operation and status."""

    def __init__(self) -> None:
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
        self.signatures = Counter(
            "countersign_signatures_total", "Signatures by outcome", ["outcome"], registry=self.registry
        )
        self.recovered = Counter(
            "countersign_signatures_recovered_total", "Requests finished by the recovery job", registry=self.registry
        )
        self._cache: dict[tuple[str, int], tuple[object, object]] = {}

    def observe(self, operation: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        pair = self._cache.get((operation, status))
        if pair is None:
            pair = (self._requests.labels(operation, str(status)), self._seconds.labels(operation))
            self._cache[operation, status] = pair
        pair[0].inc()  # type: ignore[attr-defined]
        pair[1].observe(seconds)  # type: ignore[attr-defined]

    def render(self) -> bytes:
        """The text exposition; over all processes where the multi-process directory is set."""
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            return generate_latest(registry)
        return generate_latest(self.registry)
