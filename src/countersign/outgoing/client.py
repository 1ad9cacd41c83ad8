"""The client: one request, no redirects, bounded in time and size, and one word for whatever goes wrong."""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import httpcore
import httpx

from countersign.outgoing.addresses import Allowance, check_address
from countersign.outgoing.connecting import Blocked, CheckedBackend, NotFound, Resolver, SystemResolver
from countersign.outgoing.rules import Rules, check_url

#: Seconds for name, connection and TLS, and for the whole exchange.
CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 10.0
#: Bytes of an answer to a POST that are read unless told otherwise; the rest is left unread and its connection closed.
ANSWER_BYTES = 4096
#: An idle connection is used again for that long; its address was checked when it was made. Less than servers usually
#: keep one, so that none is closed just as it is used.
_IDLE_SECONDS = 2.0
_CONNECTIONS = 512
_FROM = "countersign.from"
_NOTHING_ALLOWED = Allowance()
_KEPT = 64
#: Headers of an answer that httpx would look into, followed or not: one that it can't read would be an exception, and
#: the cookies of an answer would go with requests to others of the same host.
_UNREAD = frozenset({b"location", b"set-cookie"})

_NAMED = {
    errno.ECONNREFUSED: "ECONNREFUSED",
    errno.ECONNRESET: "ECONNRESET",
    errno.EPIPE: "ECONNRESET",
    errno.ECONNABORTED: "ECONNRESET",
    errno.ETIMEDOUT: "ETIMEDOUT",
    errno.EHOSTUNREACH: "EHOSTUNREACH",
    errno.ENETUNREACH: "ENETUNREACH",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and the beginning of the body as it came, at most as much as was asked for.

    ``public``: whether it came from a public address. Text from any other is not for customers: with it the server
    would read for them what lies inside the operator's network.
    """

    status: int
    body: bytes
    public: bool = False


@dataclass(frozen=True, slots=True)
class Unreached:
    """No answer: ``BLOCKED_ADDRESS``, ``ECONNREFUSED``, ``ETIMEDOUT``, ``ENOTFOUND``, ``ECONNRESET``, ``CERT_INVALID``,
    ``EPROTO`` (TLS or HTTP was not spoken), or the system's own name of an error.
    """

    code: str


class CheckedTransport(httpx.AsyncBaseTransport):
    """A transport for httpx that goes to checked addresses only, and by no proxy."""

    def __init__(self, rules: Rules, resolve: Resolver, context: ssl.SSLContext) -> None:
        self._rules = rules
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=_CONNECTIONS,
            max_keepalive_connections=_KEPT,
            keepalive_expiry=_IDLE_SECONDS,
            network_backend=CheckedBackend(rules, resolve, CONNECT_SECONDS),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request and the head of its answer. Raises ``Blocked`` for a URL that is not gone to."""
        refused = check_url(str(request.url), self._rules)
        if refused is not None:
            raise Blocked(refused)
        url = request.url
        answer = await self._pool.handle_async_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        assert isinstance(answer.stream, AsyncIterable)
        stream = answer.extensions["network_stream"]
        return httpx.Response(
            answer.status,
            headers=[(name, value) for name, value in answer.headers if name.lower() not in _UNREAD],
            stream=_Body(answer.stream),
            extensions={_FROM: stream.get_extra_info("server_addr")},
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, inner: AsyncIterable[bytes]) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._inner:
            yield part

    async def aclose(self) -> None:
        close = getattr(self._inner, "aclose", None)
        if close is not None:
            await close()


class OutgoingClient:
    """Made once per process, on its event loop. ``resolve`` is the system's where none is given."""

    def __init__(
        self,
        rules: Rules,
        *,
        user_agent: str,
        ca_bundle: str = "",
        resolve: Resolver | None = None,
        total_seconds: float = TOTAL_SECONDS,
    ) -> None:
        self.rules = rules
        self._own = SystemResolver() if resolve is None else None
        self._total = total_seconds
        self._http = httpx.AsyncClient(
            transport=CheckedTransport(rules, resolve or self._own or SystemResolver(), _trust(ca_bundle)),
            headers={"User-Agent": user_agent, "Accept": "*/*", "Accept-Encoding": "identity"},
            follow_redirects=False,
            trust_env=False,
            timeout=total_seconds,
        )

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, most: int = ANSWER_BYTES
    ) -> Answer | Unreached:
        """POST once; ``most`` bytes of the answer. Never raises for what the URL or its server does."""
        return await self._send("POST", url, body, headers, most)

    async def get(self, url: str, headers: Mapping[str, str], *, most: int) -> Answer | Unreached:
        """GET once; ``most`` bytes of the answer. Never raises for what the URL or its server does."""
        return await self._send("GET", url, None, headers, most)

    async def _send(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], most: int
    ) -> Answer | Unreached:
        if check_url(url, self.rules) is not None:
            return Unreached("BLOCKED_ADDRESS")
        try:
            async with asyncio.timeout(self._total):
                request = self._http.build_request(method, url, content=body, headers=dict(headers))
                answer = await self._http.send(request, stream=True)
                try:
                    return Answer(answer.status_code, await _beginning(answer, most), _is_public(answer))
                finally:
                    await answer.aclose()
        except TimeoutError:
            return Unreached("ETIMEDOUT")
        except (Blocked, NotFound, httpcore.NetworkError, httpcore.TimeoutException, OSError) as error:
            return Unreached(_code(error))
        except httpcore.ProtocolError as error:
            # An end in the middle of an answer has no class of its own.
            ended = "disconnected" in str(error) or "closed connection" in str(error)
            return Unreached("ECONNRESET" if ended else "EPROTO")
        except (httpx.InvalidURL, httpx.RequestError):
            return Unreached("EPROTO")

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()
        if self._own is not None:
            self._own.close()


async def _beginning(answer: httpx.Response, most: int) -> bytes:
    found = b""
    async for part in answer.aiter_raw():
        found += part
        if len(found) >= most:
            break
    return found[:most]


def _is_public(answer: httpx.Response) -> bool:
    address = answer.extensions[_FROM]
    return isinstance(address, tuple) and check_address(str(address[0]), _NOTHING_ALLOWED) is None


@lru_cache(maxsize=4)
def _trust(ca_bundle: str) -> ssl.SSLContext:
    """Read once for all clients of a process: it takes 20 ms."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_bundle:
        context.load_verify_locations(ca_bundle)
    return context


def _code(error: BaseException) -> str:
    """The one word for a failure, from the first of its causes that has one."""
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        match cause:
            case Blocked():
                return "BLOCKED_ADDRESS"
            case NotFound():
                return "ENOTFOUND"
            case ssl.SSLCertVerificationError():
                return "CERT_INVALID"
            case ssl.SSLError():
                return "EPROTO"
            case TimeoutError() | httpcore.TimeoutException():
                return "ETIMEDOUT"
            case OSError(errno=number) if number in _NAMED:
                return _NAMED[number]
        cause = cause.__cause__ or cause.__context__
    # Both say that the other side went away in the middle.
    return "ECONNRESET" if isinstance(error, httpcore.ReadError | httpcore.WriteError) else "ECONNREFUSED"
