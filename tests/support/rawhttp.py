"""HTTP/1.1 written by hand, for requests that no client library sends."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """Status, lower-case headers, body; ``interim`` holds the statuses of 1xx answers before it."""

    status: int
    headers: dict[str, str]
    body: bytes
    interim: tuple[int, ...] = ()

    @property
    def json(self) -> Any:
        """The body as JSON; whatever is answered must be."""
        assert self.headers["content-type"].split(";")[0] == "application/json", self
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The error code, after a look at the whole envelope."""
        envelope = self.json
        assert set(envelope) == {"error", "message"}, envelope
        error = envelope["error"]
        assert set(error) - {"details"} == {"id", "status", "message", "code"}, envelope
        assert error["status"] == self.status
        assert error["id"].startswith("rq-"), envelope
        assert error["message"] == envelope["message"] != ""
        code: str = error["code"]
        return code


class Raw:
    """One connection."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        assert parts.hostname is not None
        self.host = parts.netloc
        self.socket = socket.create_connection((parts.hostname, parts.port or 80), PATIENCE)
        self._buffer = b""

    def send(self, data: bytes) -> None:
        """Put bytes on the wire; a server that hung up already is no error here."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def request(
        self, method: str, target: str | bytes, headers: Iterable[tuple[str, str]] = (), body: bytes | None = None
    ) -> RawAnswer:
        """Send one request and read its answer."""
        self.send(self.message(method, target, headers, body))
        return self.answer(head_only=method == "HEAD")

    def message(
        self, method: str, target: str | bytes, headers: Iterable[tuple[str, str]] = (), body: bytes | None = None
    ) -> bytes:
        """The bytes of one request; ``Host`` and ``Content-Length`` are added."""
        path = target if isinstance(target, bytes) else target.encode()
        lines = [method.encode() + b" " + path + b" HTTP/1.1", f"Host: {self.host}".encode()]
        lines += [f"{name}: {value}".encode("latin-1") for name, value in headers]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}".encode())
        return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")

    def answer(self, *, head_only: bool = False) -> RawAnswer:
        """Read one answer."""
        interim: list[int] = []
        while True:
            head = self._until(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            status = int(first.split(" ")[1])
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            if status >= 200:
                break
            interim.append(status)
        size = 0 if head_only else int(headers.get("content-length", "0"))
        return RawAnswer(status, headers, self._take(size), tuple(interim))

    def closed(self) -> bool:
        """Whether the server ends the connection, once everything was read."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._more()
        head, _, self._buffer = self._buffer.partition(mark)
        return head

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._more()
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError(f"closed in the middle of an answer, after {self._buffer!r}")
        self._buffer += data

    def __enter__(self) -> Raw:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()
