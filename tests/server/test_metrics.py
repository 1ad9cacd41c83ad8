"""What the admin port tells of requests."""

from __future__ import annotations

from countersign.server.metrics import Metrics
from countersign.storage import Statistics


def lines(metrics: Metrics) -> list[str]:
    return [line for line in metrics.render().decode().splitlines() if "getKey" in line and "_created" not in line]


def test_answers_are_counted_by_operation_and_status_and_timed_by_operation() -> None:
    metrics = Metrics(Statistics())
    for status, seconds in ((200, 0.0005), (200, 0.002), (404, 99.0)):
        metrics.observe("getKey", status, seconds)
    metrics.observe("listKeys", 200, 0.1)
    shown = lines(metrics)
    assert 'countersign_requests_total{operation="getKey",status="200"} 2.0' in shown
    assert 'countersign_requests_total{operation="getKey",status="404"} 1.0' in shown
    for bound, count in (("0.0005", 1), ("0.001", 1), ("0.0025", 2), ("10.0", 2), ("+Inf", 3)):
        assert f'countersign_request_seconds_bucket{{le="{bound}",operation="getKey"}} {count}.0' in shown
    assert 'countersign_request_seconds_sum{operation="getKey"} 99.0025' in shown
    # Nothing is shown twice, and what comes later is added.
    assert lines(metrics) == shown
    metrics.observe("getKey", 200, 0.0)
    assert 'countersign_requests_total{operation="getKey",status="200"} 3.0' in lines(metrics)
