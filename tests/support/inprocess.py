"""A server inside the test's own process, with a clock that the test moves: for what a separate process hides.

    with InProcess(runner, tmp_path / "data", database_url) as server, server.caller(server.service) as caller:
        caller.action_token("PUT", "/keys/key-…", {"name": "a"})
        server.clock.move(seconds=-3600)

The signer is a process of its own and keeps the true time: move the clock only around what needs no key.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any
from unittest import mock

import httpx

from countersign.keystores import supervisor
from countersign.server import runtime, sandbox
from countersign.server.http import too_large
from countersign.server.settings_reading import load
from countersign.storage.database import Statistics
from countersign.world import World
from tests.clients.connection import Connection, as_admin
from tests.support import nursery
from tests.support.caller import Caller

BASE_URL = "http://in-process.test"


class Clock:
    """The wall clock, moved by some milliseconds; or one that stands still, for what happens at a very second."""

    def __init__(self) -> None:
        self.offset = 0
        self._still: int | None = None

    def __call__(self) -> int:
        return (time.time_ns() // 1_000_000 if self._still is None else self._still) + self.offset

    @contextmanager
    def stopped(self, at: int | None = None) -> Iterator[None]:
        """Let no time pass of itself: from now on, or from ``at`` (milliseconds)."""
        self._still = (self() if at is None else at) - self.offset
        try:
            yield
        finally:
            self._still = None

    def move(self, *, seconds: float) -> None:
        """Step forward, or back when negative."""
        self.offset += int(seconds * 1000)


class InProcess:
    """A sandbox whose corridor is called directly. ``background``: whether sequencer and recovery run beside it."""

    def __init__(
        self, runner: asyncio.Runner, directory: Path, database: str, *, background: bool = True, **settings: Any
    ) -> None:
        self.runner = runner
        self._background = background
        self.clock = Clock()
        self.world = World(clock=self.clock)
        self.files = sandbox.SandboxFiles(directory)
        values = {**sandbox.settings_values(self.files, 0, database), "log_level": "error", **settings}
        self.settings = load(None, {}, values)
        self._stack = AsyncExitStack()
        self.runtime: runtime.Runtime

    def __enter__(self) -> InProcess:
        self.files.directory.mkdir(parents=True, exist_ok=True)
        sandbox.prepare(self.files, self.settings, self.world)
        self.start()
        return self

    def start(self) -> None:
        """Open everything, as a server process does when it starts."""
        self._stack = AsyncExitStack()
        jobs = runtime._background if self._background else lambda _runtime, _world: []
        with (
            mock.patch.object(runtime, "_background", jobs),
            mock.patch.object(supervisor, "launched", nursery.launched),
        ):
            context = runtime.running(self.settings, self.world)
            self.runtime = self.runner.run(self._stack.enter_async_context(context))
        self.runner.run(sandbox.announce(self.files, self.runtime, 0))

    def restart(self) -> None:
        """Everything that lives in memory is gone; the clock stays where it is."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """Close everything."""
        self.runner.run(self._stack.aclose())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def values(self) -> dict[str, str]:
        """What ``connection.json`` holds, with an address that leads here."""
        return {**sandbox.read_connection(self.files), "baseUrl": BASE_URL}

    @property
    def service(self) -> Connection:
        """The service account's way in."""
        values = self.values
        return {
            "baseUrl": BASE_URL,
            "orgId": values["orgId"],
            "authToken": values["authToken"],
            "credentialId": values["credentialId"],
            "privateKeyPath": values["privateKeyPath"],
        }

    @property
    def admin(self) -> Connection:
        """The administrator's way in."""
        return as_admin(self.values)

    def caller(self, connection: Connection, address: str = "127.0.0.1") -> Caller:
        """A caller whose requests go straight into the corridor, as if they came from this address."""
        return Caller({**connection, "baseUrl": BASE_URL}, _Transport(self, address))

    @property
    def statistics(self) -> Statistics:
        """Counts of the server's own database connection so far."""
        now = self.runtime.services.database.statistics
        return Statistics(now.statements, now.commits, now.write_transactions)


class _Transport(httpx.BaseTransport):
    """One request as the protocol would hand it over; the raw target included."""

    def __init__(self, server: InProcess, address: str = "127.0.0.1") -> None:
        self._server = server
        self._address = address

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        body = request.read()

        async def read_body(limit: int) -> bytes:
            if len(body) > limit:
                raise too_large(limit)
            return body

        lines = [(name.lower(), value) for name, value in request.headers.raw]
        face = self._server.runtime.face
        answer = self._server.runner.run(
            face.answer(request.method, request.url.raw_path, lines, self._address, read_body)
        )
        response = answer.response
        headers = [
            (b"content-type", response.media_type.encode()),
            *[(name.lower().encode(), value.encode()) for name, value in response.headers.items()],
            *answer.headers,
        ]
        return httpx.Response(response.status, headers=headers, content=response.content)
