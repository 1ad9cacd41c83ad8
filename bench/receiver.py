"""A receiver of webhooks as cheap as one can be: answers 200 to every POST on loopback, keeps what came and when.

A process of its own. Reads commands as JSON lines on standard input and answers each with a line. Times are those of
the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any, cast

import uvloop

_OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class Receiver:
    """What arrived since the last time that somebody asked: bodies, with seconds."""

    def __init__(self) -> None:
        self._arrived: list[tuple[float, bytes]] = []
        self._more = asyncio.Event()

    def take(self, body: bytes) -> None:
        """Keep a body."""
        self._arrived.append((time.perf_counter(), body))
        self._more.set()

    async def wait(self, count: int, seconds: float) -> list[tuple[float, bytes]]:
        """So many of them, or those that came in that time; they are forgotten here."""
        try:
            async with asyncio.timeout(seconds):
                while len(self._arrived) < count:
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            pass
        arrived, self._arrived = self._arrived, []
        return arrived


class Connection(asyncio.Protocol):
    """One connection; requests carry a Content-Length."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            head = buffer[:end].lower()
            start = head.index(b"\r\ncontent-length:") + 17
            stop = head.find(b"\r\n", start)
            whole = end + 4 + int(head[start : stop if stop >= 0 else end])
            if len(buffer) < whole:
                break
            self._receiver.take(buffer[end + 4 : whole])
            self._transport.write(_OK)
            buffer = buffer[whole:]
        self._buffer = buffer


async def _serve() -> None:
    loop, receiver = asyncio.get_running_loop(), Receiver()
    server = await loop.create_server(lambda: Connection(receiver), "127.0.0.1", 0)
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        command: dict[str, Any] = json.loads(line)
        if command["do"] == "port":
            answer: dict[str, Any] = {"port": server.sockets[0].getsockname()[1]}
        else:
            arrived = await receiver.wait(command["count"], command["seconds"])
            answer = {"times": [at for at, _ in arrived], "bodies": [body.decode() for _, body in arrived]}
        print(json.dumps(answer), flush=True)


def main() -> None:
    """Receive until standard input ends."""
    os.sched_setaffinity(0, json.loads(sys.argv[1]))
    uvloop.run(_serve())


if __name__ == "__main__":
    main()
