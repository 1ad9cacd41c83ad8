"""A request while it arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from countersign.api import ApiError
from countersign.server.http import too_large

#: Bytes of a body that are taken from the connection before anybody has asked for it.
_READ_AHEAD = 64 << 10
_ABOUT_BODIES = frozenset({b"content-length", b"transfer-encoding", b"expect"})


class Exchange:
    """One request as it arrives. ``go_on`` tells a client that asks whether to send its body.

    ``on_read`` is called when somebody wants the body.
    """

    __slots__ = (
        "_body",
        "_chunked",
        "_go_on",
        "_length",
        "_missing",
        "_on_read",
        "_reading",
        "_size",
        "_waiter",
        "asks",
        "complete",
        "keep_alive",
        "lines",
        "method",
        "target",
    )

    def __init__(
        self,
        method: str,
        target: bytes,
        lines: list[tuple[bytes, bytes]],
        *,
        keep_alive: bool,
        go_on: Callable[[], None],
        on_read: Callable[[], None],
    ) -> None:
        self.method = method
        self.target = target
        self.lines = lines
        self.keep_alive = keep_alive
        #: Whether the whole body has arrived.
        self.complete = False
        #: In one piece: a client may send two bytes at a time, each of which would take forty as a piece of its own.
        self._body: bytes | bytearray = b""
        self._size = 0
        self._missing: str | None = None
        self._go_on = go_on
        self._on_read = on_read
        self._reading = False
        self._waiter: asyncio.Future[None] | None = None
        self._length: int | None = None
        self._chunked = False
        #: Whether the client waits to be told to send the body.
        self.asks = False
        for name, value in lines:
            if name not in _ABOUT_BODIES:
                continue
            if name == b"content-length":
                # The parser has refused anything but one number.
                self._length = int(value)
            elif name == b"transfer-encoding":
                self._chunked = True
            elif value.lower() == b"100-continue":
                self.asks = True

    @property
    def ahead(self) -> bool:
        """Whether enough of the body is here until somebody reads it; who does says how much it may be."""
        return not self._reading and self._size >= _READ_AHEAD

    def feed(self, chunk: bytes) -> None:
        """Take in a piece of the body."""
        if not self._size:
            self._body = chunk
        elif isinstance(self._body, bytearray):
            self._body += chunk
        else:
            self._body = bytearray(self._body) + chunk
        self._size += len(chunk)
        self._wake()

    def end(self) -> None:
        """The body has arrived."""
        self.complete = True
        self._wake()

    def give_up(self, reason: str) -> None:
        """What is missing of the body will not come; ``reason`` is for the log."""
        self._missing = reason
        self.keep_alive = False
        self._wake()

    async def read(self, limit: int) -> bytes:
        """The whole body; 413 when it is longer than ``limit`` bytes."""
        length = self._length
        if length is not None and self._chunked:
            raise ApiError("BAD_HEADER", "Bad Request: Transfer-Encoding and Content-Length together")
        if length is not None and length > limit:
            self.keep_alive = False
            raise too_large(limit)
        self._reading = True
        if not self.complete:
            self._on_read()
        while not self.complete and self._size <= limit:
            if self._missing is not None:
                raise ApiError("TIMEOUT", reason=self._missing)
            if self.asks:
                self.asks = False
                self._go_on()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._size > limit:
            self.keep_alive = False
            raise too_large(limit)
        return bytes(self._body)

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
