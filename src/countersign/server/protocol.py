"""HTTP/1.1 between the event loop and the corridor: uvicorn listens, httptools parses, this walks requests through.

A request goes straight to the corridor when the bytes that brought it have been parsed, and its answer leaves in one
write, beside those of other connections. (To begin it before there is a task for it was tried, and measured to be no
faster.) What uvicorn's own protocol does not have: limits on header size, slow clients, idle connections and clients
that do not read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, cast

import httptools
import structlog

from countersign.api import ApiError
from countersign.server.answers import Outbox, serialise
from countersign.server.exchange import Exchange
from countersign.server.http import Answer, Face

log = structlog.get_logger("countersign.http")

_MALFORMED = "Bad Request: not a well-formed HTTP/1.1 request"
_MALFORMED_HINT = "Send HTTP/1.1 as RFC 9112 describes it: one length, no folded headers, no control characters."
#: Requests that may wait on one connection behind the one that is answered.
_PIPELINED = 8
#: Header lines of one request: each takes many times its bytes in memory, and strangers send them.
_MOST_LINES = 128


@dataclass(frozen=True, slots=True)
class Limits:
    """``header_bytes``: request line and headers together. ``receive_seconds``: for a whole request to arrive, and for
    an answer to be read. ``idle_seconds``: between requests. ``connections``: open at once.
    """

    header_bytes: int
    receive_seconds: float
    idle_seconds: float
    connections: int


class _TooLarge(ValueError):
    """The headers are too large or too many. What a callback raises, the parser takes for an error of its own."""


class RequestProtocol(asyncio.Protocol):
    """One connection. ``server_state`` is uvicorn's: its sets of connections and tasks are waited for at a stop."""

    def __init__(self, face: Face, limits: Limits, outbox: Outbox, *, server_state: Any, **_of_uvicorn: Any) -> None:
        self._face = face
        self._limits = limits
        self._outbox = outbox
        self._connections: set[Any] = server_state.connections
        self._tasks: set[asyncio.Task[None]] = server_state.tasks
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._peer = ""
        self._waiting: deque[Exchange] = deque()
        #: The request under way, until its answer is written; then the answer that waits to be.
        self._current: Exchange | None = None
        self._task: asyncio.Task[None]
        self._answer = b""
        self._last = False
        self._arriving: Exchange | None = None
        self._stopping = False
        self._writable = True
        self._paused = False
        #: Since when a request has been arriving, an answer has not been read, or nothing has happened.
        self._receiving_since: float | None = None
        self._unread_since: float | None = None
        self._idle_since = 0.0
        #: Bytes that arrived while the headers were not complete, ``None`` once they are; and what the parser has made
        #: out of them, the measure when a whole request arrives at once.
        self._header_bytes: int | None = 0
        self._parsed_bytes = 0
        self._too_large = False
        self._url = b""
        self._lines: list[tuple[bytes, bytes]] = []

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._peer = peer[0] if isinstance(peer, tuple) else ""
        self._connections.add(self)
        self._receiving_since = self._loop.time()
        if len(self._connections) > self._limits.connections:
            self._refuse(ApiError("UNAVAILABLE", "Too many connections."))

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, then walk the requests in it."""
        if self._transport.is_closing():
            return
        if self._header_bytes is not None:
            self._header_bytes += len(data)
        if self._receiving_since is None:
            self._receiving_since = self._loop.time()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # No other protocol is spoken here: the request is answered as one of HTTP. What followed it in the same
            # bytes may be of the other protocol, and ends the connection.
            self._stopping = self._stopping or upgrade.args[0] < len(data)
        except httptools.HttpParserError:
            self._malformed()
            return
        if self._header_bytes is not None and self._header_bytes > self._limits.header_bytes:
            self._refuse(ApiError("HEADERS_TOO_LARGE"))
            return
        self._walk_on()

    def eof_received(self) -> bool:
        """The client sends no more; an answer under way still goes out."""
        return self._current is not None

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; what was begun for it goes on."""
        self._connections.discard(self)
        if self._arriving is not None:
            self._arriving.give_up("the client went away")
        self._waiting.clear()

    def pause_writing(self) -> None:
        """The client reads slower than it is answered: answer nothing more until it has caught up."""
        self._writable = False
        self._unread_since = self._loop.time()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._writable = True
        self._unread_since = None
        self._walk_on()

    # What uvicorn calls.

    def shutdown(self) -> None:
        """Close, after the answer that is under way."""
        self._stopping = True
        if self._current is None:
            self._transport.close()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A request begins."""
        self._url = b""
        self._lines = []
        self._parsed_bytes = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._parsed_bytes += len(url)
        if self._parsed_bytes > self._limits.header_bytes:
            self._too_large = True
            raise _TooLarge
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header line."""
        self._parsed_bytes += len(name) + len(value) + 4
        if self._parsed_bytes > self._limits.header_bytes or len(self._lines) == _MOST_LINES:
            self._too_large = True
            raise _TooLarge
        self._lines.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Everything but the body has arrived."""
        version = self._parser.get_http_version()
        if version not in ("1.0", "1.1"):
            # The parser also reads HTTP/0.9, whose requests have no headers; it takes this for its own error.
            raise ValueError("not HTTP/1")
        self._header_bytes = None
        keep_alive = version == "1.1" and self._parser.should_keep_alive()
        method = self._parser.get_method().decode("ascii")
        # What follows a body in chunks (trailers) is counted, but is no header: RFC 9110 section 6.5.1.
        lines, self._lines = self._lines, []
        self._arriving = Exchange(
            method, self._url, lines, keep_alive=keep_alive, go_on=self._go_on, on_read=self._hold_back
        )
        self._waiting.append(self._arriving)

    def _go_on(self) -> None:
        self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self._arriving is not None:
            self._arriving.feed(body)

    def on_message_complete(self) -> None:
        """The request has arrived."""
        self._receiving_since = None
        self._header_bytes = 0
        if self._arriving is not None:
            self._arriving.end()
            self._arriving = None

    # The way of a request.

    def _walk_on(self) -> None:
        """Answer what waits, in order, one at a time."""
        while self._waiting and self._current is None and self._writable and not self._transport.is_closing():
            exchange = self._current = self._waiting.popleft()
            walk = self._face.answer(exchange.method, exchange.target, exchange.lines, self._peer, exchange.read)
            self._task = self._loop.create_task(self._finish(exchange, walk))
            self._tasks.add(self._task)
        self._hold_back()

    async def _finish(self, exchange: Exchange, walk: Coroutine[Any, Any, Answer]) -> None:
        try:
            answer = await walk
        except Exception:
            # The corridor answers its own faults; whatever gets here leaves nothing to answer with.
            log.exception("a request could not be answered")
            self._transport.abort()
            return
        finally:
            self._tasks.discard(self._task)
        self._answered(exchange, answer)

    def _answered(self, exchange: Exchange, answer: Answer) -> None:
        # What is left of a body is not read; the connection can't be used again.
        self._last = self._stopping or not exchange.keep_alive or not exchange.complete
        self._answer = serialise(answer.response, answer.headers, close=self._last, head=exchange.method == "HEAD")
        if self._tasks:
            # Others are under way, and may be answered in this round as well.
            self._outbox.add(self._send)
        else:
            self._send()

    def _send(self) -> None:
        """Write the answer, and go on with what waits."""
        self._current = None
        self._idle_since = self._loop.time()
        answer, self._answer = self._answer, b""
        if not self._transport.is_closing():
            self._transport.write(answer)
            if self._last or self._stopping:
                self._transport.close()
        self._walk_on()

    def _hold_back(self) -> None:
        """Read no further ahead than a few requests, nor more of a body than a little before it is wanted."""
        ahead = len(self._waiting) >= _PIPELINED or (self._arriving is not None and self._arriving.ahead)
        if ahead is self._paused or self._transport.is_closing():
            return
        self._paused = ahead
        if ahead:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _malformed(self) -> None:
        # Also what the parser says when one of the callbacks above raised.
        if self._too_large:
            self._refuse(ApiError("HEADERS_TOO_LARGE"))
            return
        self._refuse(ApiError("BAD_HEADER", _MALFORMED, details={"hint": _MALFORMED_HINT}))

    def _refuse(self, error: ApiError) -> None:
        """Answer what never becomes a request, and close."""
        if self._transport.is_closing():
            return
        if self._current is None:
            self._transport.write(serialise(self._face.refuse(error), (), close=True, head=False))
        self._transport.close()

    def _cut_off(self) -> None:
        if self._arriving is not None and self._arriving is self._current:
            self._receiving_since = None
            self._arriving.give_up("the body came too slowly")
        else:
            self._refuse(ApiError("TIMEOUT"))

    def look_at_time(self, now: float) -> None:
        """Close when a request has been arriving, an answer been unread or the connection been idle for too long."""
        seconds = self._limits.receive_seconds
        if self._unread_since is not None and now - self._unread_since >= seconds:
            self._transport.abort()
        elif self._receiving_since is not None:
            if now - self._receiving_since >= seconds:
                self._cut_off()
        elif self._current is None and now - self._idle_since >= self._limits.idle_seconds:
            self._transport.close()


async def look_at_time(connections: set[Any], interval: float = 1.0) -> None:
    """Look at every connection now and then; runs until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(interval)
        now = loop.time()
        for connection in list(connections):
            connection.look_at_time(now)
