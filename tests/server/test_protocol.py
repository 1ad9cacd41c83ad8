"""The connection: how much of what a client sends is taken before anybody wants it."""

from __future__ import annotations

import asyncio
import tracemalloc
from types import SimpleNamespace
from typing import Any, cast

import pytest

from countersign.api import ApiError, Response
from countersign.server.answers import Outbox
from countersign.server.exchange import Exchange
from countersign.server.http import Answer, Face
from countersign.server.protocol import Limits, RequestProtocol

LIMITS = Limits(header_bytes=32_768, receive_seconds=15, idle_seconds=65, connections=10)
GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
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

    closed = False

    def close(self) -> None:
        self.closed = True


class Slow:
    """A face that answers a request when it is told to; it reads the body then."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.bodies: list[int] = []
        self.lines: list[tuple[bytes, bytes]] = []

    def refuse(self, error: ApiError) -> Response:
        return Response(error.status, b"{}")

    async def answer(
        self, _method: str, _target: bytes, lines: list[tuple[bytes, bytes]], _peer: str, read: Any
    ) -> Answer:
        await self.go.wait()
        self.lines = lines
        self.bodies.append(len(await read(64 << 20)))
        return Answer(Response(200, b"{}"), ())


def connect(face: Slow, count: int = 1) -> list[tuple[RequestProtocol, Transport]]:
    """Connections of one server."""
    state, outbox = SimpleNamespace(connections=set(), tasks=set()), Outbox()
    made = []
    for _ in range(count):
        transport = Transport()
        protocol = RequestProtocol(cast("Face", face), LIMITS, outbox, server_state=state)
        protocol.connection_made(cast("asyncio.Transport", transport))
        made.append((protocol, transport))
    return made


def send(protocol: RequestProtocol, transport: Transport, data: bytes) -> int:
    """Send as much of the data as the server takes; how much that is."""
    taken = 0
    while transport.reading and taken < len(data):
        protocol.data_received(data[taken : taken + len(CHUNK)])
        taken += len(CHUNK)
    return min(taken, len(data))


async def test_a_body_that_nobody_reads_yet_is_not_held_in_memory() -> None:
    """Also that of a request behind another one on its connection, before which no limit is known."""
    face = Slow()
    [(protocol, transport)] = connect(face)
    body = CHUNK * 256
    post = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
    protocol.data_received(GET + post)
    taken = send(protocol, transport, body)
    assert taken <= MOST
    face.go.set()
    while len(face.bodies) < 2:
        await asyncio.sleep(0)
        taken += send(protocol, transport, body[taken:])
    assert face.bodies == [0, len(body)]
    assert transport.reading
    assert not transport.closed


async def test_threat_43_a_body_with_two_lengths_is_not_read() -> None:
    """Whatever the parser made of it."""
    lines = [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")]
    exchange = Exchange("POST", b"/a", lines, keep_alive=True, go_on=lambda: None, on_read=lambda: None)
    exchange.feed(b"x")
    exchange.end()
    with pytest.raises(ApiError) as refused:
        await exchange.read(10)
    assert refused.value.code == "BAD_HEADER"


async def test_a_body_in_tiny_chunks_takes_no_more_memory_than_it_has_bytes() -> None:
    face = Slow()
    [(protocol, transport)] = connect(face)
    protocol.data_received(b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    face.go.set()
    await asyncio.sleep(0)
    tracemalloc.start()
    for _ in range(200):
        protocol.data_received(b"2\r\nab\r\n" * 100)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 100_000
    protocol.data_received(b"0\r\n\r\n")
    await asyncio.sleep(0)
    assert face.bodies == [40_000]
    assert not transport.closed


@pytest.mark.parametrize(("behind", "closed"), [(b"", False), (GET, True)])
async def test_what_follows_the_wish_for_another_protocol_is_no_request(behind: bytes, closed: bool) -> None:
    """The client may speak the other protocol by then; to lose what it said and go on would be worse."""
    face = Slow()
    face.go.set()
    [(protocol, transport)] = connect(face)
    protocol.data_received(b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n" + behind)
    for _ in range(3):
        await asyncio.sleep(0)
    assert transport.sent.count(b"200 OK") == 1
    assert transport.closed is closed


@pytest.mark.parametrize(("lines", "status"), [(127, b"200"), (128, b"431")])
async def test_a_request_has_a_limited_number_of_headers(lines: int, status: bytes) -> None:
    face = Slow()
    face.go.set()
    [(protocol, transport)] = connect(face)
    protocol.data_received(b"GET /a HTTP/1.1\r\nHost: a\r\n" + b"a:b\r\n" * lines + b"\r\n")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert transport.sent.startswith(b"HTTP/1.1 " + status)


async def test_answers_of_one_round_are_written_together_and_none_is_lost_by_a_stop() -> None:
    """The last of them, behind which nobody is under way, goes out at once."""
    face = Slow()
    connections = connect(face, 3)
    for protocol, _ in connections:
        protocol.data_received(GET)
    pipelined, stopped = connections[0][0], connections[1][0]
    pipelined.data_received(GET)
    face.go.set()
    await asyncio.sleep(0)
    assert len(face.bodies) == 3
    assert [transport.sent.count(b"200 OK") for _, transport in connections] == [0, 0, 1]
    stopped.shutdown()
    for _ in range(3):
        await asyncio.sleep(0)
    assert [transport.sent.count(b"200 OK") for _, transport in connections] == [2, 1, 1]
    assert [transport.closed for _, transport in connections] == [False, True, False]


async def test_what_follows_a_body_is_no_header() -> None:
    """RFC 9110 section 6.5.1: trailers must not be merged into the headers."""
    face = Slow()
    [(protocol, transport)] = connect(face)
    post = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    protocol.data_received(post + b"2\r\n{}\r\n0\r\nAuthorization: Bearer a\r\n\r\n")
    face.go.set()
    await asyncio.sleep(0)
    assert face.bodies == [2]
    assert face.lines == [(b"host", b"a"), (b"transfer-encoding", b"chunked")]
    assert b"200 OK" in transport.sent
