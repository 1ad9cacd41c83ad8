"""What the admin port tells of work that waits, of key stores, and of the audit log."""

from __future__ import annotations

import asyncio
from pathlib import Path

from countersign import __version__
from countersign.jobs import queue
from countersign.keys.service import Keys
from countersign.server import watching
from countersign.server.metrics import Metrics
from countersign.storage import Transaction
from tests.support.inprocess import InProcess

FAR = 1 << 45


def test_metrics_tell_how_long_the_oldest_due_job_waits_and_how_runs_ended(
    runner: asyncio.Runner, tmp_path: Path, database_url: str
) -> None:
    with InProcess(runner, tmp_path / "data", database_url, background=False) as server:
        services, metrics = server.runtime.services, server.runtime.metrics
        now = server.world.now()

        def put() -> Transaction[None]:
            yield from queue.enqueue("webhooks.deliver", "or-1", {}, now - 5000, None, server.world)
            yield from queue.enqueue("jobs.forget_dead", "", {}, FAR, None, server.world)

        runner.run(services.database.write(put))

        runner.run(watching.measure(services, metrics))
        metrics.count_job("webhooks.deliver", "retried")
        shown = values(metrics)
        assert shown['countersign_jobs_oldest_due_seconds{kind="webhooks.deliver"}'] >= 5
        assert shown['countersign_jobs_oldest_due_seconds{kind="jobs.forget_dead"}'] == 0
        assert shown['countersign_jobs_dead{kind="webhooks.deliver"}'] == 0
        assert shown['countersign_jobs_total{kind="webhooks.deliver",outcome="retried"}'] == 1
        assert shown[f'countersign_info{{version="{__version__}"}}'] == 1


def test_metrics_tell_which_store_takes_orders_and_how_many_entries_no_checkpoint_covers(
    runner: asyncio.Runner, tmp_path: Path, database_url: str
) -> None:
    with InProcess(runner, tmp_path / "data", database_url, background=False) as server:
        services, metrics = server.runtime.services, server.runtime.metrics

        def look() -> tuple[float, float]:
            runner.run(watching.measure(services, metrics))
            shown = values(metrics)
            (store,) = [value for name, value in shown.items() if name.startswith("countersign_key_store_available{")]
            return store, shown["countersign_audit_waiting_entries"]

        available, waiting = look()
        assert (available, waiting > 0) == (1, True)
        runner.run(server.runtime.sequencer.drain())
        assert look() == (1, 0)
        runner.run(services.get(Keys).signers[services.get(Keys).primary_store].close())
        assert look() == (0, 0)


def values(metrics: Metrics) -> dict[str, float]:
    """What Prometheus would read."""
    lines = [line for line in metrics.render().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
