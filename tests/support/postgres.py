"""A throw-away PostgreSQL server for the test session, and a fresh database for each test.

``PostgresServer.start()`` finds the binaries (``COUNTERSIGN_POSTGRES_BIN``, Debian's places, ``PATH``),
makes a cluster in a temporary directory and starts it on a free port of the loopback and a Unix
socket, as an unprivileged user when the tests run as root (PostgreSQL refuses root). Durability stays
on: what the tests see is what production does. Databases are copies of a template, migrated once.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from countersign.storage import migrate_database
from tests.support import aio

_START_TIMEOUT_S = 60
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
_TEMPLATE = "countersign_template"
_MEMORY = Path("/dev/shm")
_ROOM = 2 << 30


class PostgresMissing(Exception):
    """PostgreSQL cannot be had here; the text says what was looked for or what failed."""


def find_binaries() -> Path:
    """The directory that holds ``initdb`` and ``postgres``, the newest version first."""
    named = os.environ.get("COUNTERSIGN_POSTGRES_BIN")
    if named:
        candidates = [Path(named)]
    else:
        debian = Path("/usr/lib/postgresql").glob("*/bin")
        candidates = sorted(debian, key=lambda each: float(each.parent.name), reverse=True)
        candidates += [Path(each) for each in os.environ.get("PATH", "").split(os.pathsep) if each]
    for each in candidates:
        if (each / "initdb").is_file() and (each / "postgres").is_file():
            return each
    raise PostgresMissing("no initdb and postgres found; install postgresql-15 or newer")


def _memory() -> Path | None:
    """Where files cost no disk: each database is some three hundred of them, made and dropped for one test."""
    writable = os.access(_MEMORY, os.W_OK | os.X_OK)
    return _MEMORY if writable and shutil.disk_usage(_MEMORY).free > _ROOM else None


@dataclass
class PostgresServer:
    """A running server; ``stop`` removes every trace of it."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes]
    runner: asyncio.Runner = field(default_factory=aio.new_runner)
    _admin: asyncpg.Connection | None = None
    _made: int = 0
    _template_ready: bool = False

    @classmethod
    def start(cls, *, in_memory: bool = False) -> PostgresServer:
        """Make a cluster and start it; ``in_memory``: on a file system in memory, if there is one with room.

        Raises ``PostgresMissing``.
        """
        binaries = find_binaries()
        directory = Path(tempfile.mkdtemp(prefix="countersign-pg-", dir=_memory() if in_memory else None))
        identity = _unprivileged(directory)
        try:
            _initialise(binaries, directory, identity)
            for _ in range(3):  # another process may take the free port first
                port = _free_port()
                server = cls(directory, port, _launch(binaries, directory, port, identity))
                if server._wait_until_ready():
                    return server
            raise PostgresMissing(f"the server does not start: {_tail(directory / 'log')}")
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise

    def url(self, database: str) -> str:
        """The URL of one of its databases."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def new_database(self, *, migrated: bool = True) -> str:
        """The URL of a database of its own, with today's schema (or empty)."""
        if migrated and not self._template_ready:
            self.execute(f"CREATE DATABASE {_TEMPLATE}")
            aio.run(migrate_database(self.url(_TEMPLATE)))
            self._template_ready = True
        self._made += 1
        name = f"test_{self._made}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE if migrated else 'template0'}")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop a database, whoever is still connected."""
        self.execute(f"DROP DATABASE {url.rsplit('/', 1)[1]} WITH (FORCE)")

    def execute(self, sql: str) -> Any:
        """Run one statement as the administrator, outside any test's event loop."""
        return self.runner.run(self._execute(sql))

    async def _execute(self, sql: str) -> Any:
        if self._admin is None:
            self._admin = await asyncpg.connect(self.url("postgres"), statement_cache_size=0)
        return await self._admin.fetch(sql)

    def stop(self) -> None:
        """Stop the server and remove its files."""
        if self._admin is not None:
            self.runner.run(self._admin.close())
        self.runner.close()
        self.process.send_signal(signal.SIGINT)  # "fast shutdown"
        self.process.wait(_START_TIMEOUT_S)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _wait_until_ready(self) -> bool:
        end = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < end and self.process.poll() is None:
            try:
                self.execute("SELECT 1")
            except (OSError, asyncpg.PostgresError):
                time.sleep(0.02)
            else:
                return True
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        return False


def _unprivileged(directory: Path) -> dict[str, Any]:
    """How ``subprocess`` leaves root behind; hands the directory over."""
    if os.geteuid() != 0:
        return {}
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        user = pwd.getpwnam("nobody")
    os.chown(directory, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _initialise(binaries: Path, directory: Path, identity: dict[str, Any]) -> None:
    command = [binaries / "initdb", "--pgdata", directory / "data", "--username=postgres", "--auth=trust"]
    command += ["--encoding=UTF8", "--locale=C", "--no-instructions"]
    done = subprocess.run(command, capture_output=True, cwd=directory, env=_ENVIRONMENT, **identity)
    if done.returncode != 0:
        raise PostgresMissing(f"initdb failed: {done.stderr.decode(errors='replace').strip()[-300:]}")


def _launch(binaries: Path, directory: Path, port: int, identity: dict[str, Any]) -> subprocess.Popen[bytes]:
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": directory,
        "max_connections": 300,
        "shared_buffers": "64MB",
        "fsync": "on",
        "synchronous_commit": "on",
    }
    command: list[str | Path] = [binaries / "postgres", "-D", directory / "data"]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    with (directory / "log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=directory, env=_ENVIRONMENT, **identity)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _tail(log: Path) -> str:
    return log.read_text(errors="replace").strip()[-300:]
