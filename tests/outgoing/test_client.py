"""Going out: to checked addresses, by no detour, within bounds (check O2)."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from countersign.cli.certificates import make
from countersign.outgoing import Answer, OutgoingClient, Rules, Unreached
from countersign.outgoing.client import ANSWER_BYTES
from countersign.outgoing.connecting import Resolver
from tests.outgoing.servers import answer, hang, nonsense, reset, serving

LOOPBACK = Rules(allow_http=True, any_port=True, allowed=("127.0.0.0/8", "::1/128"))
PUBLIC_ONLY = Rules(allow_http=True, any_port=True)


class Names:
    """A resolver that answers one list of addresses after the other, the last again and again."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


@asynccontextmanager
async def client(
    rules: Rules = LOOPBACK, resolve: Resolver | None = None, ca: str = "", seconds: float = 10
) -> AsyncIterator[OutgoingClient]:
    made = OutgoingClient(rules, user_agent="test/1", resolve=resolve, ca_bundle=ca, total_seconds=seconds)
    try:
        yield made
    finally:
        await made.close()


async def test_a_request_arrives_as_it_was_given_and_the_answer_comes_back() -> None:
    async with serving(answer("201 Created", b"thanks")) as server, client() as going:
        url = f"http://127.0.0.1:{server.port}/hook?a=b"
        assert await going.post(url, b"{}", {"X-Test": "1"}) == Answer(201, b"thanks")
        head = server.heads[0]
        assert head.startswith("POST /hook?a=b HTTP/1.1\r\n")
        assert f"\r\nHost: 127.0.0.1:{server.port}\r\n" in head
        assert "\r\nUser-Agent: test/1\r\n" in head
        assert "\r\nX-Test: 1\r\n" in head


async def test_o2_a_private_address_is_not_connected_to_under_any_name() -> None:
    async with serving(answer("200 OK")) as server:
        for found in (["127.0.0.1"], ["::ffff:127.0.0.1"], ["1.1.1.1", "127.0.0.1"], ["fe80::1%lo"]):
            async with client(PUBLIC_ONLY, Names(found)) as going:
                url = f"http://public.test:{server.port}/"
                assert await going.post(url, b"", {}) == Unreached("BLOCKED_ADDRESS")
        async with client(PUBLIC_ONLY) as going:
            for host in ("localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "127.1"):
                assert await going.post(f"http://{host}:{server.port}/", b"", {}) == Unreached("BLOCKED_ADDRESS")
        assert server.connections == 0


async def test_o2_a_name_that_is_bound_anew_between_check_and_connection_gains_nothing() -> None:
    """The name is resolved once; whatever it would resolve to later is not asked for."""
    async with serving(answer("200 OK")) as good, serving(answer("200 OK"), host="127.0.0.2") as inside:
        names = Names(["127.0.0.1"], ["127.0.0.2"])
        async with client(Rules(allow_http=True, any_port=True, allowed=("127.0.0.1/32",)), names) as going:
            assert await going.post(f"http://rebinding.test:{good.port}/", b"", {}) == Answer(200, b"")
            assert names.asked == ["rebinding.test"]
            # A connection of its own (another port): now the name leads inside, and is refused.
            assert await going.post(f"http://rebinding.test:{inside.port}/", b"", {}) == Unreached("BLOCKED_ADDRESS")
        assert inside.connections == 0


async def test_o2_redirects_are_answers_and_not_followed() -> None:
    async with serving(answer("200 OK")) as target:
        location = f"Location: http://127.0.0.1:{target.port}/"
        for status in ("301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"):
            async with serving(answer(status, b"", location)) as server, client() as going:
                got = await going.post(f"http://127.0.0.1:{server.port}/", b"", {})
                assert got == Answer(int(status[:3]), b"")
        assert target.connections == 0


async def test_o2_a_redirect_to_what_is_no_url_is_an_answer_like_any_other() -> None:
    """An endpoint that chose one had the delivery fail before it was written down, and a ping answered with 500."""
    for location in ("http://xn--a/", "http://[::1", "javascript:1", "http://a\tb/", "http://a:99999999999/"):
        async with serving(answer("302 Found", b"no", f"location: {location}")) as server, client() as going:
            assert await going.post(f"http://127.0.0.1:{server.port}/", b"", {}) == Answer(302, b"no")


async def test_o2_no_proxy_of_the_environment_and_no_cookies(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(answer("200 OK", b"", "Set-Cookie: a=b")) as server, serving(answer("200 OK")) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with client() as going:
            for _ in range(2):
                assert await going.post(f"http://127.0.0.1:{server.port}/", b"", {}) == Answer(200, b"")
        assert proxy.connections == 0
        assert not any("ookie" in head for head in server.heads)


async def test_a_name_is_resolved_to_an_address_and_stays_in_the_host_header() -> None:
    async with serving(answer("200 OK")) as server, client(LOOPBACK, Names(["127.0.0.1"])) as going:
        assert await going.post(f"http://hooks.test:{server.port}/", b"", {}) == Answer(200, b"")
        assert f"\r\nHost: hooks.test:{server.port}\r\n" in server.heads[0]


async def test_the_next_address_of_a_name_is_tried_when_one_refuses() -> None:
    async with serving(answer("200 OK")) as server, client(LOOPBACK, Names(["127.0.0.3", "127.0.0.1"])) as going:
        assert await going.post(f"http://hooks.test:{server.port}/", b"", {}) == Answer(200, b"")


async def test_each_failure_has_its_word() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        async with client() as going:
            assert await going.post(f"http://127.0.0.1:{port}/", b"", {}) == Unreached("ECONNREFUSED")
    async with serving(reset) as server, client() as going:
        assert await going.post(f"http://127.0.0.1:{server.port}/", b"", {}) == Unreached("ECONNRESET")
    async with serving(nonsense) as server, client() as going:
        assert await going.post(f"http://127.0.0.1:{server.port}/", b"", {}) == Unreached("EPROTO")
    async with serving(hang) as server, client(seconds=0.05) as going:
        assert await going.post(f"http://127.0.0.1:{server.port}/", b"", {}) == Unreached("ETIMEDOUT")

    async def nowhere(_host: str, _port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with client(LOOPBACK, nowhere) as going:
        assert await going.post("http://nowhere.test/", b"", {}) == Unreached("ENOTFOUND")
    async with client(LOOPBACK, Names([])) as going:
        assert await going.post("http://nowhere.test/", b"", {}) == Unreached("ENOTFOUND")


async def test_a_resolver_that_hangs_is_given_up() -> None:
    async def hanging(_host: str, _port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    async with client(LOOPBACK, hanging, seconds=0.05) as going:
        assert await going.post("http://slow.test/", b"", {}) == Unreached("ETIMEDOUT")


async def test_an_endless_answer_is_read_in_part() -> None:
    async with serving(answer("500 Oops", b"x" * 1_000_000)) as server, client() as going:
        assert await going.post(f"http://127.0.0.1:{server.port}/", b"", {}) == Answer(500, b"x" * ANSWER_BYTES)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"])
async def test_o2_an_answer_that_trickles_ends_with_the_time_for_the_whole_exchange(head: bytes) -> None:
    """Each byte comes in time for a limit between two of them: head or body go on for ever."""

    async def trickling(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(head or b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with serving(trickling) as server, client(seconds=0.5) as going, asyncio.timeout(60):
        assert await going.get(f"http://127.0.0.1:{server.port}/", {}, most=1_000_000) == Unreached("ETIMEDOUT")


async def test_o2_an_answer_without_end_is_left_where_enough_was_read() -> None:
    async def endless(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    async with serving(endless) as server, client() as going:
        assert await going.get(f"http://127.0.0.1:{server.port}/", {}, most=5) == Answer(200, b"xxxxx")


async def test_o2_what_is_compressed_is_not_unpacked() -> None:
    bomb = gzip.compress(b"x" * 100_000)
    async with serving(answer("200 OK", bomb, "Content-Encoding: gzip")) as server, client() as going:
        assert await going.post(f"http://127.0.0.1:{server.port}/", b"", {}) == Answer(200, bomb)


async def test_o2_of_many_addresses_a_few_are_tried() -> None:
    refusing = [f"127.0.0.{number}" for number in range(2, 6)]
    async with serving(answer("200 OK")) as server, client(LOOPBACK, Names([*refusing, "127.0.0.1"])) as going:
        assert await going.post(f"http://hooks.test:{server.port}/", b"", {}) == Unreached("ECONNREFUSED")


async def test_certificates_are_checked_against_the_name_and_an_operator_may_add_an_authority(tmp_path: Path) -> None:
    authority, certificate, key = make(tmp_path, ("hooks.test",))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    asked: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    names = Names(["127.0.0.1"])
    async with serving(answer("200 OK"), context) as server:
        async with client(LOOPBACK, names) as going:
            assert await going.post(f"https://hooks.test:{server.port}/", b"", {}) == Unreached("CERT_INVALID")
        async with client(LOOPBACK, names, ca=str(authority)) as going:
            assert await going.post(f"https://hooks.test:{server.port}/", b"", {}) == Answer(200, b"")
            assert await going.post(f"https://other.test:{server.port}/", b"", {}) == Unreached("CERT_INVALID")
    assert asked == ["hooks.test", "hooks.test", "other.test"]
