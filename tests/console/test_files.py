"""The console over HTTP: exactly its files, with the headers that keep others out of its pages."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from countersign.console.files import BUILT
from countersign.server.sandbox import SandboxFiles
from tests.console.built import STATIC
from tests.support.inprocess import BASE_URL, InProcess
from tests.support.server import Sandbox, sandbox


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("console") / "data") as running:
        yield running


def get(server: Sandbox, path: str, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.get(server.values["baseUrl"] + path, headers={"accept-encoding": "identity", **named})


@pytest.mark.parametrize("name", BUILT)
def test_each_file_comes_whole_with_its_type_and_version(server: Sandbox, name: str) -> None:
    content = (STATIC / name).read_bytes()
    answer = get(server, f"/console/{name}")
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["content-type"] == BUILT[name]
    assert answer.headers["etag"] == f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    assert answer.headers["cache-control"] == "no-cache"


def test_page_lets_nothing_in_and_tells_nobody_of_itself(server: Sandbox) -> None:
    answer = get(server, "/console")
    assert answer.content == (STATIC / "index.html").read_bytes()
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"


def test_known_version_is_answered_without_a_body(server: Sandbox) -> None:
    whole = get(server, "/console/app.js")
    tag = whole.headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = get(server, "/console/app.js", if_none_match=known)
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == tag
        assert "content-length" not in answer.headers
        assert "content-security-policy" in answer.headers
    assert get(server, "/console/app.js", if_none_match='"other"').status_code == 200


def test_files_come_packed_to_who_takes_that(server: Sandbox) -> None:
    plain = get(server, "/console/app.js")
    for takes in ("gzip, deflate, br", "br;q=1.0, GZIP;q=0.5"):
        packed = get(server, "/console/app.js", accept_encoding=takes)
        assert (packed.headers["content-encoding"], packed.headers["vary"]) == ("gzip", "Accept-Encoding")
        assert int(packed.headers["content-length"]) < len(plain.content) / 3
        assert packed.content == plain.content
        assert packed.headers["etag"] != plain.headers["etag"]
    for takes in ("br", "gzip;q=0", "x-gzip"):
        assert "content-encoding" not in get(server, "/console/app.js", accept_encoding=takes).headers
    again = get(server, "/console/app.js", accept_encoding="gzip", if_none_match=packed.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")


def test_page_is_told_the_installation_that_signatures_commit_to(server: Sandbox) -> None:
    told = get(server, "/console/settings.json").json()
    assert told["installationId"].startswith("in-")
    assert told["sandbox"] is True


@pytest.mark.parametrize(
    "path",
    [
        "/console/",
        "/console/app.js/",
        "/console/files.py",
        "/console/static/app.js",
        "/console/../console/app.js",
        "/console/..%2ffiles.py",
        "/console/%2e%2e/files.py",
        "/console/....//files.py",
        "/console/%2fetc%2fpasswd",
        "/console/app.js%00",
        "/console/APP.JS",
        "/console/app.js?v=1",
        "//console/app.js",
    ],
)
def test_no_path_leads_to_another_file(server: Sandbox, path: str) -> None:
    # The usual client would tidy the path up.
    parts = urlsplit(server.values["baseUrl"])
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.status in (400, 404)
    assert answer.headers["content-type"] == "application/json"
    connection.close()


def test_only_get_is_taken(server: Sandbox) -> None:
    answer = httpx.post(server.values["baseUrl"] + "/console", json={})
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


def test_console_can_be_switched_off(runner: asyncio.Runner, tmp_path: Path) -> None:
    database = SandboxFiles(tmp_path / "data").database
    with (
        InProcess(runner, tmp_path / "data", database, background=False, console=False) as server,
        server.caller(server.service) as caller,
    ):
        for path in ("/console", "/console/app.js", "/console/settings.json"):
            assert caller.http.get(BASE_URL + path).status_code == 404
