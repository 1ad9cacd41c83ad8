"""A receiver of webhooks: a real HTTP server on loopback that keeps what it is sent."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Received:
    """One delivery as it arrived; header names in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def signature(self) -> str:
        return self.headers["x-dfns-webhook-signature"]

    def json(self) -> dict[str, Any]:
        decoded: dict[str, Any] = json.loads(self.body)
        return decoded


@dataclass
class Receiver:
    """``answer`` gives the status for a delivery, 200 for every one at first."""

    answer: Callable[[Received], int] = lambda _received: 200
    received: list[Received] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self._connections: list[socket.socket] = []
        receiver, connections = self, self._connections

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if len(body) < length:
                    # Its sender was killed in the middle of it.
                    self.close_connection = True
                    return
                headers = {name.lower(): value for name, value in self.headers.items()}
                self.send_response(receiver.take(Received(self.path, headers, body)))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def process_request(self, request: Any, client_address: Any) -> None:
                connections.append(request)
                super().process_request(request, client_address)

            def handle_error(self, *_arguments: object) -> None:
                """A sender that was killed in the middle is no fault here."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/hook"

    def take(self, received: Received) -> int:
        status = self.answer(received)
        with self._changed:
            self.received.append(received)
            self._changed.notify_all()
        return status

    def wait(self, what: str, enough: Callable[[list[Received]], bool]) -> list[Received]:
        """What was received so far, once that is enough."""
        with self._changed:
            assert self._changed.wait_for(lambda: enough(self.received), PATIENCE_S), f"{what}: {self.received}"
            return list(self.received)

    def of_kind(self, kind: str, number: int = 1) -> list[Received]:
        """The deliveries of a kind, once there are so many."""

        def found(all_: list[Received]) -> list[Received]:
            return [each for each in all_ if each.json()["kind"] == kind]

        return found(self.wait(f"{number} of {kind}", lambda all_: len(found(all_)) >= number))

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
