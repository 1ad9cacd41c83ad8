"""How a signer and an authoriser listen: a Unix socket, peers that the kernel names, orders in frames."""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import logging
import os
import pwd
import shutil
import signal
import socket
import stat
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

from countersign.keystores.memory import die_with_parent, wipe
from countersign.keystores.protocol import FrameBuffer, FrameOverflow, NotAnOrder, frame

log = logging.getLogger("countersign.signer")

_MAX_CONNECTIONS: Final = 64
_MAX_UNSENT: Final = 1 << 20
_MAX_PATH: Final = 107
_PEER = struct.Struct("3i")


def peer_uid(connection: socket.socket) -> int:
    """User id of the process at the other end of a Unix socket, as the kernel says (SO_PEERCRED)."""
    _, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return int(uid)


def log_to_stderr(name: str, environment: str) -> int:
    """Set up the log of a process; answers the level at which to tell what the host cannot protect.

    Beside a sandbox only what goes wrong is told: it guards nothing, and ``keystore status`` has the rest.
    """
    production = environment == "production"
    level = logging.INFO if production else logging.WARNING
    logging.basicConfig(level=level, format=f"{name} %(levelname)s %(message)s")
    return logging.WARNING if production else logging.INFO


def steady_clock() -> int:
    """Milliseconds since the epoch that never jump: the wall clock at start plus the monotonic clock."""
    return (_STARTED_NS + time.monotonic_ns()) // 1_000_000


_STARTED_NS: Final = time.time_ns() - time.monotonic_ns()


Later = Callable[[bytes], None]
"""Takes the encoded reply to an order that was not answered at once."""

Handle = Callable[[memoryview, Later], bytes | None]
"""What carries an order out: the encoded reply, or None when it is given to ``Later``."""


class Connection(asyncio.BufferedProtocol):
    """One peer. A peer that sends garbage, too long a frame, half a frame for too long, or reads nothing is cut off."""

    def __init__(self, handle: Handle, allowed_uids: frozenset[int], peers: set[Connection], patience: float) -> None:
        self._handle = handle
        self._allowed = allowed_uids
        self._peers = peers
        self._patience = patience
        self._buffer = FrameBuffer()
        self._transport: asyncio.Transport | None = None
        self._waiting_for_rest: asyncio.TimerHandle | None = None
        self._waiting_for_reader: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the peer in if the kernel names an allowed user."""
        stream = cast("asyncio.Transport", transport)  # uvloop's transports share no base class with asyncio's
        refusal = self._refuse(peer_uid(stream.get_extra_info("socket")))
        if refusal is not None:
            log.warning("connection refused: %s", refusal)
            stream.abort()
            return
        stream.set_write_buffer_limits(high=_MAX_UNSENT)
        self._peers.add(self)
        # Only now is there a transport: whatever goes wrong above, nothing this peer sends is read as an order.
        self._transport = stream

    def _refuse(self, uid: int) -> str | None:
        if uid not in self._allowed:
            return f"user id {uid} is not allowed"
        return "too many connections" if len(self._peers) >= _MAX_CONNECTIONS else None

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the peer."""
        self._peers.discard(self)
        self._transport = None
        self._buffer.wipe()
        for timer in (self._waiting_for_rest, self._waiting_for_reader):
            if timer is not None:
                timer.cancel()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the loop reads to."""
        return self._buffer.writable()

    def buffer_updated(self, nbytes: int) -> None:
        """Carry out every order that is complete and answer them in one write."""
        if self._transport is None or self._transport.is_closing():
            return
        try:
            frames = self._buffer.received(nbytes)
            replies = [frame(reply) for view in frames if (reply := self._handle(view, self._later)) is not None]
        except FrameOverflow:
            self._cut_off("frame too long")
            return
        except NotAnOrder:
            self._cut_off("not an order")
            return
        for view in frames:
            wipe(view)  # one of them may hold a passphrase
        if replies:
            self._transport.write(b"".join(replies))
        self._watch_rest(self._buffer.compact(frames))

    def _later(self, reply: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame(reply))

    def pause_writing(self) -> None:
        """Stop reading orders from a peer that does not read its replies, and for some time wait for it."""
        if self._transport is not None:
            self._transport.pause_reading()
            loop = asyncio.get_running_loop()
            self._waiting_for_reader = loop.call_later(self._patience, self._cut_off, "does not read its replies")

    def resume_writing(self) -> None:
        """Go on: the peer has read."""
        if self._waiting_for_reader is not None:
            self._waiting_for_reader.cancel()
        if self._transport is not None:
            self._transport.resume_reading()

    def _watch_rest(self, incomplete: bool) -> None:
        if incomplete and self._waiting_for_rest is None:
            loop = asyncio.get_running_loop()
            self._waiting_for_rest = loop.call_later(self._patience, self._cut_off, "did not finish its frame")
        elif not incomplete and self._waiting_for_rest is not None:
            self._waiting_for_rest.cancel()
            self._waiting_for_rest = None

    def _cut_off(self, why: str) -> None:
        log.warning("connection cut off: %s", why)
        if self._transport is not None:
            self._transport.abort()


def listen(path: Path, group: str | None) -> socket.socket:
    """The listening socket, mode 0600 in a directory 0700; with ``group`` 0660 in 0750, both given to that group.

    Raises ValueError when the place is not safe or another process listens there.
    """
    if len(os.fsencode(path)) > _MAX_PATH:
        raise ValueError(f"socket path {path} is longer than {_MAX_PATH} bytes; choose a shorter directory")
    directory = path.parent
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if group is not None:
        shutil.chown(directory, group=group)
        directory.chmod(0o750)
    status = directory.stat()
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & (0o077 if group is None else 0o027):
        raise ValueError(
            f"socket directory {directory} must belong to the user of this process and be closed to others (0700)"
        )
    # Held until the process ends, however it ends; so what lies at the path afterwards is stale.
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as held:
        os.close(lock)
        raise ValueError(f"another process uses the socket directory {directory}") from held
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    if group is not None:
        shutil.chown(path, group=group)
        path.chmod(0o660)
    return listener


async def serve(
    listener: socket.socket,
    handle: Handle,
    *,
    allowed_uids: frozenset[int],
    stop: asyncio.Event,
    patience: float = 10.0,
) -> None:
    """Have ``handle`` answer orders until ``stop``. ``patience`` in seconds, for slow peers."""
    loop = asyncio.get_running_loop()
    peers: set[Connection] = set()
    server = await loop.create_unix_server(
        lambda: Connection(handle, allowed_uids, peers, patience), sock=listener, backlog=_MAX_CONNECTIONS
    )
    try:
        await stop.wait()
    finally:
        server.close()


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of whoever listens."""
    parser.add_argument("--socket", type=Path, required=True, help="Unix socket to listen on")
    parser.add_argument("--state", type=Path, metavar="DIR", help="directory of its own roster, kept for good")
    parser.add_argument("--endorse-by-itself", action="store_true", help="sandbox: every credential counts at once")
    parser.add_argument("--environment", choices=("production", "sandbox"), default="production")
    parser.add_argument(
        "--allow-uid", action="append", default=[], metavar="USER", help="user that may connect (default: its own)"
    )
    parser.add_argument("--socket-group", help="group that may reach the socket, where the API runs as another user")
    parser.add_argument("--patience", type=float, default=10.0, help="seconds before a slow peer is cut off")
    parser.add_argument("--exit-with-parent", type=int, metavar="PID", help="end when this process, the parent, ends")


def begin(options: argparse.Namespace) -> tuple[socket.socket, frozenset[int]]:
    """Listen as the options say; the socket, and the users that may connect.

    Raises ValueError, OSError and LookupError.
    """
    if options.environment == "production" and options.endorse_by_itself:
        raise ValueError("--endorse-by-itself is refused in production: an administrator or the operator endorses")
    if options.exit_with_parent is not None:
        die_with_parent(signal.SIGTERM, options.exit_with_parent)
    listener = listen(options.socket, options.socket_group)
    return listener, frozenset(_uid(name) for name in options.allow_uid) or frozenset({os.geteuid()})


def stopped_by_signals() -> asyncio.Event:
    """Set by SIGTERM and SIGINT."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def _uid(name: str) -> int:
    return int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid
