"""No secret lies where it does not belong (check K1): a full run, then a search for every secret it had to do with."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from secrets import randbelow, token_bytes
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from dfns_sdk.types import DfnsError

from countersign.keystores.sharing import ORDERS
from tests.clients.connection import private_key
from tests.clients.sdk_python import python_client
from tests.faults import logs, secrets
from tests.faults.secrets import Secret, of_bytes, of_pem, of_scalar, of_token
from tests.faults.waiting import until
from tests.support.caller import Caller
from tests.support.moving_keys import Receiver, import_body
from tests.support.postgres import PostgresServer
from tests.support.server import Sandbox

HASH = {"kind": "Hash", "hash": "0x" + "5a" * 32}


class Recorder:
    """Keeps what the server answers: tokens it gives out, and every refusal."""

    def __init__(self) -> None:
        self.tokens: list[Secret] = []
        self.refusals: list[bytes] = []

    def watch(self, client: httpx.Client) -> None:
        """Record every answer that this client gets."""
        hooks = client.event_hooks
        client.event_hooks = {**hooks, "response": [*hooks["response"], self._on_response]}

    def _on_response(self, response: httpx.Response) -> None:
        response.read()
        if response.status_code >= 400:
            self.refusals.append(response.content)
            return
        if "json" not in response.headers.get("content-type", ""):
            return
        for name, value in _members(response.json()):
            if name in ("userAction", "challengeIdentifier", "accessToken") and isinstance(value, str):
                self.tokens.append(of_token(f"{name} {len(self.tokens)}", value))


def _members(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, list):
        return [member for item in value for member in _members(item)]
    if isinstance(value, dict):
        return [*value.items(), *(member for item in value.values() for member in _members(item))]
    return []


def everything_that_works(sandbox: Sandbox, record: Recorder) -> list[Secret]:
    """Every operation with the official SDK; the private keys that the clients made for themselves."""
    mine = Ed25519PrivateKey.generate()
    pem = mine.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = mine.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    with python_client(sandbox.admin) as admin:
        record.watch(admin._http._client)
        account = admin.auth.create_service_account({"name": "short-lived", "publicKey": public.decode()})
        user_id = account["userInfo"]["userId"]
        admin.auth.list_service_accounts()
        admin.auth.get_service_account(user_id)
        admin.auth.update_service_account(user_id, {"name": "renamed"})
        admin.auth.deactivate_service_account(user_id, {})
        admin.auth.activate_service_account(user_id)
        admin.auth.delete_service_account(user_id)
        admin.auth.list_credentials()
    with python_client(sandbox.service) as service:
        record.watch(service._http._client)
        for scheme, curve, body in (
            ("ECDSA", "secp256k1", HASH),
            ("EdDSA", "ed25519", {"kind": "Message", "message": "0x00"}),
            ("Schnorr", "secp256k1", {**HASH, "taprootMerkleRoot": ""}),
        ):
            key_id = service.keys.create_key({"scheme": scheme, "curve": curve})["id"]
            service.keys.update_key(key_id, {"name": "named"})
            request = service.keys.generate_signature(key_id, body)
            service.keys.get_signature(key_id, request["id"])
            service.keys.list_signatures(key_id)
            service.keys.get_key(key_id)
            service.keys.delete_key(key_id)
        service.keys.list_keys()
    return [of_pem("a client's key", pem)]


def keys_that_move(sandbox: Sandbox, record: Recorder) -> list[Secret]:
    """Canaries: known keys that come in, good and spoilt, and keys that go out; all that gives them away."""
    canaries: list[Secret] = []
    receiver = Receiver()
    with python_client(sandbox.service) as service:
        record.watch(service._http._client)
        listed = service.signers.list_signers()
        for protocol, curve in (("CGGMP21", "secp256k1"), ("FROST", "ed25519"), ("FROST_BITCOIN", "secp256k1")):
            secret = randbelow(ORDERS["ed25519"] >> 1) + 1
            canaries += of_scalar(f"imported canary {protocol}", secret)
            body = import_body(listed, secret, protocol, curve)
            shares = body["encryptedKeyShares"]
            misplaced = {**shares[4], "encryptedKeyShare": shares[0]["encryptedKeyShare"]}
            for spoilt in (shares[:4], [*shares[:4], misplaced]):
                with pytest.raises(DfnsError):
                    service.keys.import_key({**body, "encryptedKeyShares": spoilt})
            with pytest.raises(DfnsError):
                service.keys.import_key({**body, "minSigners": 2})
            key_id = service.keys.import_key(body)["id"]
            with pytest.raises(DfnsError):
                service.keys.export_key(key_id, receiver.body([]))
            exported = receiver.open(service.keys.export_key(key_id, receiver.body()))
            canaries += of_scalar(f"exported canary {protocol}", exported)
            with pytest.raises(DfnsError):
                service.keys.generate_signature(key_id, HASH)
            service.keys.delete_key(key_id)
    chain_code = token_bytes(32)
    with Caller(sandbox.service) as caller:
        record.watch(caller.http)
        master = import_body(caller.send("GET", "/signers").json(), masterKey=True, chain_code=chain_code)
        assert caller.signed("POST", "/keys/import", master).status_code == 200
    return [*canaries, of_bytes("chain code", chain_code), of_bytes("receiver's key", bytes(receiver.scalar))]


def everything_that_fails(sandbox: Sandbox, record: Recorder) -> None:
    """Refusals of every kind, each with a secret in the request, and a signer that dies with a request."""
    with Caller(sandbox.service) as caller:
        record.watch(caller.http)
        key = caller.create_key()
        path = f"/keys/{key}"
        good = {"name": "a"}
        token = caller.action_token("PUT", path, good)
        caller.send("PUT", path, {"name": "b"}, action=token)
        caller.send("PUT", path, good, action=token[:-4] + "AAAA")
        caller.send("PUT", path, good, action=token)
        caller.send("PUT", path, good, action=token)
        caller.send("PUT", path, content=f'{{"name": "{token}"'.encode())
        caller.send("PUT", path, {"name": "a", token: token}, action=token)
        caller.send("PUT", f"{path}?token={token}", good, action=token)
        caller.send("GET", f"/keys/{caller.token}")
        caller.send("GET", "/keys", headers={"Authorization": f"Bearer {caller.token}x"})
        caller.send("GET", "/keys", headers={"Authorization": f"Basic {caller.token}"})
        caller.send("GET", "/keys", headers={"X-DFNS-NONCE": caller.token})
        pem = private_key(caller.connection)
        caller.signed("POST", "/keys", {"scheme": pem, "curve": "ed25519"})
        caller.signed("POST", f"{path}/signatures", {"kind": pem})
        caller.signed("POST", f"{path}/signatures", {"kind": "Hash", "hash": pem})
        caller.signed("POST", f"{path}/signatures", {**HASH, pem: pem})
        challenge = caller.challenge("PUT", path, good)
        caller.answer({**challenge, "challengeIdentifier": challenge["challengeIdentifier"] + "x"})
        caller.answer(challenge, firstFactor=caller.assertion("another"))
        stopped = sandbox.signer_pid
        os.kill(stopped, signal.SIGKILL)
        until("the signer is back", lambda: caller.signed("POST", f"{path}/signatures", HASH).status_code == 200)
    with python_client(sandbox.service) as service:
        record.watch(service._http._client)
        with pytest.raises(DfnsError):
            service.keys.get_key("key-unknown")


def places(
    sandbox: Sandbox, record: Recorder, tmp_path: Path, postgres: PostgresServer | None, since: float
) -> dict[str, bytes]:
    """Everything that the run has left behind or shown to others, by name."""
    found = secrets.files(sandbox.directory)
    found["log"] = sandbox.log_path.read_bytes()
    found["refusals"] = b"\n".join(record.refusals)
    found["audit export"] = logs.export(sandbox, tmp_path / "export.jsonl").path.read_bytes()
    (admin_port,) = set(re.findall(rb'"admin_port":(\d+)', found["log"]))
    metrics = httpx.get(f"http://127.0.0.1:{int(admin_port)}/metrics")
    assert metrics.status_code == 200
    found["metrics"] = metrics.content
    if postgres is not None:
        postgres.execute("CHECKPOINT")
        found |= {f"postgresql/{name}": data for name, data in secrets.files(postgres.directory, since).items()}
    return found


def test_k1_threat_51_no_secret_lies_where_it_does_not_belong(
    engine: str, database_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    postgres = request.getfixturevalue("postgres_server") if engine == "postgresql" else None
    marker = tmp_path / "marker"
    marker.touch()
    record = Recorder()
    if engine == "sqlite":
        # Where a user has it: in the data directory, with its log beside it.
        database_url = f"sqlite://{tmp_path / 'data' / 'countersign.db'}"
    with Sandbox(tmp_path / "data", database_url, {"COUNTERSIGN_LOG_LEVEL": "debug"}) as sandbox:
        renewed = of_token("administrator's first token", sandbox.values["adminToken"])
        moving = logs.countersign(
            "admin", "keys", "--data", str(sandbox.directory), "--enable-import", "--enable-export"
        )
        assert moving.returncode == 0, moving.stderr
        clients = everything_that_works(sandbox, record) + keys_that_move(sandbox, record)
        everything_that_fails(sandbox, record)
        if engine == "sqlite":
            done = logs.countersign("sandbox", "token", "--data", str(sandbox.directory))
            assert done.returncode == 0, done.stderr
            clients.append(renewed)
        every = [*secrets.of_server(sandbox), *record.tokens, *clients]
        shown = places(sandbox, record, tmp_path, postgres, marker.stat().st_mtime)
        assert secrets.search(every, shown) == []
        # The search looks where the run has left its traces.
        known = json.dumps(sandbox.values["orgId"]).strip('"').encode()
        traced = {name for name, content in shown.items() if known in content}
        stored = {"countersign.db", "countersign.db-wal"} if engine == "sqlite" else traced
        assert {"log", "audit export"} <= traced
        assert traced & stored
        if postgres is not None:
            assert any(name.startswith("postgresql/data/base/") for name in traced)
            assert any(name.startswith("postgresql/data/pg_wal/") for name in traced)
        assert len(record.refusals) > 10
        assert sum(secret.name.startswith("private key") for secret in every) == 8
        assert sum("canary" in secret.name for secret in every) == 3 * 6
        assert sum(secret.name.startswith("decryption key of signer") for secret in every) == 5
    # And what a server leaves that was stopped.
    assert secrets.search(every, {**secrets.files(sandbox.directory), "log": sandbox.log_path.read_bytes()}) == []
