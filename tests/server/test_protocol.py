"""The connection: how much of what a client sends is taken before anybody wants it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from countersign.api import Response
from countersign.server.http import Answer, Face
from countersign.server.protocol import Limits, RequestProtocol

LIMITS = Limits(header_bytes=32_768, receive_seconds=15, idle_seconds=65, connections=10)
CHUNK = b"x" * 65_536
#: What a client may make the server hold for a body that nobody reads.
MOST = 1 << 20


class Transport:
    """A client that sends as long as it is read from."""

    reading = True

    def __init__(self) -> None:
        self.sent = b""

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else None

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def write(self, data: bytes) -> None:
        self.sent += data

    def close(self) -> None:
        raise AssertionError("nothing is wrong with this connection")


class Slow:
    """A face that answers a request when it is told to; it reads the body then."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.bodies: list[int] = []

    async def answer(self, _method: str, _target: bytes, _lines: Any, _peer: str, read: Any) -> Answer:
        await self.go.wait()
        self.bodies.append(len(await read(64 << 20)))
        return Answer(Response(200, b"{}"), ())


def send(protocol: RequestProtocol, transport: Transport, data: bytes) -> int:
    """Send as much of the data as the server takes; how much that is."""
    taken = 0
    while transport.reading and taken < len(data):
        protocol.data_received(data[taken : taken + len(CHUNK)])
        taken += len(CHUNK)
    return min(taken, len(data))


async def test_a_body_that_nobody_reads_yet_is_not_held_in_memory() -> None:
    """Also that of a request behind another one on its connection, before which no limit is known."""
    face, transport = Slow(), Transport()
    protocol = RequestProtocol(cast("Face", face), LIMITS, server_state=SimpleNamespace(connections=set(), tasks=set()))
    protocol.connection_made(cast("asyncio.Transport", transport))
    body = CHUNK * 256
    post = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
    protocol.data_received(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n" + post)
    taken = send(protocol, transport, body)
    assert taken <= MOST
    face.go.set()
    while len(face.bodies) < 2:
        await asyncio.sleep(0)
        taken += send(protocol, transport, body[taken:])
    assert face.bodies == [0, len(body)]
    assert transport.reading
