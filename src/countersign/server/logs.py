"""Structured logs: one line an event, the request id on each, never a secret.

Nothing that a caller sent goes into a log line but method, path template, sizes and ids; bodies and
headers are never logged.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec
import structlog

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_ENCODER = msgspec.json.Encoder(enc_hook=str)


def _render(_logger: Any, _name: str, event: dict[str, Any]) -> bytes:
    return _ENCODER.encode(event)


class RequestLine(msgspec.Struct, gc=False):
    """The line that every request leaves behind, filled in on its way; ``milliseconds`` from the whole head to the
    answer."""

    request_id: str
    operation: str = "none"
    status: int = 0
    milliseconds: float = 0.0
    organisation: str | None = None
    user: str | None = None
    reason: str | None = None
    event: str = "request"
    level: str = "info"
    timestamp: str = ""


class _Requests:
    """Where request lines go: straight out as JSON, which costs a third of the way through structlog."""

    lines: Lines | None = None
    wanted = True


def request(line: RequestLine) -> None:
    """Log an answered request."""
    if not _Requests.wanted:
        return
    if _Requests.lines is None:
        members = msgspec.structs.asdict(line)
        for name in ("event", "level", "timestamp"):
            del members[name]
        structlog.get_logger("countersign.request").info(line.event, **members)
        return
    second, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    line.timestamp = f"{_second(second)}.{nanoseconds // 1000:06d}Z"
    _Requests.lines.soon(_ENCODER.encode(line))


@lru_cache(maxsize=4)
def _second(since_epoch: int) -> str:
    return datetime.fromtimestamp(since_epoch, UTC).isoformat()[:19]


def configure(level: str, form: str) -> None:
    """Set up structlog and route the standard library's records through it."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    if form == "json":
        shared.append(_render)
    else:
        shared.append(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()))
    lines = Lines(sys.stderr.fileno())
    structlog.configure(
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )
    _Requests.wanted = _LEVELS[level] <= logging.INFO
    _Requests.lines = lines if form == "json" else None
    root = logging.getLogger()
    root.handlers[:] = [_Bridge()]
    root.setLevel(logging.WARNING)


class Lines:
    """Writes log lines to a file descriptor, each with one call, or those of one round of the event loop together.

    A place that takes no more (a full disk, a reader that went away) must not stop the server: the line is lost and
    counted, and the first line that goes through again says how many were.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._torn = False
        self._lost = 0
        self._held: list[bytes] = []

    def soon(self, line: bytes) -> None:
        """Write the line, with others, after what the event loop has at hand."""
        if not self._held:
            try:
                asyncio.get_running_loop().call_soon(self.flush)
            except RuntimeError:
                self.msg(line)
                return
        self._held.append(line)

    def flush(self) -> None:
        """Write the lines that wait."""
        held, self._held = self._held, []
        if held:
            self._put(b"\n".join(held), len(held))

    def msg(self, line: str | bytes) -> None:
        """Write one line, given without its end, and what waits before it."""
        self.flush()
        self._put(line.encode() if isinstance(line, str) else line, 1)

    def _put(self, text: bytes, count: int) -> None:
        if self._lost and self._write(_render(None, "", {"event": "log lines were lost", "lines": self._lost})):
            self._lost = 0
        if not self._write(text):
            self._lost += count

    log = debug = info = warning = error = critical = exception = msg

    def _write(self, line: bytes) -> bool:
        whole = b"\n" * self._torn + line + b"\n"
        try:
            written = os.write(self._descriptor, whole)
        except OSError:
            return False
        self._torn = written < len(whole)
        return not self._torn


class _Bridge(logging.Handler):
    """Records of libraries, as events of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger()
        event: dict[str, Any] = {"logger": record.name}
        if record.exc_info:
            event["exc_info"] = record.exc_info
        log.log(record.levelno, record.getMessage(), **event)
