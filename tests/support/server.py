"""A real server process for tests: a sandbox over a database, started, stopped and killed like a user's."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import httpx

from tests.clients.connection import Connection, as_admin
from tests.support.nursery import Born, born

START_SECONDS = 30.0


@dataclass
class Sandbox:
    """``countersign up`` over ``database`` (a URL, SQLite in the data directory by default) with data in ``directory``.

    ``environment`` adds settings (``COUNTERSIGN_…``), ``arguments`` options of ``up``. Use it in a ``with`` block, or
    call ``start`` and ``stop``; starting again keeps everything.
    """

    directory: Path
    database: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    process: Born | None = None

    def start(self) -> Sandbox:
        """Start it and wait until it serves."""
        self.directory.mkdir(parents=True, exist_ok=True)
        command = ["up", "--data", str(self.directory), "--port", "0"]
        if self.database is not None:
            command += ["--database", self.database]
        # Anew at each start: the address is of this one.
        before = self._connection_bytes()
        environment = {**os.environ, "COUNTERSIGN_LOG_LEVEL": "info", **self.environment}
        with self.log_path.open("ab") as log:
            self.process = born([*command, *self.arguments], stdout=log.fileno(), stderr=log.fileno(), env=environment)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.log()[-4000:]}")
            if self._connection_bytes() != before and self._answers():
                return self
            time.sleep(0.02)
        raise AssertionError(f"the server does not answer:\n{self.log()[-4000:]}")

    def _connection_bytes(self) -> bytes:
        path = self.directory / "connection.json"
        return path.read_bytes() if path.exists() else b""

    def _answers(self) -> bool:
        base_url = self.values["baseUrl"]
        if not base_url:
            return False
        try:
            return httpx.get(f"{base_url}/readyz", verify=False, timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> int:
        """Stop it in order; its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(20)
        self.process = None
        return status

    def kill(self) -> None:
        """``kill -9`` of the server process alone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(20)
        self.process = None

    @property
    def signer_pid(self) -> int:
        """Process id of the signer that this server started."""
        return self.child_pid("signer")

    def child_pid(self, module: str) -> int:
        """Process id of the signer or the authoriser that this server started."""
        assert self.process is not None
        # A process that forks for the server stands between the two.
        found = [pid for each in _children(self.process.pid) for pid in _children(each) if _name(pid) == module]
        assert found, f"the server has no {module}"
        return found[0]

    @property
    def log_path(self) -> Path:
        """Everything that server and signer printed."""
        return self.directory.with_name(self.directory.name + ".log")

    def log(self) -> str:
        """The same as text."""
        return self.log_path.read_text(errors="replace")

    @property
    def values(self) -> dict[str, str]:
        """What ``connection.json`` holds."""
        content: dict[str, str] = json.loads(self._connection_bytes())
        return content

    @property
    def service(self) -> Connection:
        """The service account's way in."""
        values = self.values
        return {
            "baseUrl": values["baseUrl"],
            "orgId": values["orgId"],
            "authToken": values["authToken"],
            "credentialId": values["credentialId"],
            "privateKeyPath": values["privateKeyPath"],
        }

    @property
    def admin(self) -> Connection:
        """The administrator's way in."""
        return as_admin(self.values)

    def __enter__(self) -> Sandbox:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None:
            self.stop()


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


@contextmanager
def sandbox(directory: Path, database: str | None = None, **environment: str) -> Iterator[Sandbox]:
    """A running sandbox; keyword arguments are environment variables."""
    with Sandbox(directory, database, environment) as running:
        yield running
