"""The signer in several processes: a front that permits, workers that open and sign, a keeper that replaces them.

The front holds the socket, the grants, their nonces and the roster, so that once-only holds for all. An order that it
has permitted goes to a worker, which opens the record, uses the key and answers. The keeper is the parent of all; it
forks another worker for one that died, and ends when the front does.

The store root keys lie in one locked page that all of them share: what is unsealed, rotated or wiped there is so for
every worker at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import struct
import time
from collections.abc import Callable
from typing import Final, cast

import msgspec

from countersign.keystores.memory import die_with_parent
from countersign.keystores.outcome import Refusal
from countersign.keystores.protocol import (
    MAX_FRAME,
    FrameBuffer,
    FrameOverflow,
    Order,
    Reply,
    frame,
    read_order,
)
from countersign.keystores.service import SignerService
from countersign.keystores.serving import Later

log = logging.getLogger("countersign.signer")

_PASSED_ON: Final = ("sign", "derive", "verify")
_MAX_PENDING: Final = 1024
_STEADY_S: Final = 1.0
_HEADER: Final = struct.Struct(">IHH")
_TICKET: Final = struct.Struct(">I")

_encode = msgspec.msgpack.Encoder().encode
_decode_order = msgspec.msgpack.Decoder(Order).decode
_decode_reply = msgspec.msgpack.Decoder(Reply).decode


class Front:
    """Hands permitted orders to the workers whose sockets come over ``control``, and the others to ``service``."""

    def __init__(self, service: SignerService, control: socket.socket) -> None:
        self._service = service
        self._control = control
        self._lines: list[_Line] = []
        self._joining: set[asyncio.Task[None]] = set()
        self.epoch = 0
        """Rises whenever the roots may have changed under orders that are with a worker."""

    def start(self) -> None:
        """Take in workers from now on."""
        self._control.setblocking(False)
        asyncio.get_running_loop().add_reader(self._control, self._take_in)

    def handle(self, view: memoryview, later: Later) -> bytes | None:
        """The encoded reply, or None when it will be given to ``later``. Raises NotAnOrder for a frame that is none."""
        order = read_order(view)
        line = min(self._lines, key=_Line.load, default=None)
        header_room = MAX_FRAME - len(self._service.store_id.encode()) - _HEADER.size
        if order.op not in _PASSED_ON or line is None or len(view) > header_room:
            if order.op in ("load", "unseal", "seal"):
                self.epoch += 1
            return self._service.handle(view)
        slot = self._service.guarded(order, self._permit)
        if isinstance(slot, Refusal):
            return self._service.reply(order, slot)
        if line.load() >= _MAX_PENDING:
            return self._service.reply(order, Refusal("Busy", "too many orders wait for the workers"))
        line.send(order, view, self._service.store_id.encode(), slot, later, self.epoch)
        return None

    def _permit(self, order: Order) -> int | Refusal:
        refusal = None if order.op == "verify" else self._service.permit(order)
        return refusal or self._service.slot_of(order)

    def _take_in(self) -> None:
        try:
            _, descriptors, _, _ = socket.recv_fds(self._control, 1, 8)
        except BlockingIOError:
            return
        if not descriptors:
            asyncio.get_running_loop().remove_reader(self._control)
        for descriptor in descriptors:
            task = asyncio.create_task(self._join(socket.socket(fileno=descriptor)))
            self._joining.add(task)
            task.add_done_callback(self._joining.discard)

    async def _join(self, link: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        _, line = await loop.create_unix_connection(lambda: _Line(self, self._service), sock=link)
        self._lines.append(line)
        line.on_end = lambda: self._lines.remove(line)


class _Line(asyncio.BufferedProtocol):
    """The front's end of one worker."""

    def __init__(self, front: Front, service: SignerService) -> None:
        self._front, self._service = front, service
        self._buffer = FrameBuffer()
        self._pending: dict[int, tuple[Order, Later, int]] = {}
        self._last = 0
        self._transport: asyncio.Transport | None = None
        self.on_end: Callable[[], None] = lambda: None

    def load(self) -> int:
        """How many orders are with this worker."""
        return len(self._pending)

    def send(self, order: Order, view: memoryview, store_id: bytes, slot: int, later: Later, epoch: int) -> None:
        """Pass an order on; ``view`` is its frame, which is copied."""
        self._last = (self._last + 1) & 0xFFFFFFFF
        self._pending[self._last] = (order, later, epoch)
        body = b"".join((_HEADER.pack(self._last, slot, len(store_id)), store_id, view))
        assert self._transport is not None
        self._transport.write(frame(body))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports share no base class with asyncio's
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer.writable()

    def buffer_updated(self, nbytes: int) -> None:
        frames = self._buffer.received(nbytes)
        for view in frames:
            order, later, epoch = self._pending.pop(_TICKET.unpack_from(view)[0])
            reply = _decode_reply(view[_TICKET.size :])
            if reply.code == "ok":
                later(bytes(view[_TICKET.size :]))
            elif epoch != self._front.epoch:
                # The root that the worker was using may have been wiped under it: no alarm, and worth another try.
                later(self._service.reply(order, Refusal("Unavailable", "the store was sealed or rotated meanwhile")))
            else:
                later(self._service.reply(order, Refusal(reply.code, reply.data.decode())))
        self._buffer.compact(frames)

    def connection_lost(self, exc: Exception | None) -> None:
        self.on_end()
        pending, self._pending = self._pending, {}
        for order, later, _ in pending.values():
            later(self._service.reply(order, Refusal("Unavailable", "the signer's worker died with the order")))


class Hands(SignerService):
    """What a worker does: the part of an order that follows permission, with the root that the front names."""

    def answer(self, view: memoryview) -> bytes:
        """Carry out an order as ``_Line.send`` wrote it; the ticket and the encoded reply."""
        ticket, self._slot, length = _HEADER.unpack_from(view)
        start = _HEADER.size + length
        self.roots.store_id = bytes(view[_HEADER.size : start]).decode()
        order = _decode_order(view[start:])
        outcome = self.guarded(order, self._carry_out)
        if isinstance(outcome, Refusal):
            made = Reply(order.id, outcome.code, outcome.reason.encode())
        else:
            made = Reply(order.id, "ok", outcome)
        return _TICKET.pack(ticket) + _encode(made)

    def permit(self, order: Order) -> Refusal | None:
        """The front has done it, and remembers the grant."""
        return None

    def slot_of(self, order: Order) -> int | Refusal:
        """Where the front has put that root."""
        slot: int = self._slot
        return slot


def work(link: socket.socket, hands: Hands) -> None:
    """Serve the front until it closes the link."""
    buffer = FrameBuffer()
    while (count := link.recv_into(buffer.writable())) > 0:
        try:
            frames = buffer.received(count)
        except FrameOverflow:
            return
        if frames:
            link.sendall(b"".join(frame(hands.answer(view)) for view in frames))
        buffer.compact(frames)


class Keeper:
    """Forks ``front`` once and ``worker`` ``count`` times, each with its end of a link, and keeps the number.

    Both are called in the new process; ``front`` gives the exit status. No thread may run yet.
    """

    def __init__(
        self, count: int, front: Callable[[socket.socket], int], worker: Callable[[socket.socket], None]
    ) -> None:
        self._count, self._front, self._worker = count, front, worker
        self._pid = os.getpid()
        self._control, self._other_end = socket.socketpair()
        self._workers: dict[int, float] = {}
        self._stopping = False

    def run(self) -> int:
        """Until the front ends, by itself or because this process is told to; its exit status."""
        front = self._fork(self._run_front)

        def stop(*_: object) -> None:
            self._stopping = True
            with contextlib.suppress(ProcessLookupError):  # it has ended already
                os.kill(front, signal.SIGTERM)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        self._other_end.close()
        for _ in range(self._count):
            self._add_worker()
        while True:
            pid, status = os.wait()
            if pid == front:
                break
            lived = time.monotonic() - self._workers.pop(pid)
            if status == 0 or self._stopping:
                continue  # the front has closed its link, and ends
            log.error("worker %d ended with status %d and is replaced", pid, os.waitstatus_to_exitcode(status))
            time.sleep(0 if lived > _STEADY_S else _STEADY_S / 10)
            self._add_worker()
        for worker in self._workers:
            os.kill(worker, signal.SIGKILL)
        return max(os.waitstatus_to_exitcode(status), -1) & 0xFF

    def _add_worker(self) -> None:
        ours, theirs = socket.socketpair()
        self._workers[self._fork(lambda: self._run_worker(theirs))] = time.monotonic()
        theirs.close()
        with contextlib.suppress(OSError):  # the front is gone, which is seen in a moment
            socket.send_fds(self._control, [b"w"], [ours.fileno()])
        ours.close()

    def _fork(self, act: Callable[[], int]) -> int:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                for number in (signal.SIGTERM, signal.SIGINT):
                    signal.signal(number, signal.SIG_DFL)
                status = act()
            except BaseException:
                log.exception("a process of the signer failed")
            finally:
                os._exit(status)
        return pid

    def _run_front(self) -> int:
        self._control.close()
        die_with_parent(signal.SIGTERM, self._pid)
        return self._front(self._other_end)

    def _run_worker(self, link: socket.socket) -> int:
        # Nothing of the others' is needed: the listening socket, the roster's file, the way to the keeper.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # who stops the whole group leaves it to the front to end us
        os.closerange(3, link.fileno())
        os.closerange(link.fileno() + 1, 4096)
        die_with_parent(signal.SIGKILL, self._pid)
        self._worker(link)
        return 0
