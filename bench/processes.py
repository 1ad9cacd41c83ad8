"""What is measured: server processes on a core of their own, and what the system knows about them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

ROOT = Path(__file__).parent.parent
#: A limit that no run reaches: rate limits are the one thing that is raised.
UNLIMITED = 1_000_000_000


class Identity(TypedDict):
    """Who calls: a session token and an Ed25519 credential."""

    token: str
    credential: str
    seed: str


def cores() -> tuple[set[int], set[int]]:
    """The server's core and the client's; the same one where there is no other."""
    available = sorted(os.sched_getaffinity(0))
    return {available[0]}, {available[-1]}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def children(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += children(int(child))
    return found


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads of one process, to the nanosecond."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError:
            continue
    return total / 1e9


def pss_megabytes(pid: int) -> float:
    """Proportional set size: memory shared with other processes counts by its share."""
    match = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert match is not None
    return int(match[1]) / 1024


def _spawn(command: list[str], core: set[int], log: Path, **environment: str) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
            preexec_fn=lambda: os.sched_setaffinity(0, core),
        )


def _wait_for_200(process: subprocess.Popen[bytes], port: int, path: str, log: Path) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended: {log.read_text(errors='replace')[-3000:]}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.005)
    raise RuntimeError(f"the server does not answer: {log.read_text(errors='replace')[-3000:]}")


@dataclass
class Hello:
    """``bench/hello.py`` under uvicorn with the options that the server uses, without our limits."""

    directory: Path
    core: set[int]
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Hello:
        self.port = free_port()
        options = ["--http", "httptools", "--loop", "uvloop", "--ws", "none", "--lifespan", "off", "--no-access-log"]
        options += ["--no-server-header", "--no-date-header", "--no-proxy-headers", "--timeout-keep-alive", "65"]
        options += ["--log-level", "warning", "--port", str(self.port)]
        log = self.directory / "hello.log"
        self.process = _spawn([sys.executable, "-m", "uvicorn", "bench.hello:application", *options], self.core, log)
        _wait_for_200(self.process, self.port, "/", log)
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(10)


@dataclass
class Server:
    """``countersign serve`` in production: every check on, logs at level info, rate limits raised."""

    name: str
    directory: Path
    database: str
    core: set[int]
    settings: dict[str, Any] = field(default_factory=dict)
    port: int = 0
    admin_port: int = 0
    cold_start: float = 0.0
    process: subprocess.Popen[bytes] | None = None
    identity: Identity = field(default_factory=lambda: Identity(token="", credential="", seed=""))
    org_id: str = ""

    def prepare(self) -> None:
        """Initialise the database."""
        self.directory.mkdir(parents=True, exist_ok=True)
        key = Ed25519PrivateKey.generate()
        public = self.directory / "administrator.pem"
        public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        kek = self.directory / "kek"
        kek.write_bytes(os.urandom(32))
        kek.chmod(0o600)
        command = [sys.executable, "-m", "countersign", "init", "--json", "--org", "Bench", "--owner", "bench@bench"]
        done = subprocess.run(
            [*command, "--public-key", str(public)], env=self.environment(), check=True, capture_output=True
        )
        made = json.loads(done.stdout)
        self.org_id = made["orgId"]
        raw = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        self.identity = Identity(token=made["authToken"], credential=made["credentialId"], seed=raw.hex())

    def environment(self) -> dict[str, str]:
        """The settings."""
        settings: dict[str, Any] = {
            "database": self.database,
            "port": self.port,
            "admin_port": self.admin_port,
            "server_secret_file": self.directory / "server.secret",
            "signer_socket": self.directory / "signer" / "signer.sock",
            "signer_state": self.directory / "signer-state",
            "signer_embedded": "true",
            "signer_kek": f"file:{self.directory / 'kek'}",
            "organisation_requests_per_minute": UNLIMITED,
            "address_requests_per_minute": UNLIMITED,
            **self.settings,
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("COUNTERSIGN_")}
        return {**inherited, **{f"COUNTERSIGN_{name.upper()}": str(value) for name, value in settings.items()}}

    def start(self) -> float:
        """Start it; seconds from the start of the process to the first 200 of ``/readyz``."""
        self.port, self.admin_port = free_port(), free_port()
        log = self.directory / "server.log"
        begun = time.perf_counter()
        self.process = _spawn([sys.executable, "-m", "countersign", "serve"], self.core, log, **self.environment())
        _wait_for_200(self.process, self.port, "/readyz", log)
        return time.perf_counter() - begun

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        self.process = None

    def __enter__(self) -> Server:
        self.cold_start = self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pids(self) -> tuple[int, int]:
        """Process ids of server and signer."""
        assert self.process is not None
        server, signer = children(self.process.pid)
        return server, signer

    def sql(self) -> dict[str, float]:
        """Statements, commits and write transactions so far."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        return {name: float(value) for name, value in re.findall(r"^countersign_sql_(\w+)_total (\S+)", text, re.M)}
