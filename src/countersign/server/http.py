"""The HTTP face: uvicorn's protocol with limits, and the ASGI application that hands requests to the corridor."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from countersign.access.origins import Origins
from countersign.api import ApiError, Response
from countersign.server.corridor import Corridor
from countersign.server.head import Head
from countersign.storage import StorageUnavailable

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Scope = MutableMapping[str, Any]


_MALFORMED = "Bad Request: not a well-formed HTTP/1.1 request"
_MALFORMED_HINT = "Send HTTP/1.1 as RFC 9112 describes it: one length, no folded headers, no control characters."


def limited_protocol(
    *,
    header_limit: int,
    receive_seconds: float,
    connection_limit: int,
    refusal: Callable[[ApiError], Response],
) -> type[HttpToolsProtocol]:
    """uvicorn's HTTP/1.1 protocol, with the limits it does not have: header size, slow clients, connections.

    A request must be complete within ``receive_seconds``. ``refusal`` makes the answer to what never becomes a
    request.
    """

    class LimitedProtocol(HttpToolsProtocol):
        receiving_since: float | None = None
        #: Bytes that arrived while the headers were not complete, ``None`` once they are.
        header_bytes: int | None = 0
        #: Of those, what the parser has made out: the measure when a whole request arrives at once.
        parsed_bytes = 0

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.receiving_since = self.loop.time()
            if len(self.connections) > connection_limit:
                self.refuse(ApiError("UNAVAILABLE", "Too many connections."))

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            if self.header_bytes is not None:
                self.header_bytes += len(data)
            if self.receiving_since is None:
                self.receiving_since = self.loop.time()
            super().data_received(data)
            if self.header_bytes is not None and self.header_bytes > header_limit:
                self.refuse(ApiError("HEADERS_TOO_LARGE"))

        def on_message_begin(self) -> None:
            self.parsed_bytes = 0
            super().on_message_begin()

        def on_url(self, url: bytes) -> None:
            self.parsed(len(url))
            super().on_url(url)

        def on_header(self, name: bytes, value: bytes) -> None:
            self.parsed(len(name) + len(value) + 4)
            super().on_header(name, value)

        def parsed(self, size: int) -> None:
            self.parsed_bytes += size
            if self.parsed_bytes > header_limit:
                raise ValueError("the headers are larger than the limit")

        def on_headers_complete(self) -> None:
            if self.parser.get_http_version() not in ("1.0", "1.1"):
                # The parser also reads HTTP/0.9, whose requests have no headers; it takes this for its own error.
                raise ValueError("not HTTP/1")
            self.header_bytes = None
            # The raw target goes on untouched; uvicorn's own reading of it is not used.
            cast("MutableMapping[str, Any]", self.scope)["countersign.target"] = self.url
            self.url = b"/"
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self.receiving_since = None
            self.header_bytes = 0
            super().on_message_complete()

        def send_400_response(self, msg: str) -> None:
            # Also what the parser says when one of the callbacks above raised.
            if self.parsed_bytes > header_limit:
                self.refuse(ApiError("HEADERS_TOO_LARGE"))
                return
            self.refuse(ApiError("BAD_HEADER", _MALFORMED, details={"hint": _MALFORMED_HINT}))

        def refuse(self, error: ApiError) -> None:
            """Answer without a request, and close."""
            if self.transport.is_closing():
                return
            response = refusal(error)
            status = HTTPStatus(response.status)
            head = (
                f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
                f"content-length: {len(response.content)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + response.content)
            self.transport.close()

        def cut_off_if_slow(self, now: float) -> None:
            """Close when the request at hand has been arriving for too long."""
            if self.receiving_since is None or now - self.receiving_since < receive_seconds:
                return
            if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
                self.refuse(ApiError("TIMEOUT"))
            else:
                self.transport.close()

    return LimitedProtocol


async def cut_off_slow_clients(connections: set[Any], interval: float = 1.0) -> None:
    """Look at every connection now and then; runs until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(interval)
        now = loop.time()
        for connection in list(connections):
            connection.cut_off_if_slow(now)


class Application:
    """The ASGI application: one HTTP request in, one answer out. Without ``origins`` any page may read answers."""

    def __init__(self, corridor: Corridor, trusted_proxies: tuple[str, ...], origins: Origins | None) -> None:
        self._corridor = corridor
        self.refusal = corridor.refuse
        self._trusted = tuple(ipaddress.ip_network(proxy) for proxy in trusted_proxies)
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"unexpected scope {scope['type']}")
        lines: list[tuple[bytes, bytes]] = scope["headers"]
        path, mark, query = scope["countersign.target"].partition(b"?")
        peer = scope["client"][0] if scope["client"] else ""
        method = scope["method"]
        named = dict(lines)
        cross = await self._cross_origin(named.get(b"origin"))
        if method == "OPTIONS" and b"origin" in named and b"access-control-request-method" in named:
            allowed = any(name == b"access-control-allow-origin" for name, _ in cross)
            await _send(send, Response(204, b""), [*cross, *(_CORS_PREFLIGHT if allowed else [])])
            return
        head = Head(method, path, query, lines, self._client_address(peer, lines), bool(mark))
        body = _Body(named, receive)
        response = await self._corridor.handle(head, body.read)
        # What is left of a body is not read; the connection can't be used again.
        await _send(send, response, cross if body.complete else [*cross, (b"connection", b"close")])

    async def _cross_origin(self, origin: bytes | None) -> list[tuple[bytes, bytes]]:
        """Headers that let the page at the origin read the answer, if it is one that is named here."""
        if self._origins is None:
            return _CORS_ANY
        if origin is None:
            return _CORS_NONE
        try:
            known = await self._origins.knows(origin.decode("latin-1"))
        except StorageUnavailable:
            known = False
        if not known:
            return _CORS_NONE
        return [(b"access-control-allow-origin", origin), *_CORS_NONE, _EXPOSED]

    def _client_address(self, peer: str, lines: list[tuple[bytes, bytes]]) -> str:
        """The peer, or what trusted proxies say of it: the last address of the chain that is not one of them."""
        if not self._trusted or not self._is_trusted(peer):
            return peer
        chain = [
            part.strip()
            for name, value in lines
            if name == b"x-forwarded-for"
            for part in value.decode("latin-1").split(",")
        ]
        for address in reversed(chain):
            if not self._is_trusted(address):
                return address if _is_address(address) else peer
        return peer

    def _is_trusted(self, address: str) -> bool:
        return _is_address(address) and any(ipaddress.ip_address(address) in network for network in self._trusted)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class _Body:
    """The body of one request. ``complete``: nothing of it is left on the connection."""

    __slots__ = ("_chunked", "_length", "_receive", "complete")

    def __init__(self, headers: dict[bytes, bytes], receive: Receive) -> None:
        length = headers.get(b"content-length")
        # The parser has refused anything but one number.
        self._length = None if length is None else int(length)
        self._chunked = b"transfer-encoding" in headers
        self._receive = receive
        self.complete = not self._length and not self._chunked

    async def read(self, limit: int) -> bytes:
        """All of it; 413 when it is longer than ``limit`` bytes."""
        length = self._length
        if length is not None and self._chunked:
            raise ApiError("BAD_HEADER", "Bad Request: Transfer-Encoding and Content-Length together")
        if length is None and not self._chunked:
            return b""
        if length is not None and length > limit:
            raise _too_large(limit)
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ApiError("TIMEOUT", reason="the client went away")
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
            chunks.append(chunk)
            if not message.get("more_body", False):
                self.complete = True
                return b"".join(chunks)


def _too_large(limit: int) -> ApiError:
    return ApiError("TOO_LARGE", f"The body is larger than {limit} bytes.")


_EXPOSED = (b"access-control-expose-headers", b"x-dfns-result-truncated, retry-after, x-request-id")
_CORS_ANY: list[tuple[bytes, bytes]] = [(b"access-control-allow-origin", b"*"), _EXPOSED]
_CORS_NONE: list[tuple[bytes, bytes]] = [(b"vary", b"Origin")]
_CORS_PREFLIGHT: list[tuple[bytes, bytes]] = [
    (b"access-control-allow-methods", b"GET, POST, PUT, DELETE, OPTIONS"),
    (
        b"access-control-allow-headers",
        b"authorization, content-type, x-dfns-appid, x-dfns-nonce, x-dfns-useraction, x-dfns-appsecret, "
        b"x-dfns-apisignature, x-dfns-sdk-version",
    ),
    (b"access-control-max-age", b"600"),
]


async def _send(send: Send, response: Response, extra: list[tuple[bytes, bytes]]) -> None:
    headers = [
        (b"content-type", response.media_type.encode()),
        (b"content-length", str(len(response.content)).encode()),
        *[(name.lower().encode(), value.encode("latin-1")) for name, value in response.headers.items()],
        *extra,
    ]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})
