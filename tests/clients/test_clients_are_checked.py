"""The harness itself: each official client talks to a canned server, and a wrong answer fails the test that got it."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from dfns_sdk.types import DfnsError

from tests.clients.connection import Connection
from tests.clients.sdk_node import NodeClient, NodeSdkError
from tests.clients.sdk_python import python_client
from tests.contract.contract import ContractViolation
from tests.support.contract import ContractTransport

KEY = {
    "id": "key-01snl-t56gb-j8tsok0vn802p80i",
    "scheme": "ECDSA",
    "curve": "secp256k1",
    "publicKey": "02e0f0a5c3a4bd2ba37a8a6ab0ae5e8a2e77ad0ea5b63b6f2b9b1ce3f2b6a7c1d0",
    "status": "Active",
    "custodial": True,
    "wallets": [],
    "store": {"id": "ks-01snl-t56gb-j8tsok0vn802p80i", "kind": "Mpc", "keyId": "key-01snl-t56gb-j8tsok0vn802p80i"},
    "dateCreated": "2026-01-01T00:00:00.000Z",
}
ORG = "or-01snl-t56gb-j8tsok0vn802p80i"
NOT_FOUND = {"error": {"status": 404, "message": "There is no such key."}}


def unsigned_token(org_id: str) -> str:
    """A token with the one claim that the TypeScript SDK reads in it: the organisation must be the configured one."""
    claims = json.dumps({"https://custom/app_metadata": {"orgId": org_id}}).encode()
    return f"e30.{base64.urlsafe_b64encode(claims).rstrip(b'=').decode()}.e30"


@contextmanager
def canned(status: int, body: Any, kind: str = "application/json") -> Iterator[str]:
    """A server on a free loopback port that gives every GET the same answer; yields its base URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def get_key_with_python(connection: Connection) -> Any:
    with python_client(connection) as client:
        return client.keys.get_key(KEY["id"])


def get_key_with_node(connection: Connection) -> Any:
    with NodeClient(connection) as client:
        return client.call("keys.getKey", keyId=KEY["id"])


def get_key_with_httpx(connection: Connection) -> Any:
    with httpx.Client(base_url=connection["baseUrl"], transport=ContractTransport()) as client:
        return client.get(f"/keys/{KEY['id']}").json()


@pytest.fixture
def connect(tmp_path: Path) -> Callable[[str], Connection]:
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "key.pem"
    path.write_bytes(pem)

    def make(base_url: str) -> Connection:
        return {
            "baseUrl": base_url,
            "orgId": ORG,
            "authToken": unsigned_token(ORG),
            "credentialId": "cr-01snl-t56gb-j8tsok0vn802p80i",
            "privateKeyPath": str(path),
        }

    return make


every_client = pytest.mark.parametrize("get_key", [get_key_with_python, get_key_with_node, get_key_with_httpx])


@every_client
def test_a_true_answer_passes(get_key: Callable[[Connection], Any], connect: Callable[[str], Connection]) -> None:
    with canned(200, KEY) as base_url:
        assert get_key(connect(base_url)) == KEY


@every_client
@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(200, {**KEY, "secret": "x"}, id="a member too many"),
        pytest.param(200, {name: KEY[name] for name in KEY if name != "status"}, id="a member missing"),
        pytest.param(201, KEY, id="another status"),
        pytest.param(404, {"message": "no envelope"}, id="an error without envelope"),
    ],
)
def test_an_answer_against_the_contract_fails(
    get_key: Callable[[Connection], Any], connect: Callable[[str], Connection], status: int, body: Any
) -> None:
    with canned(status, body) as base_url, pytest.raises(ContractViolation):
        get_key(connect(base_url))


@every_client
def test_an_answer_that_is_not_json_fails(
    get_key: Callable[[Connection], Any], connect: Callable[[str], Connection]
) -> None:
    with canned(200, KEY, kind="text/html") as base_url, pytest.raises(ContractViolation):
        get_key(connect(base_url))


def test_errors_reach_the_caller_with_status_and_body(connect: Callable[[str], Connection]) -> None:
    with canned(404, NOT_FOUND) as base_url:
        with pytest.raises(DfnsError) as python:
            get_key_with_python(connect(base_url))
        with pytest.raises(NodeSdkError) as typescript:
            get_key_with_node(connect(base_url))
        answer = get_key_with_httpx(connect(base_url))
    assert python.value.status_code == 404
    assert (typescript.value.status, typescript.value.body) == (404, NOT_FOUND)
    assert answer == NOT_FOUND
