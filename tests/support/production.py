"""A production server for tests: ``init``, a signer of its own and ``serve``, over one settings file."""

from __future__ import annotations

import json
import secrets
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.clients.connection import Connection
from tests.clients.parties import new_credential
from tests.support.commands import Done, countersign, environment
from tests.support.nursery import Born, born

PATIENCE = 30.0


@dataclass
class Production:
    """An installation in ``directory`` over ``database`` (a URL). ``settings`` go into its TOML file.

    ``kek``: ``file``, or a provider as the signer takes it. Enter it to have it initialised, with signer and server
    running.
    """

    directory: Path
    database: str
    settings: dict[str, Any] = field(default_factory=dict)
    kek: str = "file"
    made: dict[str, str] = field(default_factory=dict)
    signer: Born | None = None
    server: Born | None = None

    @property
    def config(self) -> Path:
        """The settings file."""
        return self.directory / "countersign.toml"

    @property
    def kek_spec(self) -> str:
        """The provider of the key-encryption key as the signer takes it."""
        return f"file:{self.directory / 'kek'}" if self.kek == "file" else self.kek

    def write_config(self) -> None:
        """Write the settings file anew."""
        values = {
            "database": self.database,
            "port": 0,
            "admin_port": 0,
            "server_secret_file": str(self.directory / "server.secret"),
            "signer_socket": str(self.directory / "signer" / "signer.sock"),
            "signer_kek": self.kek_spec,
            "log_level": "info",
            **self.settings,
        }
        # What JSON writes for texts, numbers, booleans and lists of texts is TOML as well.
        tables = values.pop("key_stores", [])
        text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())
        for table in tables:
            text += "\n[[key_stores]]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in table.items())
        self.config.write_text(text, encoding="utf-8")

    def initialise(self, passphrase: str | None = None, *options: object) -> Production:
        """Make keys and settings, and run ``init``, with these options too."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.write_config()
        if self.kek == "file":
            key = self.directory / "kek"
            key.touch(0o600)
            key.write_bytes(secrets.token_bytes(32))
        _, public = new_credential(self.directory, "admin")
        public_path = self.directory / "admin.pub"
        public_path.write_text(public)
        done = self.run(
            "init", "--org", "Acme", "--owner", "admin@acme.test", "--public-key", public_path, "--json",
            *options, passphrase=passphrase,
        )  # fmt: skip
        assert done.status == 0, done.errors
        self.made = json.loads(done.output)
        return self

    def run(self, *arguments: object, passphrase: str | None = None) -> Done:
        """Run a command over this installation's settings."""
        return countersign(*arguments, env={"COUNTERSIGN_CONFIG": str(self.config)}, passphrase=passphrase)

    def start_signer(self) -> None:
        """The signer as a unit of its own."""
        directory = self.directory / "signer"
        directory.mkdir(mode=0o700, exist_ok=True)
        arguments = ["--socket", str(directory / "signer.sock"), "--kek", self.kek_spec]
        arguments += ["--state", str(self.directory / "signer-state")]
        self.signer = self._born("signer", arguments, "countersign.keystores.signer")

    def start(self) -> None:
        """Start the server and wait until every process of it serves."""
        before = len(self._events("serving"))
        self.server = self._born("server", ["serve", "--config", str(self.config)])
        wanted = before + self.settings.get("processes", 1)
        self.wait(lambda: len(self._events("serving")) >= wanted)

    def _born(self, name: str, arguments: list[str], module: str = "countersign") -> Born:
        with self.log_path(name).open("ab") as log:
            return born(arguments, stdout=log.fileno(), stderr=log.fileno(), env=environment(), module=module)

    def wait(self, met: Callable[[], bool]) -> None:
        """Wait until ``met`` holds; fails when it does not within the patience, or the server ends."""
        deadline = time.monotonic() + PATIENCE
        while not met():
            if self.server is not None and self.server.poll() is not None:
                raise AssertionError(f"the server ended with {self.server.returncode}:\n{self.log()[-3000:]}")
            if time.monotonic() > deadline:
                raise AssertionError(f"waited in vain:\n{self.log()[-3000:]}")
            time.sleep(0.02)

    def log_path(self, name: str) -> Path:
        """What ``server`` or ``signer`` printed."""
        return self.directory / f"{name}.log"

    def log(self) -> str:
        """What the server printed."""
        path = self.log_path("server")
        return path.read_text(errors="replace") if path.exists() else ""

    def _events(self, name: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.log().splitlines() if line.startswith("{") and line.endswith("}")]
        return [event for event in found if event.get("event") == name]

    @property
    def port(self) -> int:
        """Where the server that was started last listens."""
        port: int = self._events("serving")[-1]["port"]
        return port

    @property
    def admin_port(self) -> int:
        """Where its metrics are."""
        ports: list[int] = [event["admin_port"] for event in self._events("serving") if event["admin_port"]]
        return ports[-1]

    @property
    def base_url(self) -> str:
        """The server's address."""
        scheme = "https" if self.settings.get("tls_certificate") else "http"
        return f"{scheme}://localhost:{self.port}"

    @property
    def admin(self) -> Connection:
        """The first administrator's way in."""
        return {
            "baseUrl": self.base_url + str(self.settings.get("mount_prefix", "")),
            "orgId": self.made["orgId"],
            "authToken": self.made["authToken"],
            "credentialId": self.made["credentialId"],
            "privateKeyPath": str(self.directory / "admin.pem"),
        }

    def stop(self) -> int:
        """Stop the server in order; its exit status."""
        assert self.server is not None
        self.server.send_signal(signal.SIGTERM)
        status = self.server.wait(PATIENCE)
        self.server = None
        return status

    def __enter__(self) -> Production:
        self.initialise()
        self.start_signer()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.server is not None:
            if self.server.poll() is None:
                self.stop()
            self.server = None
        if self.signer is not None:
            self.signer.terminate()
            self.signer.wait(PATIENCE)
            self.signer = None
