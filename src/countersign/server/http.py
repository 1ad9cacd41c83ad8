"""The HTTP face of the corridor: who the client is, which web pages may read answers, where the body comes from."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from functools import lru_cache

import msgspec

from countersign.access.origins import Origins
from countersign.api import ApiError, Response
from countersign.server.corridor import Corridor
from countersign.server.head import Head
from countersign.storage import StorageUnavailable

Lines = list[tuple[bytes, bytes]]
Headers = tuple[tuple[bytes, bytes], ...]


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A response, and headers that depend on who asked."""

    response: Response
    headers: Headers


class Face:
    """One HTTP request in, one answer out. Without ``origins`` any web page may read answers."""

    def __init__(self, corridor: Corridor, trusted_proxies: tuple[str, ...], origins: Origins | None) -> None:
        self._corridor = corridor
        self.refuse = corridor.refuse
        self._trusted = tuple(ipaddress.ip_network(proxy) for proxy in trusted_proxies)
        self._origins = origins

    async def answer(
        self, method: str, target: bytes, lines: Lines, peer: str, read_body: Callable[[int], Awaitable[bytes]]
    ) -> Answer:
        """Answer one request.

        ``target`` is raw, ``lines`` are headers with lower-case names, ``peer`` is the address that connected.
        ``read_body`` takes the most bytes that are wanted and raises 413 when there are more.
        """
        address = self._client_address(peer, lines) if self._trusted else peer
        origin = _value(lines, b"origin")
        cross = (
            _CORS_NONE if origin is None and self._origins is not None else await self._cross_origin(origin, address)
        )
        if method == "OPTIONS" and origin is not None and _value(lines, b"access-control-request-method") is not None:
            return Answer(Response(204, b""), cross + _CORS_PREFLIGHT if _allows(cross) else cross)
        path, mark, query = target.partition(b"?")
        return Answer(
            await self._corridor.handle(Head(method, path, query, lines, address, bool(mark)), read_body), cross
        )

    async def _cross_origin(self, origin: bytes | None, address: str) -> Headers:
        """Headers that let the page at the origin read the answer, if it is one that is named here."""
        if self._origins is None:
            return _CORS_ANY
        if origin is None:
            return _CORS_NONE
        try:
            known = await self._origins.knows(origin.decode("latin-1"), address)
        except StorageUnavailable:
            known = False
        if not known:
            return _CORS_NONE
        return ((b"access-control-allow-origin", origin), *_CORS_NONE, _EXPOSED)

    def _client_address(self, peer: str, lines: Lines) -> str:
        """The peer, or what trusted proxies say of it: the last address of the chain that is not one of them."""
        if not self._is_trusted(peer):
            return peer
        chain = [
            part.strip()
            for name, value in lines
            if name == b"x-forwarded-for"
            for part in value.decode("latin-1").split(",")
        ]
        for address in reversed(chain):
            if not self._is_trusted(address):
                return address if _forms(address) else peer
        return peer

    def _is_trusted(self, address: str) -> bool:
        return any(form in network for form in _forms(address) for network in self._trusted)


def too_large(limit: int) -> ApiError:
    """413 for a body of more than ``limit`` bytes."""
    return ApiError("TOO_LARGE", f"The body is larger than {limit} bytes.")


@lru_cache(maxsize=1024)
def _forms(text: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, ...]:
    """The address, and the IPv4 one that it stands for: on ``::`` an IPv4 peer is called ``::ffff:10.0.0.1``.

    Empty for what is no address.
    """
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return ()
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (parsed,) if mapped is None else (parsed, mapped)


def _value(lines: Lines, wanted: bytes) -> bytes | None:
    for name, value in lines:
        if name == wanted:
            return value
    return None


def _allows(headers: Headers) -> bool:
    return any(name == b"access-control-allow-origin" for name, _ in headers)


_EXPOSED = (b"access-control-expose-headers", b"x-dfns-result-truncated, retry-after, x-request-id")
_CORS_ANY: Headers = ((b"access-control-allow-origin", b"*"), _EXPOSED)
_CORS_NONE: Headers = ((b"vary", b"Origin"),)
_CORS_PREFLIGHT: Headers = (
    (b"access-control-allow-methods", b"GET, POST, PUT, DELETE, OPTIONS"),
    (
        b"access-control-allow-headers",
        b"authorization, content-type, x-dfns-appid, x-dfns-nonce, x-dfns-useraction, x-dfns-appsecret, "
        b"x-dfns-apisignature, x-dfns-sdk-version",
    ),
    (b"access-control-max-age", b"600"),
)
