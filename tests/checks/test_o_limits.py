"""O1: what the server takes from the network has bounds, and whoever goes beyond them troubles nobody else."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.support.caller import Caller
from tests.support.rawhttp import Raw, RawAnswer
from tests.support.server import Sandbox

KEY = "/keys/key-00000-00000-0000000000000000"
MIB = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A server with the usual limits; the engine behind it does not matter here."""
    with Sandbox(tmp_path_factory.mktemp("usual") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A server with tight limits on time and connections."""
    environment = {
        "COUNTERSIGN_RECEIVE_SECONDS": "1",
        "COUNTERSIGN_IDLE_SECONDS": "1",
        "COUNTERSIGN_CONNECTION_LIMIT": "20",
    }
    with Sandbox(tmp_path_factory.mktemp("tight") / "data", environment=environment) as running:
        yield running


@pytest.fixture
def raw(server: Sandbox) -> Iterator[Raw]:
    with Raw(server.values["baseUrl"]) as connection:
        yield connection


def base(server: Sandbox) -> str:
    return server.values["baseUrl"]


def bearer(server: Sandbox) -> tuple[str, str]:
    return "Authorization", f"Bearer {server.values['authToken']}"


def serves(server: Sandbox) -> bool:
    return httpx.get(f"{base(server)}/healthz", timeout=10).status_code == 200


def chunked(data: bytes, size: int = 65_536) -> bytes:
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    return b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces) + b"0\r\n\r\n"


def padded(size: int) -> bytes:
    """A JSON object of exactly this many bytes."""
    return b'{"name":"' + b"a" * (size - 11) + b'"}'


BODY_LIMITS = [("PUT", KEY, MIB), ("POST", "/auth/action/init", 2 * MIB), ("POST", "/auth/action", 256 << 10)]


@pytest.mark.parametrize(("method", "path", "limit"), BODY_LIMITS)
def test_o1_a_body_beyond_the_limit_is_refused(server: Sandbox, method: str, path: str, limit: int) -> None:
    with Raw(base(server)) as raw:
        answer = raw.request(method, path, [bearer(server)], padded(limit))
        assert answer.code != "TOO_LARGE"
    with Raw(base(server)) as raw:
        answer = raw.request(method, path, [bearer(server)], padded(limit + 1))
        assert (answer.status, answer.code) == (413, "TOO_LARGE")
        assert str(limit) in answer.json["message"]
    assert serves(server)


@pytest.mark.parametrize(("method", "path", "limit"), BODY_LIMITS)
def test_o1_a_chunked_body_beyond_the_limit_is_refused(server: Sandbox, method: str, path: str, limit: int) -> None:
    headers = [bearer(server), ("Transfer-Encoding", "chunked")]
    with Raw(base(server)) as raw:
        raw.send(raw.message(method, path, headers) + chunked(padded(limit)))
        assert raw.answer().code != "TOO_LARGE"
    with Raw(base(server)) as raw:
        raw.send(raw.message(method, path, headers) + chunked(padded(limit + 1)))
        assert (raw.answer().status, raw.closed()) == (413, True)


def test_o1_a_body_that_is_announced_too_large_is_not_even_waited_for(raw: Raw, server: Sandbox) -> None:
    raw.send(raw.message("PUT", KEY, [bearer(server), ("Content-Length", "99999999999")]))
    answer = raw.answer()
    assert (answer.status, answer.code, answer.headers["connection"]) == (413, "TOO_LARGE", "close")
    assert raw.closed()


def test_o1_an_endless_body_is_cut_off(raw: Raw, server: Sandbox) -> None:
    raw.send(raw.message("PUT", KEY, [bearer(server), ("Transfer-Encoding", "chunked")]))
    for _ in range(40):
        raw.send(b"10000\r\n" + b" " * 65_536 + b"\r\n")
    assert raw.answer().code == "TOO_LARGE"
    assert raw.closed()
    assert serves(server)


def test_o1_a_payload_to_sign_beyond_the_limit_is_refused(server: Sandbox) -> None:
    with Caller(server.service) as caller:
        for size, status in ((MIB, 200), (MIB + 1, 400)):
            body = {
                "userActionPayload": padded(size).decode(),
                "userActionHttpMethod": "PUT",
                "userActionHttpPath": KEY,
            }
            assert caller.send("POST", "/auth/action/init", body).status_code == status
        wide = {**body, "userActionPayload": '{"a":"' + "\u20ac" * (MIB // 3) + '"}'}
        assert caller.send("POST", "/auth/action/init", wide).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"a":[' + b"0," * 500_000 + b"0]}", id="half a million numbers"),
        pytest.param(b'{"a":[' + b"{}," * 300_000 + b"{}]}", id="300 000 objects"),
        pytest.param(b"{" + b",".join(b'"%d":0' % n for n in range(80_000)) + b"}", id="80 000 members"),
        pytest.param(b'{"a":' + b"[" * 500_000, id="half a million levels, not closed"),
        pytest.param(b'{"a":[' + b"0.1," * 250_000 + b"0.1]}", id="250 000 decimals"),
        pytest.param(b'{"a":"' + b"\\u0000" * 170_000 + b'"}', id="170 000 escapes"),
        pytest.param(b'{"a":' + b"9" * (MIB - 10) + b"}", id="a number of a million digits"),
        pytest.param(b'{"a":1e' + b"9" * (MIB - 10) + b"}", id="an exponent of a million digits"),
        pytest.param(b'{"a":' + b" " * (MIB - 10) + b"1}", id="a million spaces"),
    ],
)
def test_o1_bodies_made_to_exhaust_the_reader_are_answered(server: Sandbox, body: bytes) -> None:
    with Caller(server.service) as caller:
        token = caller.action_token("PUT", KEY, {"name": "a"})
        answer = caller.send("PUT", KEY, action=token, content=body)
        assert answer.json()["error"]["code"] in ("BAD_JSON", "USER_ACTION_INVALID")
    assert serves(server)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([("X-Long", "a" * 40_000)], id="one long"),
        pytest.param([(f"X-{n}", "a" * 30) for n in range(1000)], id="a thousand"),
        pytest.param([("X" * 40_000, "a")], id="a long name"),
        pytest.param([("Authorization", "Bearer " + "a" * 40_000)], id="a long token"),
    ],
)
def test_o1_a_header_block_beyond_the_limit_is_refused(raw: Raw, headers: list[tuple[str, str]]) -> None:
    answer = raw.request("GET", "/healthz", headers)
    assert (answer.status, answer.code) == (431, "HEADERS_TOO_LARGE")
    assert raw.closed()


def test_o1_a_long_request_line_is_refused(raw: Raw) -> None:
    answer = raw.request("GET", "/" + "a" * 40_000)
    assert answer.code == "HEADERS_TOO_LARGE"
    assert raw.closed()


def test_o1_headers_that_never_end_are_cut_off(raw: Raw, server: Sandbox) -> None:
    raw.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n")
    for number in range(200):
        raw.send(b"X-%d: " % number + b"a" * 1000 + b"\r\n")
    assert raw.answer().code == "HEADERS_TOO_LARGE"
    assert serves(server)


def test_o1_headers_below_the_limit_pass(raw: Raw) -> None:
    headers = [(f"X-{n}", "a" * 1000) for n in range(31)]
    assert raw.request("GET", "/healthz", headers).status == 200
    assert raw.request("GET", "/healthz", headers).status == 200, "each request has the whole limit"


def dribble(server: Sandbox, start: bytes, piece: bytes) -> RawAnswer:
    """Send ``start``, then ``piece`` again and again until the server answers; what it answers."""
    with Raw(base(server)) as raw:
        raw.send(start)
        raw.socket.settimeout(0.1)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                data = raw.socket.recv(65_536)
            except TimeoutError:
                raw.send(piece)
                continue
            raw._buffer += data
            raw.socket.settimeout(10)
            answer = raw.answer()
            assert raw.closed()
            return answer
    raise AssertionError("the server waits for ever")


_HOST = b"Host: a\r\n"


# Public: elsewhere a stranger is refused before the body.
_POST = b"POST /auth/credentials/code/init HTTP/1.1\r\n" + _HOST

#: What slow clients send at first, and then again and again.
SLOW = {
    "says nothing": (b"", b""),
    "one byte": (b"G", b""),
    "never ends its headers": (b"GET /healthz HTTP/1.1\r\n" + _HOST, b""),
    "one header after another": (b"GET /healthz HTTP/1.1\r\n" + _HOST, b"X-A: a\r\n"),
    "no body": (_POST + b"Content-Length: 1000\r\n\r\n", b""),
    "body in drops": (_POST + b"Content-Length: 1000\r\n\r\n", b" "),
    "chunk by chunk": (_POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
}


def test_o1_slow_clients_are_cut_off_and_others_served(tight: Sandbox) -> None:
    with ThreadPoolExecutor(len(SLOW)) as threads:
        waiting = {name: threads.submit(dribble, tight, start, piece) for name, (start, piece) in SLOW.items()}
        assert serves(tight)
        for name, future in waiting.items():
            answer = future.result()
            assert (answer.status, answer.code) == (408, "TIMEOUT"), name
    assert serves(tight)


def test_o1_a_slow_second_request_is_cut_off_too(tight: Sandbox) -> None:
    with Raw(base(tight)) as raw:
        raw.send(raw.message("GET", "/healthz") + b"GET /healthz HTTP/1.1\r\nHo")
        assert raw.answer().status == 200
        raw.socket.settimeout(15)
        # Told that it was too slow, or just hung up on.
        data = raw.socket.recv(4096)
        assert data == b"" or b" 408 " in data


def test_o1_an_idle_connection_is_closed(tight: Sandbox) -> None:
    with Raw(base(tight)) as raw:
        assert raw.request("GET", "/healthz").status == 200
        raw.socket.settimeout(15)
        assert raw.closed()


def proportional_memory(pid: int) -> int:
    """PSS of a process in KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def test_o1_a_thousand_idle_connections_cost_little_and_others_are_served(server: Sandbox) -> None:
    assert server.process is not None
    parts = httpx.URL(base(server))
    with Caller(server.service) as caller, ExitStack() as open_sockets:
        key = caller.create_key()
        before = proportional_memory(server.process.pid)
        for number in range(1000):
            client = open_sockets.enter_context(socket.create_connection((parts.host, parts.port or 80), 20))
            if number % 2:
                client.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n")
        assert caller.signed("PUT", f"/keys/{key}", {"name": "meanwhile"}).status_code == 200
        assert serves(server)
        grown = proportional_memory(server.process.pid) - before
        assert grown < 64 * 1024, f"{grown} KiB"


def test_o1_more_connections_than_the_limit_are_answered_503(tight: Sandbox) -> None:
    parts = httpx.URL(base(tight))
    refused: list[RawAnswer] = []
    with ExitStack() as kept:
        for _ in range(30):
            raw = kept.enter_context(Raw(base(tight)))
            raw.socket.settimeout(0.05)
            try:
                refused.append(raw.answer())
            except TimeoutError:
                continue
        codes = {(answer.status, answer.code) for answer in refused}
        assert (503, "UNAVAILABLE") in codes
    assert parts.port
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if httpx.get(f"{base(tight)}/healthz").status_code == 200:
            return
    raise AssertionError("the server does not recover")


def test_o1_too_many_requests_are_told_when_to_come_back(tmp_path: Path) -> None:
    environment = {
        "COUNTERSIGN_ORGANISATION_REQUESTS_PER_MINUTE": "30",
        "COUNTERSIGN_ADDRESS_REQUESTS_PER_MINUTE": "60",
    }
    with Sandbox(tmp_path / "data", environment=environment) as server, Caller(server.service) as caller:
        answers = [caller.send("GET", "/auth/credentials") for _ in range(40)]
        assert {answer.status_code for answer in answers} == {200, 429}
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["error"]["code"] == "RATE_LIMITED"
        assert int(refused.headers["retry-after"]) >= 1
        # Strangers have a limit of their own, and wrong tokens get no further than it.
        wrong = {"Authorization": "Bearer x.y.z"}
        strangers = [caller.send("GET", "/auth/credentials", headers=wrong).status_code for _ in range(80)]
        assert set(strangers) == {401, 429}


SECURITY_HEADERS = [
    "Authorization",
    "X-DFNS-USERACTION",
    "X-DFNS-APPID",
    "X-DFNS-NONCE",
    "X-DFNS-APPSECRET",
    "X-DFNS-APISIGNATURE",
    "Host",
    "Content-Type",
    "Content-Encoding",
]


@pytest.mark.parametrize("name", SECURITY_HEADERS)
def test_o1_a_security_header_twice_is_refused(raw: Raw, server: Sandbox, name: str) -> None:
    for second in (name, name.upper(), name.lower()):
        headers = [bearer(server), (name, "a"), (second, "a")]
        answer = raw.request("GET", "/auth/credentials", headers)
        assert (answer.status, answer.code) == (400, "BAD_HEADER")
        assert name.lower() in answer.json["message"]


@pytest.mark.parametrize(
    "name", [name for name in SECURITY_HEADERS if name.startswith(("X-DFNS-A", "X-DFNS-U", "Auth"))]
)
def test_o1_two_security_headers_joined_by_a_proxy_are_refused(raw: Raw, name: str) -> None:
    answer = raw.request("GET", "/auth/credentials", [(name, "a, b")])
    assert (answer.status, answer.code) == (400, "BAD_HEADER")


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(
            b"POST /keys HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
            id="TE and CL",
        ),
        pytest.param(
            b"POST /keys HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
            id="CL and TE",
        ),
        pytest.param(
            b"POST /keys HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked\r\nContent-Length: 5\r\n\r\n"
            b"0\r\n\r\n",
            id="list TE and CL",
        ),
        pytest.param(
            b"POST /keys HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
            id="TE not last chunked",
        ),
        pytest.param(
            b"POST /keys HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", id="unknown TE"
        ),
        pytest.param(
            b"POST /keys HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
            id="space before the colon",
        ),
        pytest.param(
            b"POST /keys HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ", id="two lengths"
        ),
        pytest.param(b"POST /keys HTTP/1.1\r\nHost: a\r\nContent-Length: 2, 3\r\n\r\n{} ", id="list of lengths"),
        pytest.param(b"POST /keys HTTP/1.1\r\nHost: a\r\nContent-Length: -2\r\n\r\n{}", id="negative length"),
        pytest.param(b"POST /keys HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\n{}", id="signed length"),
        pytest.param(b"POST /keys HTTP/1.1\r\nHost: a\r\nContent-Length: 0x2\r\n\r\n{}", id="hexadecimal length"),
        pytest.param(
            b"POST /keys HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n{}",
            id="length beyond 64 bits",
        ),
        pytest.param(
            b"POST /keys HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
            id="no chunk size",
        ),
        pytest.param(
            b"POST /keys HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
            id="negative chunk",
        ),
        pytest.param(
            b"POST /keys HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}x\r\n0\r\n\r\n",
            id="chunk longer than said",
        ),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost a\r\n\r\n", id="header without colon"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\r\n folded\r\n\r\n", id="folded header"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", id="NUL in a header"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX y: a\r\n\r\n", id="space in a name"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n", id="no name"),
        pytest.param(b"GET /healthz HTTP/9.9\r\nHost: a\r\n\r\n", id="unknown version"),
        pytest.param(b"GET /healthz HTP/1.1\r\nHost: a\r\n\r\n", id="another protocol"),
        pytest.param(b"GET /health z HTTP/1.1\r\nHost: a\r\n\r\n", id="space in the target"),
        pytest.param(b"GET  HTTP/1.1\r\nHost: a\r\n\r\n", id="no target"),
        pytest.param(b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", id="NUL in the target"),
        pytest.param(b"GET /keys/\xff HTTP/1.1\r\nHost: a\r\n\r\n", id="raw byte in the target"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32), id="TLS on the plain port"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2 preface"),
        pytest.param(b"\x00\x01\x02\x03\r\n\r\n", id="noise"),
        pytest.param(b"GET /healthz\r\n\r\n", id="HTTP/0.9"),
        pytest.param(b"BREW /healthz HTTP/1.1\r\nHost: a\r\n\r\n", id="unknown method"),
        pytest.param(b"get /healthz HTTP/1.1\r\nHost: a\r\n\r\n", id="method in lower case"),
        pytest.param(b"GET http://a/healthz HTTP/1.1\r\nHost: a\r\n\r\n", id="absolute form"),
        pytest.param(b"GET //a/healthz HTTP/1.1\r\nHost: a\r\n\r\n", id="network path"),
        pytest.param(b"GET healthz HTTP/1.1\r\nHost: a\r\n\r\n", id="no slash"),
        pytest.param(b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", id="asterisk form"),
        pytest.param(b"GET /healthz#a HTTP/1.1\r\nHost: a\r\n\r\n", id="fragment"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", id="two hosts"),
        pytest.param(b"CONNECT example.org:443 HTTP/1.1\r\nHost: a\r\n\r\n", id="tunnel"),
    ],
)
def test_o1_what_is_no_request_of_ours_is_refused_as_json(raw: Raw, server: Sandbox, request_bytes: bytes) -> None:
    raw.send(request_bytes)
    answer = raw.answer()
    assert 400 <= answer.status < 500, answer
    assert answer.code
    assert serves(server)


def test_o1_a_request_smuggled_in_a_body_is_a_body(raw: Raw, server: Sandbox) -> None:
    inner = raw.message("GET", "/auth/credentials", [bearer(server)])
    raw.send(raw.message("PUT", KEY, [bearer(server)], inner) + raw.message("GET", "/healthz"))
    assert raw.answer().code == "BAD_JSON"
    second = raw.answer()
    assert second.json == {"status": "ok"}


@pytest.mark.parametrize("method", ["PATCH", "HEAD", "TRACE", "DELETE", "POST"])
def test_o1_a_method_that_a_path_does_not_have_is_405(raw: Raw, method: str) -> None:
    answer = raw.request(method, "/healthz")
    assert answer.status == 405
    assert answer.headers["allow"] == "GET"
    if method != "HEAD":
        assert answer.code == "METHOD"
    # The connection goes on.
    assert raw.request("GET", "/healthz").status == 200


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT"])
def test_o1_an_unknown_path_is_404(raw: Raw, method: str) -> None:
    assert raw.request(method, "/nothing").code == "NOT_FOUND"


def test_o1_http_1_0_is_answered_and_closed(raw: Raw, server: Sandbox) -> None:
    raw.send(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert raw.answer().json == {"status": "ok"}
    assert raw.closed()


def test_o1_pipelined_requests_are_answered_in_order(raw: Raw, server: Sandbox) -> None:
    first = raw.message("GET", "/healthz")
    second = raw.message("PUT", KEY, [bearer(server)], b"[")
    third = raw.message("GET", "/nothing")
    raw.send(first + second + third + first)
    assert raw.answer().json == {"status": "ok"}
    assert raw.answer().code == "BAD_JSON"
    assert raw.answer().code == "NOT_FOUND"
    assert raw.answer().json == {"status": "ok"}


def test_o1_a_client_that_expects_continue_gets_it_unless_the_body_is_too_large(server: Sandbox) -> None:
    headers = [bearer(server), ("Expect", "100-continue")]
    with Raw(base(server)) as raw:
        raw.send(raw.message("PUT", KEY, [*headers, ("Content-Length", "2")]))
        raw.socket.settimeout(10)
        raw._more()
        assert raw._buffer.startswith(b"HTTP/1.1 100 ")
        raw.send(b"[]")
        answer = raw.answer()
        assert (answer.interim, answer.code) == ((100,), "BAD_JSON")
    with Raw(base(server)) as raw:
        raw.send(raw.message("PUT", KEY, [*headers, ("Content-Length", str(2 * MIB))]))
        answer = raw.answer()
        assert (answer.interim, answer.status) == ((), 413)


def test_o1_nobody_is_talked_into_another_protocol(raw: Raw) -> None:
    for upgrade in ("websocket", "h2c", "TLS/1.0"):
        headers = [
            ("Connection", "Upgrade"),
            ("Upgrade", upgrade),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ]
        assert raw.request("GET", "/healthz", headers).json == {"status": "ok"}


def test_o1_a_client_that_hangs_up_in_the_middle_is_no_fault(server: Sandbox) -> None:
    for part in (b"", b"GET /he", b"PUT /keys/a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{}"):
        with Raw(base(server)) as raw:
            raw.send(part)
    assert serves(server)
    events = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    assert [event for event in events if event.get("event") == "fault"] == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("Content-Type", "text/plain")], 415),
        ([("Content-Type", "application/x-www-form-urlencoded")], 415),
        ([("Content-Type", "application/json; charset=latin-1")], 415),
        ([("Content-Encoding", "gzip")], 415),
        ([("Content-Encoding", "identity, gzip")], 415),
        ([("Content-Type", "application/json; charset=UTF-8")], 400),
        ([("Content-Type", "APPLICATION/JSON")], 400),
        ([], 400),
    ],
)
def test_o1_only_plain_json_is_read(raw: Raw, server: Sandbox, headers: list[tuple[str, str]], status: int) -> None:
    answer = raw.request("POST", "/auth/action", [bearer(server), *headers], b"{}")
    assert (answer.status, answer.code) == (status, "MEDIA_TYPE" if status == 415 else "VALIDATION")
