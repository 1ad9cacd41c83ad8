"""Connections that are made to a checked address only: the name is resolved and every answer looked at, each time.

Certificate, SNI and ``Host`` keep the name, since only the connection underneath knows the address. So a name that
resolves to a public address when it is checked and to another a moment later gains nothing: it is resolved once.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpcore

from countersign.outgoing.addresses import Refusal, check_address
from countersign.outgoing.rules import Rules

#: Gives the addresses of a name, in the order to try them. Raises ``OSError`` when it has none.
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]

#: Of many addresses of a name only the first few are tried.
_TRIED = 4
_RESOLVING = 16


class Blocked(Exception):
    """The name leads to an address that is not gone to."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)


class NotFound(Exception):
    """The name has no address."""


class SystemResolver:
    """The system's own, on threads of its own: names that answer slowly keep nobody but others like them waiting."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_RESOLVING, "resolver")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Every address of the name, without repetition."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        )
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    def close(self) -> None:
        """End its threads, without waiting for answers."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """What the connection pool connects with. ``seconds``: for name, connection and TLS together."""

    def __init__(self, rules: Rules, resolve: Resolver, seconds: float) -> None:
        self._rules = rules
        self._resolve = resolve
        self._seconds = seconds
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature of httpcore
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to one of the name's addresses, all of which were checked. Raises ``Blocked``, ``NotFound``."""
        deadline = time.monotonic() + self._seconds
        try:
            async with asyncio.timeout(self._seconds):
                addresses = await self._addresses(host, port)
                return _Stream(await self._connect(addresses, port), deadline)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        try:
            found = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise NotFound(host) from error
        if not found:
            raise NotFound(host)
        free = self._rules.allows_host(host)
        for address in found:
            refused = check_address(address, self._rules.allowance, any_network=free)
            if refused is not None:
                raise Blocked(refused)
        return found[:_TRIED]

    async def _connect(self, addresses: Sequence[str], port: int) -> httpcore.AsyncNetworkStream:
        for address in addresses[:-1]:
            try:
                return await self._inner.connect_tcp(address, port)
            except httpcore.ConnectError:
                continue
        return await self._inner.connect_tcp(addresses[-1], port)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature of httpcore
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Never: no URL of a customer names a socket of this machine."""
        raise Blocked(Refusal("a Unix socket"))

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class _Stream(httpcore.AsyncNetworkStream):
    """A connection whose TLS must be up by the deadline that its making began with."""

    def __init__(self, inner: httpcore.AsyncNetworkStream, deadline: float) -> None:
        self._inner = inner
        self._deadline = deadline

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        return await self._inner.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        left = max(self._deadline - time.monotonic(), 0.001)
        return await self._inner.start_tls(ssl_context, server_hostname, left)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
