"""The signer process: ``python -P -m countersign.keystores.signer --socket PATH --kek PROVIDER``.

It alone can open keys. One event loop serves a Unix socket, order by order, or hands what it has permitted to worker
processes (``--workers``); it needs no database. It imports little on purpose: no web server, no database driver, no
command-line framework.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import gc
import logging
import os
import pwd
import shutil
import signal
import socket
import stat
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, cast

import uvloop

from countersign.keystores.confinement import Needs, confine, refuse_io_uring
from countersign.keystores.kek import FORMS, DevProvider, FileProvider, KekProvider, open_provider
from countersign.keystores.ledger import Ledger, open_file
from countersign.keystores.memory import LockedPage, SharedRoots, die_with_parent, harden_process, wipe
from countersign.keystores.pkcs11_place import parse_place
from countersign.keystores.protocol import FrameBuffer, FrameOverflow, frame
from countersign.keystores.service import NotAnOrder, SignerService
from countersign.keystores.workers import Front, Hands, Keeper, Later, work

log = logging.getLogger("countersign.signer")

_MAX_CONNECTIONS: Final = 64
_MAX_UNSENT: Final = 1 << 20
_MAX_PATH: Final = 107
_MOST_BY_ITSELF: Final = 4
_MOST_WORKERS: Final = 64
_PEER = struct.Struct("3i")


def peer_uid(connection: socket.socket) -> int:
    """User id of the process at the other end of a Unix socket, as the kernel says (SO_PEERCRED)."""
    _, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return int(uid)


def steady_clock() -> int:
    """Milliseconds since the epoch that never jump: the wall clock at start plus the monotonic clock."""
    return (_STARTED_NS + time.monotonic_ns()) // 1_000_000


_STARTED_NS: Final = time.time_ns() - time.monotonic_ns()


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

    Raises ValueError when the place is not safe or another signer listens there.
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
            f"socket directory {directory} must belong to the signer's user and be closed to others (0700)"
        )
    # Held until the process ends, however it ends; so what lies at the path afterwards is stale.
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as held:
        os.close(lock)
        raise ValueError(f"another signer uses the socket directory {directory}") from held
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
    service: SignerService,
    *,
    allowed_uids: frozenset[int],
    stop: asyncio.Event,
    patience: float = 10.0,
    handle: Handle | None = None,
) -> None:
    """Answer orders until ``stop``; then wipe. ``patience`` in seconds, for slow peers.

    ``handle`` carries them out instead of the service itself.
    """
    carry_out = handle or (lambda view, _later: service.handle(view))
    loop = asyncio.get_running_loop()
    peers: set[Connection] = set()
    server = await loop.create_unix_server(
        lambda: Connection(carry_out, allowed_uids, peers, patience), sock=listener, backlog=_MAX_CONNECTIONS
    )
    try:
        await stop.wait()
    finally:
        server.close()
        service.seal()


def main(arguments: list[str] | None = None) -> int:
    """Run the signer until SIGTERM, SIGINT or an order to shut down."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="signer %(levelname)s %(message)s")
    try:
        kek = open_provider(options.kek)
        make_service = _store(options.store)
        workers = _workers(options)
        _check_environment(options, kek)
        if options.exit_with_parent is not None:
            die_with_parent(signal.SIGTERM, options.exit_with_parent)
        listener = listen(options.socket, options.socket_group)
        allowed = frozenset(_uid(name) for name in options.allow_uid) or frozenset({os.geteuid()})
        # Before the process gives up the file system.
        ledger = _ledger(options)
    except (ValueError, OSError, LookupError) as trouble:
        log.error("%s", trouble)  # noqa: TRY400 - an operator's mistake, a trace would only hide the sentence
        return 2
    refuse_io_uring()
    gc.freeze()

    def front(control: socket.socket | None = None, roots: SharedRoots | None = None) -> int:
        hardened = list(
            dict.fromkeys([*harden_process(), *([*roots.notes, *roots.lock()] if roots is not None else ())])
        )

        async def run() -> None:
            stop = asyncio.Event()
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stop.set)
            # The loop has its descriptors by now, and nothing was read from anybody yet.
            notes = [*hardened, *confine(_needs(kek, options.store))]
            service = make_service(
                kek,
                clock=steady_clock,
                grant_level=options.grant_level,
                ledger=ledger,
                endorses_by_itself=options.endorse_by_itself,
                notes=tuple(notes),
                on_shutdown=stop.set,
                page=LockedPage(roots.view) if roots is not None else None,
            )
            log.info("listening on %s for user ids %s", options.socket, sorted(allowed))
            for note in notes:
                log.warning("%s", note)
            handle: Handle | None = None
            if control is not None:
                crew = Front(service, control)
                crew.start()
                handle = crew.handle
            await serve(listener, service, allowed_uids=allowed, stop=stop, patience=options.patience, handle=handle)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())
        return 0

    if workers == 0:
        return front()
    roots = SharedRoots()

    def worker(link: socket.socket) -> None:
        harden_process()
        roots.lock()
        confine(Needs())
        work(link, Hands(kek, clock=steady_clock, page=LockedPage(roots.view)))

    harden_process()
    confine(replace(_needs(kek, options.store), processes=True))
    return Keeper(workers, lambda control: front(control, roots), worker).run()


def _workers(options: argparse.Namespace) -> int:
    """How many worker processes; a token is used by one process, and the sandbox needs none."""
    if options.workers is None:
        cpus = len(os.sched_getaffinity(0))
        alone = options.environment == "sandbox" or options.store != "sealed" or cpus == 1
        return 0 if alone else min(cpus, _MOST_BY_ITSELF)
    if options.workers and options.store != "sealed":
        raise ValueError("--workers is for sealed stores: a token has one session, in one process")
    if not 0 <= options.workers <= _MOST_WORKERS:
        raise ValueError(f"--workers is 0 to {_MOST_WORKERS}")
    return int(options.workers)


def _store(spec: str) -> Callable[..., SignerService]:
    """What makes the service of the store that ``--store`` names. Raises ValueError."""
    if spec == "sealed":
        return SignerService
    try:
        # Loaded when named only: the signer holds no library that it does not use.
        from countersign.keystores.pkcs11_service import Pkcs11Service
        from countersign.keystores.pkcs11_token import Token
    except ImportError:
        raise ValueError("a pkcs11 store needs the extra: pip install countersign[pkcs11]") from None
    return partial(Pkcs11Service, Token(parse_place(spec)))


def _needs(kek: KekProvider, store: str) -> Needs:
    files = (kek.path.absolute(),) if isinstance(kek, (FileProvider, DevProvider)) else ()
    return Needs(files, network=kek.needs_network, driver=kek.needs_driver or store != "sealed")


def _check_environment(options: argparse.Namespace, kek: KekProvider) -> None:
    if options.environment != "production":
        return
    if kek.name == "dev":
        raise ValueError("the dev key-encryption key is refused in production; use file:PATH or passphrase")
    if options.grant_level == "G0":
        raise ValueError("grant level G0 is refused in production")
    if options.endorse_by_itself:
        raise ValueError("--endorse-by-itself is refused in production: an administrator or the operator endorses")


def _ledger(options: argparse.Namespace) -> Ledger:
    if options.state is not None:
        return Ledger(open_file(options.state))
    if options.environment == "production" and options.grant_level == "G3":
        raise ValueError("grant level G3 needs --state DIR, where the signer keeps its roster of credentials")
    return Ledger(None)


def _uid(name: str) -> int:
    return int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="countersign.keystores.signer", description="The signer of Countersign.")
    parser.add_argument("--socket", type=Path, required=True, help="Unix socket to listen on")
    parser.add_argument("--kek", required=True, help=f"key-encryption key: {FORMS}")
    parser.add_argument(
        "--store", default="sealed", help="sealed, or pkcs11:token=LABEL?module-path=FILE&pin-source=FILE"
    )
    parser.add_argument(
        "--grant-level", choices=("G0", "G1", "G3"), default="G3", help="what an order takes; G0 for tests"
    )
    parser.add_argument("--state", type=Path, metavar="DIR", help="directory of the signer's own roster, kept for good")
    parser.add_argument("--endorse-by-itself", action="store_true", help="sandbox: every credential counts at once")
    parser.add_argument("--environment", choices=("production", "sandbox"), default="production")
    parser.add_argument(
        "--allow-uid", action="append", default=[], metavar="USER", help="user that may connect (default: its own)"
    )
    parser.add_argument("--socket-group", help="group that may reach the socket, where the API runs as another user")
    parser.add_argument("--workers", type=int, help="processes that sign; 0: its own (default: CPUs, at most 4)")
    parser.add_argument("--patience", type=float, default=10.0, help="seconds before a slow peer is cut off")
    parser.add_argument("--exit-with-parent", type=int, metavar="PID", help="end when this process, the parent, ends")
    return parser


if __name__ == "__main__":
    sys.exit(main())
