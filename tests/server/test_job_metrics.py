"""What the admin port tells of jobs."""

from __future__ import annotations

import asyncio
from pathlib import Path

from countersign.jobs import queue
from countersign.server import jobs
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

        runner.run(jobs.measure(services, metrics))
        metrics.count_job("webhooks.deliver", "retried")
        shown = {line.rsplit(" ", 1)[0]: line.rsplit(" ", 1)[-1] for line in metrics.render().decode().splitlines()}
        assert float(shown['countersign_jobs_oldest_due_seconds{kind="webhooks.deliver"}']) >= 5
        assert float(shown['countersign_jobs_oldest_due_seconds{kind="jobs.forget_dead"}']) == 0
        assert float(shown['countersign_jobs_dead{kind="webhooks.deliver"}']) == 0
        assert float(shown['countersign_jobs_total{kind="webhooks.deliver",outcome="retried"}']) == 1
