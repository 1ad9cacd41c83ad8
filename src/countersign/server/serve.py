"""Serving: listeners, worker processes over one PostgreSQL, and a stop that lets requests finish."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import cast

import structlog
import uvicorn

from countersign.server import logs
from countersign.server.admin import AdminApplication
from countersign.server.answers import Outbox
from countersign.server.protocol import Limits, RequestProtocol, look_at_time
from countersign.server.runtime import Runtime, running
from countersign.server.settings import BadSettings, Settings
from countersign.server.workers import run_processes
from countersign.world import World

log = structlog.get_logger("countersign.serve")

#: Allocations before the youngest generation is looked at, and how many looks before the next older one is.
_GARBAGE_THRESHOLDS = (20_000, 10, 20)

Ready = Callable[[Runtime, int], Awaitable[None]]


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ``BadSettings`` when the address is taken or none of this host."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise BadSettings(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    listener.listen(2048)
    listener.setblocking(False)
    return listener


class _Server(uvicorn.Server):
    """uvicorn's server, stopped by us: the signals are the process's, not each server's."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.began = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and tell that it does."""
        await super().startup(sockets)
        self.began.set()

    def install_signal_handlers(self) -> None:
        """Nothing: see :func:`serve_process`."""

    def capture_signals(self):  # type: ignore[no-untyped-def]
        from contextlib import nullcontext

        return nullcontext()


async def serve_process(
    settings: Settings,
    listener: socket.socket,
    *,
    first_process: bool = True,
    migrate: bool = False,
    ready: Ready | None = None,
    world: World | None = None,
) -> None:
    """Serve in this process until SIGTERM or SIGINT."""
    world = world or World()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings, world, first_process=first_process, migrate=migrate) as runtime:
        admin_listener = (
            listen(settings.admin_host, settings.admin_port) if first_process and settings.admin_port >= 0 else None
        )
        server = _Server(_configuration(settings, runtime))
        tasks = [asyncio.create_task(server.serve([listener]))]
        admin: _Server | None = None
        if admin_listener is not None:
            admin = _admin(runtime)
            tasks.append(asyncio.create_task(admin.serve([admin_listener])))
        slow = asyncio.create_task(look_at_time(server.server_state.connections))
        await server.began.wait()
        port = listener.getsockname()[1]
        log.info(
            "serving",
            host=settings.host,
            port=port,
            admin_port=None if admin_listener is None else admin_listener.getsockname()[1],
            profile=settings.profile,
            process=os.getpid(),
        )
        if ready is not None:
            await ready(runtime, port)
        _settle_garbage_collector()
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        log.info("stopping")
        server.should_exit = True
        if admin is not None:
            admin.should_exit = True
        slow.cancel()
        stopped.cancel()
        await asyncio.gather(*tasks)


def _settle_garbage_collector() -> None:
    """What was loaded at the start stays for good: leave it out of every collection, and collect less often.

    Requests leave next to no cycles behind, so that collections find little; walking all modules each time would hold
    a request up for milliseconds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)


def _configuration(settings: Settings, runtime: Runtime) -> uvicorn.Config:
    limits = Limits(
        header_bytes=settings.header_limit_bytes,
        receive_seconds=settings.receive_seconds,
        idle_seconds=settings.idle_seconds,
        connections=settings.connection_limit,
    )
    return uvicorn.Config(
        _no_application,
        http=cast("type[asyncio.Protocol]", partial(RequestProtocol, runtime.face, limits, Outbox())),
        loop="none",
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=settings.shutdown_seconds,
        ssl_certfile=settings.tls_certificate or None,
        ssl_keyfile=settings.tls_key or None,
    )


async def _no_application(scope: object, receive: object, send: object) -> None:
    """uvicorn asks for an ASGI application; our protocol hands requests to the corridor itself."""
    raise RuntimeError("requests do not come this way")


def _admin(runtime: Runtime) -> _Server:
    return _Server(
        uvicorn.Config(
            AdminApplication(runtime.metrics),
            loop="none",
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
        )
    )


def run(settings: Settings, *, migrate: bool = False, ready: Ready | None = None) -> None:
    """Serve with the configured number of processes; returns after an orderly stop.

    Raises ``BadSettings``, what ``running`` raises, and ``CannotServe`` when one of several processes cannot start.
    """
    import uvloop

    logs.configure(settings.log_level, settings.log_format)
    _check_tls(settings)
    listener = listen(settings.host, settings.port)
    if settings.processes == 1:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve_process(settings, listener, migrate=migrate, ready=ready))
        return
    run_processes(settings, listener)


def _check_tls(settings: Settings) -> None:
    if not settings.tls_certificate:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    except ssl.SSLError as error:
        raise BadSettings(f"tls_certificate and tls_key: {error.reason or error}") from None
    except OSError as error:
        raise BadSettings(f"tls_certificate or tls_key cannot be read: {error.strerror}") from None
