"""A price service in a process of its own, which answers as a file says: ``python price_service.py DIRECTORY``.

It prints its port, answers each GET with ``status`` and ``body`` of ``answer.json`` after ``hold`` is gone, and notes
path and key of each request in ``asked``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class PriceService:
    """The process, as a test steers it."""

    def __init__(self, directory: Path, port: int) -> None:
        self._directory = directory
        self.url = f"http://127.0.0.1:{port}/api/v3"

    def says(self, body: Any, status: int = 200) -> None:
        """What it answers from now on; text as it is, so that a test can write a number as it likes."""
        text = body if isinstance(body, str) else json.dumps(body)
        written = self._directory / "new"
        written.write_text(json.dumps({"status": status, "body": text}))
        written.replace(self._directory / "answer.json")

    def calls(self, selector: str, *words: int) -> None:
        """What a node answers for a contract's function from now on."""
        result = "0x" + "".join(f"{word % (1 << 256):064x}" for word in words)
        (self._directory / selector).write_text(json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}))

    def fails(self, selector: str) -> None:
        """The node says that it can't."""
        error = {"code": -32000, "message": "execution reverted"}
        (self._directory / selector).write_text(json.dumps({"jsonrpc": "2.0", "id": 1, "error": error}))

    def hold(self) -> None:
        """Answer nothing any more."""
        (self._directory / "hold").touch()

    def forget(self) -> None:
        """Answer again, with nothing, and know of no request."""
        for name in ("hold", "asked"):
            (self._directory / name).unlink(missing_ok=True)
        self.says({})

    @property
    def asked(self) -> list[str]:
        """Path and key of each request so far."""
        file = self._directory / "asked"
        return file.read_text().splitlines() if file.exists() else []


@contextmanager
def price_service(directory: Path) -> Iterator[PriceService]:
    """A running service for the time of the block."""
    directory.mkdir()
    command = [sys.executable, __file__, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            service = PriceService(directory, int(process.stdout.readline()))
            service.forget()
            yield service
        finally:
            process.kill()


class _Handler(BaseHTTPRequestHandler):
    directory: Path

    def do_GET(self) -> None:
        with (self.directory / "asked").open("a") as file:
            file.write(f"{self.path} {self.headers.get('x-cg-pro-api-key', '-')}\n")
        while (self.directory / "hold").exists():
            time.sleep(0.01)
        answer = json.loads((self.directory / "answer.json").read_text())
        body = answer["body"].encode()
        self.send_response(answer["status"])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        call = asked["params"][0]
        with (self.directory / "asked").open("a") as file:
            file.write(f"{call['to']} {call['data']}\n")
        body = (self.directory / call["data"]).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


if __name__ == "__main__":
    _Handler.directory = Path(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
