"""The official TypeScript SDK, unmodified, in a Node process of its own; every answer is checked against the contract.

    with NodeClient(connection) as typescript:
        key = typescript.call("keys.createKey", body={"scheme": "ECDSA", "curve": "secp256k1"})

Without Node, or before ``make test`` has installed the SDK, the test that asks for a client is skipped;
``COUNTERSIGN_REQUIRE_NODE=1`` makes it fail instead.
"""

from __future__ import annotations

import itertools
import json
import os
import select
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from tests.clients.connection import Connection, private_key
from tests.support.contract import check_raw

HERE = Path(__file__).parent / "node"

#: Seconds until a call that does not come back is given up: far above any real one.
PATIENCE = 60


class NodeSdkError(Exception):
    """What the SDK threw. ``status``: the HTTP status, ``None`` if there was none; ``body``: the decoded error body."""

    def __init__(self, name: str, message: str, status: int | None, body: Any) -> None:
        super().__init__(f"{name} {status}: {message}")
        self.name = name
        self.message = message
        self.status = status
        self.body = body


def require_node() -> str:
    """Path of the Node program. Skips the test, or fails it where Node is required, if it or the SDK is missing."""
    node = shutil.which("node")
    if node is not None and (HERE / "node_modules" / "@dfns" / "sdk").is_dir():
        return node
    missing = (
        "Node is not installed" if node is None else "the TypeScript SDK is not installed (tools/setup-test does it)"
    )
    if os.environ.get("COUNTERSIGN_REQUIRE_NODE") == "1":
        pytest.fail(f"{missing}, and COUNTERSIGN_REQUIRE_NODE=1 asks for it")
    pytest.skip(f"NOT TESTED: {missing}")


class NodeClient:
    """One SDK client. ``call`` makes a call as its method would be called in TypeScript.

    ``delegated``: the client that has no signer; each signed operation is a pair ``...Init`` and ``...Complete``.
    ``app_id``: the SDK 0.6.12 instead, which names this application and sends a nonce with every request.
    """

    def __init__(self, connection: Connection, *, delegated: bool = False, app_id: str | None = None) -> None:
        settings = {
            "baseUrl": connection["baseUrl"],
            "orgId": connection["orgId"],
            "authToken": connection["authToken"],
            "credId": connection["credentialId"],
            "privateKey": private_key(connection),
            "delegated": delegated,
            "appId": app_id,
        }
        command = [require_node(), "--no-deprecation", "driver.mjs"]
        self._process = subprocess.Popen(command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._ids = itertools.count(1)
        #: Names of the headers that each request of the last call was sent with.
        self.headers_sent: list[list[str]] = []
        self._send(settings)

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        waiting = select.poll()  # unlike select it takes any descriptor
        waiting.register(self._process.stdout, select.POLLIN)
        if not waiting.poll(PATIENCE * 1000):
            pytest.fail(f"the TypeScript SDK did not come back within {PATIENCE} s")
        line = self._process.stdout.readline()
        if not line:
            pytest.fail(f"the Node process ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def call(self, name: str, **args: Any) -> Any:
        """Call ``area.method`` with one object of the given members and return its decoded result.

        Raises ``NodeSdkError`` for what the SDK throws, ``ContractViolation`` if an answer breaks the contract.
        """
        return self.call_with(name, args)

    def call_with(self, name: str, *args: Any) -> Any:
        """The same with arguments as they stand."""
        number = next(self._ids)
        self._send({"id": number, "call": name, "args": args})
        answer = self._receive()
        assert answer["id"] == number
        self.headers_sent = [seen["sent"] for seen in answer["exchanges"]]
        for seen in answer["exchanges"]:
            check_raw(seen["method"], seen["url"], seen["status"], seen["headers"], seen["body"].encode())
        if "error" in answer:
            error = answer["error"]
            raise NodeSdkError(error["name"], error["message"], error["httpStatus"], error["body"])
        return answer["result"]

    def close(self) -> None:
        """End the Node process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> NodeClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
