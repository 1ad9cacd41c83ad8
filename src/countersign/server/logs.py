"""Structured logs: one line an event, the request id on each, never a secret.

Nothing that a caller sent goes into a log line but method, path template, sizes and ids; bodies and
headers are never logged.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import msgspec
import structlog

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_ENCODER = msgspec.json.Encoder(enc_hook=str)


def _render(_logger: Any, _name: str, event: dict[str, Any]) -> bytes:
    return _ENCODER.encode(event)


def configure(level: str, form: str) -> None:
    """Set up structlog and route the standard library's records through it."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    factory: Any
    if form == "json":
        shared.append(_render)
        factory = structlog.BytesLoggerFactory(sys.stderr.buffer)
    else:
        shared.append(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()))
        factory = structlog.PrintLoggerFactory(sys.stderr)
    structlog.configure(
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Bridge()]
    root.setLevel(logging.WARNING)


class _Bridge(logging.Handler):
    """Records of libraries, as events of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger()
        event: dict[str, Any] = {"logger": record.name}
        if record.exc_info:
            event["exc_info"] = record.exc_info
        log.log(record.levelno, record.getMessage(), **event)
