"""A pipelined connection to a signer or an authoriser that comes back by itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from typing import Final, cast

import msgspec

from countersign.keystores import protocol
from countersign.keystores.outcome import SignerError, SignerRefused, SignerSealed, SignerUnavailable
from countersign.keystores.protocol import Order, Reply

log = logging.getLogger("countersign.keystores")

_ORDER_TIMEOUT_S: Final = 10.0
_WATCH_S: Final = 1.0
_FOLLOW_S: Final = 5.0
_BACKOFF_S: Final = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)

_encode = msgspec.msgpack.Encoder().encode
_decode_reply = msgspec.msgpack.Decoder(Reply).decode


class Line(ABC):
    """Keeps a connection to ``socket_path``; ``peer`` is what people call the process there.

    Whoever derives from it says what is done on a new connection, once a second to watch it, and every five.
    """

    def __init__(self, socket_path: str, peer: str) -> None:
        self._socket_path = socket_path
        self._peer = peer
        self._link: _Link | None = None
        self._trouble = "not connected yet"
        self._begun = asyncio.Event()
        self._patient = True
        self._task: asyncio.Task[None] | None = None

    @property
    def _connected(self) -> bool:
        # A link that was cut is dropped a moment later only: until then a consent would be spent for nothing.
        return self._link is not None and not self._link.closed.is_set()

    async def start(self, wait: float = 5.0, *, patient: bool = True) -> None:
        """Connect, at most ``wait`` seconds long, and keep connecting afterwards; never fails.

        Who is not ``patient`` does not wait for somebody to begin to listen there.
        """
        self._patient = patient
        self._task = asyncio.create_task(self._run())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._begun.wait(), wait)

    async def close(self) -> None:
        """Give up the connection; orders in flight end as unavailable."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    @abstractmethod
    async def _greet(self) -> None:
        """What comes first on a new connection."""

    @abstractmethod
    async def _look(self) -> None:
        """Learn of what others changed there."""

    async def _follow(self) -> None:  # noqa: B027 - nothing to do for most
        """Hand over what changed here."""

    def _forget(self) -> None:  # noqa: B027 - nothing to do for most
        """The connection is gone."""

    async def _order(self, order: Order) -> bytes:
        """The data of the reply; raises SignerUnavailable, SignerSealed or SignerRefused."""
        link = self._link
        if link is None:
            raise SignerUnavailable(self._trouble)
        reply = await link.send(order)
        if reply.code == "ok":
            return reply.data
        reason = reply.data.decode(errors="replace")
        if reply.code == "Sealed":
            raise SignerSealed(reason)
        if reply.code in ("Busy", "Unavailable"):
            raise SignerUnavailable(reason)
        raise SignerRefused(reply.code, reason)

    async def _run(self) -> None:
        """Connect, greet, watch; and again, with a growing pause while it fails."""
        failures = 0
        while True:
            try:
                await self._connect()
                failures = 0
                self._begun.set()
                await self._watch()
                self._trouble = f"the {self._peer} closed the connection"
                log.warning("%s", self._trouble)
            except OSError as trouble:
                self._trouble = f"{self._peer} not reachable: {trouble.strerror or trouble}"
                if not self._patient:
                    self._begun.set()
            except SignerError as trouble:
                self._trouble = f"{self._peer} not reachable: {trouble}"
            except Exception as trouble:  # a greeting may need the database, which fails in its own ways
                log.warning("%s can't be greeted: %s", self._peer, trouble)
                self._trouble = f"what the {self._peer} has to be told can't be read"
            finally:
                self._drop()
            await asyncio.sleep(_BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])
            failures += 1

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        _, link = await loop.create_unix_connection(lambda: _Link(self._peer), self._socket_path)
        self._link = link
        await self._greet()

    async def _watch(self) -> None:
        """Until the connection ends: cut it off when an order hangs, look, and follow."""
        link, loop = self._link, asyncio.get_running_loop()
        followed = loop.time()
        while link is not None and not link.closed.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(link.closed.wait(), _WATCH_S)
            if link.overdue():
                link.abort()
            else:
                with contextlib.suppress(SignerUnavailable):
                    await self._look()
            if loop.time() - followed >= _FOLLOW_S:
                followed = loop.time()
                await self._follow()

    def _drop(self) -> None:
        if self._link is not None:
            self._link.abort()
        self._link = None
        self._forget()


class _Link(asyncio.BufferedProtocol):
    """One connection: numbers the orders, matches the replies."""

    def __init__(self, peer: str) -> None:
        self._peer = peer
        self.closed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._buffer = protocol.FrameBuffer()
        self._pending: dict[int, tuple[asyncio.Future[Reply], float]] = {}
        self._last_id = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports share no base class with asyncio's
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer.writable()

    def buffer_updated(self, nbytes: int) -> None:
        try:
            frames = self._buffer.received(nbytes)
            for view in frames:
                reply = _decode_reply(view)
                waiting = self._pending.pop(reply.id, None)
                if waiting is not None and not waiting[0].done():
                    waiting[0].set_result(reply)
            self._buffer.compact(frames)
        except (protocol.FrameOverflow, *protocol.MALFORMED):
            log.exception("the %s sent something that is no reply", self._peer)
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.closed.set()
        for future, _ in self._pending.values():
            if not future.done():
                future.set_exception(SignerUnavailable(f"the {self._peer} went away with the order"))
        self._pending.clear()

    async def send(self, order: Order) -> Reply:
        if self._transport is None:
            raise SignerUnavailable(f"the {self._peer} went away")
        self._last_id += 1
        order.id = self._last_id
        body = _encode(order)
        if len(body) > protocol.MAX_FRAME:
            raise SignerRefused("Unsupported", f"order is longer than {protocol.MAX_FRAME} bytes")
        future: asyncio.Future[Reply] = self._loop.create_future()
        self._pending[order.id] = (future, self._loop.time() + _ORDER_TIMEOUT_S)
        self._transport.write(protocol.frame(body))
        return await future

    def overdue(self) -> bool:
        """Whether the oldest order has waited too long (orders are numbered, so the first is the oldest)."""
        oldest = next(iter(self._pending.values()), None)
        return oldest is not None and oldest[1] < self._loop.time()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
