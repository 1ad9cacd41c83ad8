"""A production server, run as an operator runs it: ``init``, the signer as a process of its own, ``serve``."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.clients.parties import new_credential
from tests.clients.sdk_python import python_client
from tests.clients.signatures import check_ecdsa, check_eddsa
from tests.support.caller import Caller
from tests.support.commands import Done, countersign, refusal
from tests.support.production import Production
from tests.support.server import Sandbox

DIGEST = "ab" * 32
HASH = {"kind": "Hash", "hash": DIGEST}


@pytest.fixture
def production(database_url: str, engine: str, tmp_path: Path) -> Iterator[Production]:
    """A running server: two processes over PostgreSQL, one over SQLite."""
    processes = 2 if engine == "postgresql" else 1
    with Production(tmp_path / "installation", database_url, {"processes": processes}) as running:
        yield running


def test_serves_signs_and_stops(production: Production) -> None:
    with python_client(production.admin) as dfns:
        for scheme, curve in (("ECDSA", "secp256k1"), ("EdDSA", "ed25519")):
            key = dfns.keys.create_key({"scheme": scheme, "curve": curve})
            signed = dfns.keys.generate_signature(key["id"], HASH)
            check = check_ecdsa if scheme == "ECDSA" else check_eddsa
            check(key["publicKey"], bytes.fromhex(DIGEST), signed["signature"])
        assert len(dfns.keys.list_keys()["items"]) == 2

    metrics = httpx.get(f"http://127.0.0.1:{production.admin_port}/metrics").text
    assert 'countersign_requests_total{operation="generateSignature",status="200"} 2.0' in metrics
    assert httpx.get(f"{production.base_url}/metrics").status_code == 404

    assert production.stop() == 0
    assert "Traceback" not in production.log()
    assert production.made["authToken"] not in production.log()

    production.start()
    with python_client(production.admin) as dfns:
        assert len(dfns.keys.list_keys()["items"]) == 2


def test_a_request_in_flight_is_answered_before_the_server_stops(production: Production) -> None:
    token = production.made["authToken"]
    body = b'{"userActionPayload":"","userActionHttpMethod":"GET","userActionHttpPath":"/keys"}'
    head = (
        f"POST /auth/action/init HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", production.port)) as connection:
        connection.sendall(head.encode() + body[:20])
        # A second request shows that the server has read the first one so far.
        assert httpx.get(f"{production.base_url}/healthz").status_code == 200
        assert production.server is not None
        production.server.terminate()
        production.wait(lambda: "stopping" in production.log())
        connection.sendall(body[20:])
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    assert production.server.wait(20) == 0
    production.server = None


def test_a_rotated_key_keeps_old_tokens_and_a_retired_one_ends_them(
    database_url: str, engine: str, tmp_path: Path
) -> None:
    settings = {"processes": 2 if engine == "postgresql" else 1, "key_refresh_seconds": 1}
    with Production(tmp_path / "installation", database_url, settings) as production, Caller(production.admin) as old:
        key = old.create_key()
        listed = production.run("server-keys", "list", "--json")
        assert listed.status == 0, listed.errors
        assert '"purpose": "payload"' in listed.output

        rotated = {
            p: production.run("server-keys", "rotate", p) for p in ("token", "challenge", "action", "checkpoint")
        }
        assert all(done.status == 0 for done in rotated.values())
        rotated["payload"] = production.run("server-keys", "rotate", "payload")
        assert old.signed("PUT", f"/keys/{key}", {"name": "after rotation"}).status_code == 200

        listed = production.run("server-keys", "list")
        superseded = {
            line.split()[0]: line.split()[2] for line in listed.output.splitlines() if line.split()[1] == "Superseded"
        }
        assert set(superseded) == {"token", "challenge", "action", "checkpoint", "payload"}
        assert "cannot" in refusal(production.run("server-keys", "retire", superseded["payload"]))
        assert production.run("server-keys", "retire", superseded["token"]).status == 0

        status = 200
        deadline = time.monotonic() + 30
        while status != 401 and time.monotonic() < deadline:
            status = old.send("GET", "/keys").status_code
        assert status == 401
        assert all(old.send("GET", "/keys").status_code == 401 for _ in range(6))

        export = tmp_path / "audit.export"
        arguments = ("--database", database_url, "--server-secret", production.directory / "server.secret")
        done = countersign("audit", "export", *arguments, "--org", production.made["orgId"], "--output", export)
        assert done.status == 0, done.errors
        verified = countersign("audit", "verify", export, "--trust", production.made["auditFingerprint"])
        assert verified.status == 0, verified.output + verified.errors


@pytest.mark.parametrize("engine", ["sqlite"])
def test_a_passphrase_store_is_sealed_until_an_operator_unseals_it(database_url: str, tmp_path: Path) -> None:
    passphrase = "correct horse battery staple"
    production = Production(tmp_path / "installation", database_url, kek="passphrase")
    assert "terminal" in refusal(_init(production))
    production.initialise(passphrase)
    production.start_signer()
    try:
        production.start()
        with Caller(production.admin) as caller:
            action = caller.action_token("POST", "/keys", {"scheme": "EdDSA", "curve": "ed25519"})
            sealed = caller.send("POST", "/keys", {"scheme": "EdDSA", "curve": "ed25519"}, action=action)
            assert sealed.status_code == 503
            assert sealed.json()["error"]["code"] == "KEYSTORE_SEALED"
            assert "unseal" in sealed.json()["error"]["details"]["hint"]
            assert caller.send("GET", "/keys").status_code == 200

            status = production.run("keystore", "status")
            assert status.output.startswith("sealed")
            wrong = production.run("keystore", "unseal", "--passphrase", passphrase="wrong")
            assert wrong.status != 0
            assert "Traceback" not in wrong.errors
            unsealed = production.run("keystore", "unseal", "--passphrase", passphrase=passphrase)
            assert (unsealed.status, unsealed.output.split()[0]) == (0, "unsealed"), unsealed.errors
            assert httpx.get(f"{production.base_url}/readyz").json()["signer"] == "unsealed"

            # Nothing was spent by the refusal.
            made = caller.send("POST", "/keys", {"scheme": "EdDSA", "curve": "ed25519"}, action=action)
            assert made.status_code == 200, made.text
            key = made.json()["id"]
            assert caller.signed("POST", f"/keys/{key}/signatures", HASH).status_code == 200

            assert production.run("keystore", "seal").output.startswith("sealed")
            assert httpx.get(f"{production.base_url}/readyz").json()["signer"] == "sealed"
            action = caller.action_token("POST", f"/keys/{key}/signatures", HASH)
            refused = caller.send("POST", f"/keys/{key}/signatures", HASH, action=action)
            assert refused.json()["error"]["code"] == "KEYSTORE_SEALED"
            assert caller.send("GET", f"/keys/{key}").status_code == 200
            assert production.run("keystore", "unseal", "--passphrase", passphrase=passphrase).status == 0
            assert httpx.get(f"{production.base_url}/readyz").status_code == 200
            assert caller.send("POST", f"/keys/{key}/signatures", HASH, action=action).status_code == 200
        assert passphrase not in production.log()
    finally:
        production.__exit__(None, None, None)


def _init(production: Production) -> Done:
    """``init`` without anything to type a passphrase at."""
    production.directory.mkdir(parents=True)
    production.write_config()
    public = production.directory / "someone.pub"
    public.write_text(new_credential(production.directory, "someone")[1])
    return production.run("init", "--org", "Acme", "--owner", "admin", "--public-key", public)


def test_serve_ends_with_one_line_when_nothing_is_initialised(database_url: str, engine: str, tmp_path: Path) -> None:
    for processes in (1, 2) if engine == "postgresql" else (1,):
        production = Production(tmp_path / str(processes), database_url, {"processes": processes})
        production.directory.mkdir()
        production.write_config()
        assert "countersign init" in refusal(production.run("serve"))


def test_serve_ends_with_one_line_for_a_wrong_secret_a_taken_port_and_a_bad_certificate(
    database_url: str, engine: str, tmp_path: Path
) -> None:
    processes = 2 if engine == "postgresql" else 1
    production = Production(tmp_path / "installation", database_url, {"processes": processes}).initialise()
    secret = production.directory / "server.secret"
    right = secret.read_bytes()
    secret.write_bytes(bytes(32))
    assert "server secret" in refusal(production.run("serve"))
    secret.unlink()
    assert "server_secret_file" in refusal(production.run("serve"))
    secret.touch(mode=0o600)
    secret.write_bytes(right)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port}" in refusal(production.run("serve", "--port", port))
        production.settings["admin_port"] = port
        production.write_config()
        done = production.run("serve")
        assert done.status == 1
        assert f"Error: cannot listen on 127.0.0.1:{port}" in done.errors
        assert "Traceback" not in done.errors
    production.settings.update(tls_certificate=str(secret), tls_key=str(secret), admin_port=0)
    production.write_config()
    assert "tls_certificate" in refusal(production.run("serve"))


@pytest.mark.parametrize("engine", ["sqlite"])
def test_production_refuses_what_is_for_development(database_url: str, tmp_path: Path) -> None:
    with Sandbox(tmp_path / "data", database_url):
        pass
    production = Production(tmp_path / "installation", database_url)
    production.directory.mkdir()
    production.settings["server_secret_file"] = str(tmp_path / "data" / "server.secret")
    production.write_config()
    assert "sandbox" in refusal(production.run("serve"))
    for setting, value in (("signer_kek", f"dev:{tmp_path / 'kek'}"), ("allow_unsigned_query", True)):
        strict = Production(tmp_path / setting, database_url, {setting: value})
        strict.directory.mkdir()
        strict.write_config()
        assert setting in refusal(strict.run("serve"))


@pytest.mark.parametrize("engine", ["sqlite"])
def test_tls_public_hosts_prefix_and_unsigned_queries(database_url: str, tmp_path: Path) -> None:
    made = countersign("sandbox", "ca", "--data", tmp_path / "ca")
    assert made.status == 0, made.errors
    assert (tmp_path / "ca" / "tls.key").stat().st_mode & 0o777 == 0o600
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {
        "port": port,
        "tls_certificate": str(tmp_path / "ca" / "tls.pem"),
        "tls_key": str(tmp_path / "ca" / "tls.key"),
        "public_hosts": [f"localhost:{port}"],
        "public_url": f"https://localhost:{port}",
        "mount_prefix": "/custody",
    }
    trust = ssl.create_default_context(cafile=str(tmp_path / "ca" / "ca.pem"))
    with Production(tmp_path / "installation", database_url, settings) as production:
        url = f"https://localhost:{port}/custody"
        with httpx.Client(verify=trust) as client:
            assert client.get(f"{url}/healthz").status_code == 200
            assert client.get(f"https://localhost:{port}/healthz").status_code == 404
            document = client.get(f"{url}/openapi.json").json()
            assert document["servers"] == [{"url": url}]
            named = client.get(f"https://127.0.0.1:{port}/custody/healthz")
            assert (named.status_code, named.json()["error"]["code"]) == (400, "BAD_HEADER")
            forged = client.get(f"{url}/healthz", headers={"Host": "evil.test"})
            assert forged.status_code == 400
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/healthz")

        caller = Caller(production.admin)
        caller.http.close()
        caller.http = httpx.Client(base_url=url, verify=trust)
        with caller:
            # Python signs the path as the operation spells it, TypeScript as it goes over the wire.
            key = caller.create_key()
            body = {"name": "wire"}
            token = caller.action_token("PUT", f"/custody/keys/{key}", body)
            assert caller.send("PUT", f"/keys/{key}", body, action=token).status_code == 200
            token = caller.action_token("PUT", f"/keys/{key}", body)
            assert caller.send("PUT", f"/keys/{key}", body, action=token).status_code == 200

            # Only the sandbox lets a query pass that nobody signed.
            account = "/auth/service-accounts/us-00000-00000-0000000000000000"
            token = caller.action_token("DELETE", account)
            unsigned = caller.send("DELETE", f"{account}?force=true", action=token)
            assert (unsigned.status_code, unsigned.json()["error"]["code"]) == (403, "QUERY_NOT_SIGNED")
            token = caller.action_token("DELETE", f"{account}?force=true")
            assert caller.send("DELETE", f"{account}?force=true", action=token).status_code == 404


@pytest.mark.parametrize("engine", ["sqlite"])
def test_only_trusted_proxies_say_who_the_client_is(database_url: str, tmp_path: Path) -> None:
    settings = {"trusted_proxies": ["127.0.0.1"], "address_requests_per_minute": 2}
    with Production(tmp_path / "installation", database_url, settings) as production:

        def get(forwarded: str) -> int:
            headers = {"X-Forwarded-For": forwarded}
            return httpx.get(f"http://127.0.0.1:{production.port}/keys", headers=headers).status_code

        assert [get("203.0.113.7") for _ in range(3)] == [401, 401, 429]
        assert get("203.0.113.8") == 401
        # Whoever is behind the proxy can write in front of what the proxy adds, and gains nothing by it.
        assert get("203.0.113.9, 203.0.113.7") == 429
    settings = {"address_requests_per_minute": 2}
    untrusting = Production(tmp_path / "installation", database_url, settings)
    untrusting.write_config()
    untrusting.made = production.made
    try:
        untrusting.start_signer()
        untrusting.start()
        statuses = [
            httpx.get(
                f"http://127.0.0.1:{untrusting.port}/keys", headers={"X-Forwarded-For": f"203.0.113.{n}"}
            ).status_code
            for n in range(3)
        ]
        assert statuses == [401, 401, 429]
    finally:
        untrusting.__exit__(None, None, None)
