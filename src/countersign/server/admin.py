"""The admin listener: metrics and health, on a port of its own that stays off the internet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST

from countersign.server.metrics import Metrics


class AdminApplication:
    """ASGI application with ``/metrics`` and ``/healthz``."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer one request."""
        status, kind, body = 404, "text/plain", b"not found\n"
        if scope["method"] == "GET" and scope["path"] == "/metrics":
            status, kind, body = 200, CONTENT_TYPE_LATEST, self._metrics.render()
        elif scope["method"] == "GET" and scope["path"] == "/healthz":
            status, body = 200, b"ok\n"
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
