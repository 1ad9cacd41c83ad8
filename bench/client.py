"""The load generator: a process of its own, much cheaper than what it measures.

Reads commands as JSON lines on standard input and answers each with a line. Connections are kept alive;
each client has one and sends its next request when the answer of the one before has come.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, cast

import msgspec
import uvloop
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from nacl import bindings as sodium

from countersign.encoding import base64url

#: The relying party of the benchmark, and where its passkey is used.
RP_ID, ORIGIN = "localhost", "https://localhost"
# The user is present and verified; no counter, no extensions.
_AUTHENTICATOR_DATA = hashlib.sha256(RP_ID.encode()).digest() + b"\x05" + bytes(4)
_ECDSA = ec.ECDSA(hashes.SHA256())

Step = Callable[["Connection"], Awaitable[None]]


class _Challenge(msgspec.Struct, rename="camel"):
    challenge: str
    challenge_identifier: str


class _Action(msgspec.Struct, rename="camel"):
    user_action: str


_challenge = msgspec.json.Decoder(_Challenge).decode
_action = msgspec.json.Decoder(_Action).decode


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection, one request at a time. Answers carry a Content-Length."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._waiting: asyncio.Future[bytes] | None = None
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer = buffer = self._buffer + data if self._buffer else data
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        start = buffer.find(b"content-length: ") + 16
        length = int(buffer[start : buffer.index(b"\r\n", start)])
        body = end + 4
        if len(buffer) < body + length:
            return
        self._buffer = b""
        waiting, self._waiting = self._waiting, None
        assert waiting is not None
        if buffer[9:12] != b"200":
            waiting.set_exception(RuntimeError(buffer.decode(errors="replace")))
        else:
            waiting.set_result(buffer[body:])

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionError("the server closed the connection"))

    def request(self, data: bytes) -> asyncio.Future[bytes]:
        """Send a whole request; the body of the answer. ``RuntimeError`` unless it is 200."""
        assert self._transport is not None
        self._waiting = self._loop.create_future()
        self._transport.write(data)
        return self._waiting

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Caller:
    """Requests of one identity with an Ed25519 credential."""

    def __init__(self, host: str, token: str, credential_id: str, seed: bytes) -> None:
        self._host = host
        self._token = token
        self._credential_id = credential_id
        self._secret = sodium.crypto_sign_seed_keypair(seed)[1]
        self._init = self.head("POST", "/auth/action/init")
        self._action = self.head("POST", "/auth/action")

    def head(self, method: str, path: str) -> str:
        """Request line and headers of every request to ``path``, but the length."""
        return (
            f"{method} {path} HTTP/1.1\r\nhost: {self._host}\r\nauthorization: Bearer {self._token}\r\n"
            "accept: application/json\r\ncontent-type: application/json\r\nuser-agent: bench\r\n"
        )

    async def ceremony(self, connection: Connection, method: str, path: str, head: str, payload: str) -> None:
        """Init, action and the request itself."""
        quoted = json.dumps(payload)
        body = (
            f'{{"userActionPayload":{quoted},"userActionHttpMethod":"{method}",'
            f'"userActionHttpPath":"{path}","userActionServerKind":"Api"}}'
        )
        answer = _challenge(await connection.request(whole(self._init, body)))
        body = (
            f'{{"challengeIdentifier":"{answer.challenge_identifier}","firstFactor":{self.factor(answer.challenge)}}}'
        )
        action = _action(await connection.request(whole(self._action, body))).user_action
        await connection.request(whole(f"{head}x-dfns-useraction: {action}\r\n", payload))

    async def log_in(self, connection: Connection, named: str) -> None:
        """Both requests of a login; ``named``: JSON of who it is."""
        answer = _challenge(await connection.request(whole(self.head("POST", "/auth/login/init"), named)))
        body = (
            f'{{"challengeIdentifier":"{answer.challenge_identifier}","firstFactor":{self.factor(answer.challenge)}}}'
        )
        await connection.request(whole(self.head("POST", "/auth/login"), body))

    def factor(self, challenge: str) -> str:
        """The signed challenge, as JSON."""
        data = f'{{"type":"key.get","challenge":"{challenge}","origin":"bench","crossOrigin":false}}'.encode()
        signature = base64url.encode(sodium.crypto_sign(data, self._secret)[:64])
        return (
            f'{{"kind":"Key","credentialAssertion":{{"credId":"{self._credential_id}",'
            f'"clientData":"{base64url.encode(data)}","signature":"{signature}"}}}}'
        )


class PasskeyCaller(Caller):
    """The same with a passkey of P-256 that does not count, as synchronised ones; ``seed`` is its private number."""

    def __init__(self, host: str, token: str, credential_id: str, seed: bytes) -> None:
        super().__init__(host, token, credential_id, seed)
        self._key = ec.derive_private_key(int.from_bytes(seed, "big"), ec.SECP256R1())

    def factor(self, challenge: str) -> str:
        """The signed challenge, as a browser makes it."""
        twice = base64url.encode(challenge.encode())
        client = f'{{"type":"webauthn.get","challenge":"{twice}","origin":"{ORIGIN}","crossOrigin":false}}'.encode()
        data = _AUTHENTICATOR_DATA
        signature = self._key.sign(data + hashlib.sha256(client).digest(), _ECDSA)
        parts = {"credId": None, "clientData": client, "authenticatorData": data, "signature": signature}
        encoded = {name: base64url.encode(part) for name, part in parts.items() if part is not None}
        return json.dumps({"kind": "Fido2", "credentialAssertion": {"credId": self._credential_id, **encoded}})


def whole(head: str, body: str) -> bytes:
    """A request with a body."""
    return f"{head}content-length: {len(body)}\r\n\r\n{body}".encode()


def steps(scenario: str, caller: Caller, keys: list[str]) -> Iterator[Step]:
    """What one run of the scenario asks, again and again, over the keys in turn."""
    fixed = {"hello": "/", "bare": "/healthz"}
    if scenario in fixed:
        request = (caller.head("GET", fixed[scenario]) + "\r\n").encode()
        while True:
            yield lambda connection: connection.request(request)
    for number in itertools.count():
        key = keys[number % len(keys)]
        if scenario == "read":
            request = (caller.head("GET", f"/keys/{key}") + "\r\n").encode()
            yield lambda connection, request=request: connection.request(request)
        elif scenario == "rename":
            path, payload = f"/keys/{key}", f'{{"name":"treasury {number}"}}'
            head = caller.head("PUT", path)
            yield lambda connection, path=path, head=head, payload=payload: caller.ceremony(
                connection, "PUT", path, head, payload
            )
        elif scenario == "sign":
            path, payload = f"/keys/{key}/signatures", f'{{"kind":"Message","message":"0x{number:064x}"}}'
            head = caller.head("POST", path)
            yield lambda connection, path=path, head=head, payload=payload: caller.ceremony(
                connection, "POST", path, head, payload
            )
        elif scenario == "login":
            # Here a key is who logs in.
            yield lambda connection, key=key: caller.log_in(connection, key)
        elif scenario == "begin":
            # Here the keys are tokens: each request is of somebody else.
            head = Caller("127.0.0.1", key, "", bytes(32)).head("POST", "/auth/action/init")
            body = json.dumps(
                {"userActionPayload": "{}", "userActionHttpMethod": "POST", "userActionHttpPath": "/keys"}
            )
            yield lambda connection, head=head, body=body: connection.request(whole(head, body))
        else:
            raise ValueError(scenario)


async def _connected(port: int) -> Connection:
    _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
    return connection


async def run(command: dict[str, Any]) -> dict[str, Any]:
    """Run a scenario for some seconds; latencies in ms, sorted; with ``ends`` as they came, and when."""
    port, caller = command["port"], _caller(command)
    endless = steps(command["scenario"], caller, command["keys"])
    connections = [await _connected(port) for _ in range(command["clients"])]
    latencies: list[float] = []
    ends: list[float] = []
    clock = time.perf_counter
    begun = clock()
    end = begun + command["seconds"]

    async def work(connection: Connection) -> None:
        now = clock()
        while now < end:
            await next(endless)(connection)
            done = clock()
            latencies.append((done - now) * 1000)
            ends.append(done)
            now = done

    try:
        await asyncio.gather(*[work(connection) for connection in connections])
    finally:
        for connection in connections:
            connection.close()
    if command.get("ends"):
        return {"seconds": clock() - begun, "latencies": latencies, "ends": ends}
    return {"seconds": clock() - begun, "latencies": sorted(latencies)}


async def burst(command: dict[str, Any]) -> dict[str, Any]:
    """Each client does one step of a scenario, all at once; from when to when, by the clock of ``ends``."""
    caller = _caller(command)
    endless = steps(command["scenario"], caller, command["keys"])
    connections = [await _connected(command["port"]) for _ in range(command["clients"])]
    begun = time.perf_counter()
    try:
        await asyncio.gather(*[next(endless)(connection) for connection in connections])
    finally:
        for connection in connections:
            connection.close()
    return {"begun": begun, "ended": time.perf_counter()}


def _caller(command: dict[str, Any]) -> Caller:
    kind = PasskeyCaller if command.get("passkey") else Caller
    return kind(
        f"127.0.0.1:{command['port']}",
        command.get("token", ""),
        command.get("credential", ""),
        bytes.fromhex(command["seed"]),
    )


async def _create_keys(command: dict[str, Any]) -> dict[str, Any]:
    port = command["port"]
    caller = Caller(f"127.0.0.1:{port}", command["token"], command["credential"], bytes.fromhex(command["seed"]))
    connection = await _connected(port)
    head = caller.head("POST", "/keys")
    for number in range(command["count"]):
        payload = f'{{"scheme":"EdDSA","curve":"ed25519","name":"treasury {number}"}}'
        await caller.ceremony(connection, "POST", "/keys", head, payload)
    listed = await connection.request((caller.head("GET", "/keys") + "\r\n").encode())
    connection.close()
    return {"keys": [key["id"] for key in json.loads(listed)["items"]]}


def main() -> None:
    """Answer commands until standard input ends."""
    os.sched_setaffinity(0, json.loads(sys.argv[1]))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for line in sys.stdin:
            command = json.loads(line)
            work = {"keys": _create_keys, "burst": burst, "run": run}[command["do"]]
            print(json.dumps(runner.run(work(command))), flush=True)


if __name__ == "__main__":
    main()
