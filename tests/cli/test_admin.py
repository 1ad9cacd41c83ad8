"""``countersign admin`` beside a running server, as an operator uses it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from countersign.access import codes
from countersign.cli import roster
from countersign.cli.main import main
from countersign.server.sandbox import SandboxFiles
from tests.clients.connection import Connection
from tests.clients.parties import new_credential
from tests.support.caller import Caller
from tests.support.commands import Done, countersign, refusal
from tests.support.new_keys import new_public_key
from tests.support.production import Production
from tests.support.server import Sandbox
from tests.support.tenants import Tenants

SIGNED = {"scheme": "EdDSA", "curve": "ed25519"}


class Operator:
    """Runs commands over a sandbox's data directory."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def run(self, *arguments: object, **settings: str) -> Done:
        variables = {f"COUNTERSIGN_{name.upper()}": value for name, value in settings.items()}
        return countersign("admin", *arguments, "--data", self.sandbox.directory, env=variables)

    def output(self, *arguments: object, **settings: str) -> str:
        done = self.run(*arguments, **settings)
        assert done.status == 0, done.errors
        return done.output

    def json(self, *arguments: object, **settings: str) -> Any:
        return json.loads(self.output(*arguments, "--json", **settings))


@pytest.fixture
def operator(shared_sandbox: Sandbox) -> Operator:
    return Operator(shared_sandbox)


@pytest.fixture
def admin(shared_sandbox: Sandbox) -> Iterator[Caller]:
    """The administrator of the shared sandbox."""
    with Caller(shared_sandbox.admin) as caller:
        yield caller


def made(answer: Any) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_lists_and_shows_identities(operator: Operator, admin: Caller) -> None:
    user = made(admin.signed("POST", "/auth/users", {"email": "listed@example.com", "kind": "CustomerEmployee"}))
    body = {"name": "pat of a test", "publicKey": new_public_key()}
    token = made(admin.signed("POST", "/auth/pats", body))
    listed = operator.json("identities", "list")
    assert {item["kind"] for item in listed} == {"user", "service-account", "application", "token", "credential"}
    assert {item["orgId"] for item in listed} == {admin.connection["orgId"]}
    assert "Token" not in {item.get("tokenKind") for item in listed}
    text = json.dumps(listed)
    assert token["accessToken"] not in text
    assert admin.token not in text

    tokens = operator.json("identities", "list", "--kind", "token", "--org", admin.connection["orgId"])
    assert token["tokenId"] in [item["id"] for item in tokens]
    line = next(
        line for line in operator.output("identities", "list", "--kind", "user").splitlines() if user["userId"] in line
    )
    assert line.split() == ["user", user["userId"], "Active", "CustomerEmployee", "listed@example.com"]

    shown = operator.json("identities", "show", token["linkedUserId"])
    assert shown["permissions"] == ["ManagedFullAdminAccess"]
    assert token["tokenId"] in [item["id"] for item in shown["tokens"]]
    assert "live sessions" in operator.output("identities", "show", token["linkedUserId"])
    for missing in ("us-aaaaa-bbbbb-cccccccccccccccc", "nonsense"):
        assert missing in refusal(operator.run("identities", "show", missing))
    assert "or-nowhere" in refusal(operator.run("identities", "list", "--org", "or-nowhere"))


def test_a_deactivated_token_is_refused_by_the_server_until_it_is_activated(operator: Operator, admin: Caller) -> None:
    path, public = new_credential(operator.sandbox.directory, "deactivated")
    token = made(admin.signed("POST", "/auth/pats", {"name": "deactivated", "publicKey": public}))
    connection: Connection = {
        **admin.connection,
        "authToken": token["accessToken"],
        "credentialId": token["credId"],
        "privateKeyPath": str(path),
    }
    with Caller(connection) as program:
        assert program.send("GET", "/auth/credentials").status_code == 200
        assert operator.output("deactivate", token["tokenId"]) == f"{token['tokenId']} is inactive\n"
        assert operator.output("deactivate", token["tokenId"]) == f"{token['tokenId']} is inactive already\n"
        until(lambda: program.send("GET", "/auth/credentials").status_code == 401)
        assert operator.output("activate", token["tokenId"]) == f"{token['tokenId']} is active\n"
        until(lambda: program.send("GET", "/auth/credentials").status_code == 200)


def until(met: Any) -> None:
    """Wait for what a server learns within a second."""
    deadline = time.monotonic() + 10
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_leaver_is_shut_out_and_the_last_administrator_is_not(operator: Operator, admin: Caller) -> None:
    user = made(admin.signed("POST", "/auth/users", {"email": "leaver@example.com", "kind": "CustomerEmployee"}))
    assert operator.json("identities", "show", user["username"])["id"] == user["userId"]
    assert operator.output("deactivate", user["username"]) == f"{user['username']} is inactive\n"
    assert made(admin.send("GET", f"/auth/users/{user['userId']}"))["isActive"] is False
    (administrator,) = [
        item["id"] for item in operator.json("identities", "list", "--kind", "user") if item["isRegistered"]
    ]
    assert "last administrator" in refusal(operator.run("deactivate", administrator))


def test_a_reissued_code_is_printed_once(operator: Operator, admin: Caller) -> None:
    user = made(admin.signed("POST", "/auth/users", {"email": "invited@example.com", "kind": "CustomerEmployee"}))
    codes_made = {operator.json("reissue-code", name)["code"] for name in (user["userId"], "INVITED@example.com")}
    assert len(codes_made) == 2
    assert all(len(code) == 19 and set(code) <= {*codes.ALPHABET, "-"} for code in codes_made)
    assert "break-glass" in refusal(operator.run("reissue-code", admin_name(operator)))
    log = operator.sandbox.log()
    assert not any(code in log for code in codes_made)


def admin_name(operator: Operator) -> str:
    """Username of the one registered person."""
    (name,) = [item["name"] for item in operator.json("identities", "list", "--kind", "user") if item["isRegistered"]]
    return str(name)


def test_keys_and_tokens_of_applications_are_rotated_here_too(operator: Operator, admin: Caller) -> None:
    assert operator.output("rotate-keys", "action").startswith("action: ")
    body = {"name": "server", "kind": "ServerSideApplication", "publicKey": new_public_key()}
    app = made(admin.signed("POST", "/auth/apps", body))
    assert operator.output("rotate-token", app["appId"]).count(".") == 2
    token = app["accessTokens"][0]["tokenId"]
    assert "archived" in refusal(operator.run("activate", token))


def test_a_locked_out_administrator_gets_in_by_break_glass(sandbox: Sandbox) -> None:
    operator = Operator(sandbox)
    user = admin_name(operator)
    path, public = new_credential(sandbox.directory, "fresh")
    public_path = sandbox.directory / "fresh.pub"
    public_path.write_text(public)
    request = ("break-glass", "request", user, "--public-key", public_path)

    waiting = operator.json(*request)
    assert waiting["id"] in refusal(operator.run(*request))
    assert [item["id"] for item in operator.json("break-glass", "list")] == [waiting["id"]]
    assert "waits until" in refusal(operator.run("break-glass", "complete", waiting["id"]))
    sandbox.stop()
    sandbox.start()
    until(lambda: waiting["id"] in sandbox.log())
    assert f"countersign admin break-glass cancel {waiting['id']}" in sandbox.log()
    assert operator.output("break-glass", "cancel", waiting["id"]) == f"{waiting['id']} is cancelled\n"
    assert "cancelled already" in refusal(operator.run("break-glass", "complete", waiting["id"]))
    assert operator.output("break-glass", "list") == "no request waits\n"
    assert [item["state"] for item in operator.json("break-glass", "list", "--all")] == ["Cancelled"]

    # The wait is the installation's: who runs the command cannot shorten it.
    waiting = operator.json(*request, break_glass_hours="0")
    assert "waits until" in refusal(operator.run("break-glass", "complete", waiting["id"], break_glass_hours="0"))
    operator.output("break-glass", "cancel", waiting["id"])
    set_wait(operator, 0)
    waiting = operator.json(*request)
    with Caller(sandbox.admin) as old:
        old_action = old.action_token("POST", "/keys", SIGNED)
        done = operator.json("break-glass", "complete", waiting["id"])
        assert old.send("POST", "/keys", SIGNED, action=old_action).status_code == 401
        until(lambda: old.send("GET", "/keys").status_code == 401)
        connection: Connection = {
            **old.connection,
            "authToken": done["authToken"],
            "credentialId": done["credentialId"],
            "privateKeyPath": str(path),
        }
    with Caller(connection) as fresh:
        assert fresh.send("POST", "/keys", SIGNED, action=old_action).status_code == 403
        assert fresh.signed("POST", "/keys", SIGNED).status_code == 200
        credentials = made(fresh.send("GET", "/auth/credentials"))["items"]
        assert [item["credentialUuid"] for item in credentials] == [done["credentialUuid"]]
    assert "completed already" in refusal(operator.run("break-glass", "complete", waiting["id"]))
    assert done["authToken"] not in sandbox.log()


def set_wait(operator: Operator, hours: int) -> None:
    """As if ``init`` had been told so."""
    sandbox = operator.sandbox
    assert sandbox.database is not None
    files = SandboxFiles(sandbox.directory)
    tenants = Tenants(sandbox.database, files.server_secret, "", sandbox.directory)
    tenants.execute("UPDATE installation SET value = ? WHERE name = 'break_glass_hours'", str(hours))


@pytest.mark.parametrize("engine", ["sqlite"])
def test_break_glass_takes_the_key_encryption_secret(database_url: str, tmp_path: Path) -> None:
    production = Production(tmp_path / "installation", database_url, kek="passphrase").initialise("correct horse")
    public = tmp_path / "fresh.pub"
    public.write_text(new_public_key())
    request = ("admin", "break-glass", "request", "admin@acme.test", "--public-key", public)
    assert "terminal" in refusal(production.run(*request))
    assert "passphrase" in refusal(production.run(*request, passphrase="wrong"))
    done = production.run(*request, "--json", passphrase="correct horse")
    assert done.status == 0, done.errors
    waiting = json.loads(done.output)["id"]
    complete = ("admin", "break-glass", "complete", waiting)
    assert "passphrase" in refusal(production.run(*complete, passphrase="wrong"))
    assert "waits until" in refusal(production.run(*complete, passphrase="correct horse"))

    production.settings["signer_kek"] = ""
    production.write_config()
    assert "signer_kek" in refusal(production.run(*complete))
    production.settings = {"break_glass_hours": 0}
    production.write_config()
    assert "break_glass_hours" in refusal(production.run(*complete))
    public.write_text("nonsense")
    production.settings = {}
    production.write_config()
    assert str(public) in refusal(production.run(*request))


@pytest.mark.parametrize("engine", ["sqlite"])
def test_the_token_of_a_break_glass_is_shown_before_anything_else_may_fail(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    production = Production(tmp_path / "installation", database_url).initialise()
    public = tmp_path / "fresh.pub"
    public.write_text(new_public_key())
    break_glass = ("admin", "break-glass")
    waits = production.run(*break_glass, "request", "admin@acme.test", "--public-key", public, "--json")
    assert waits.status == 0, waits.errors
    tenants = Tenants(database_url, production.directory / "server.secret", "", production.directory)
    tenants.execute("UPDATE break_glass_requests SET ready_at = 0")

    async def fails(*_: object) -> bool:
        raise RuntimeError("of a test")

    monkeypatch.setattr(roster, "vouch", fails)
    complete = [*break_glass, "complete", json.loads(waits.output)["id"], "--config", str(production.config)]
    done = CliRunner().invoke(main, complete)
    assert isinstance(done.exception, RuntimeError)
    assert re.search(r"^authToken +\S{100,}$", done.output, re.MULTILINE)


@pytest.mark.parametrize("engine", ["sqlite"])
def test_what_keeps_a_command_from_its_work_is_told_in_one_line(database_url: str, tmp_path: Path) -> None:
    secret = tmp_path / "server.secret"
    env = {"COUNTERSIGN_DATABASE": database_url, "COUNTERSIGN_SERVER_SECRET_FILE": str(secret)}
    command = ("admin", "identities", "list")
    nowhere = f"sqlite://{tmp_path / 'nowhere.db'}"
    assert "there is no database file" in refusal(countersign(*command, env={**env, "COUNTERSIGN_DATABASE": nowhere}))
    assert "server_secret_file" in refusal(countersign(*command, env=env))
    secret.touch(mode=0o600)
    secret.write_bytes(bytes(31))
    assert "32 bytes" in refusal(countersign(*command, env=env))
    secret.write_bytes(bytes(32))
    assert "countersign init" in refusal(countersign(*command, env=env))
    env["COUNTERSIGN_DATABASE"] = f"sqlite://{tmp_path / 'missing' / 'countersign.db'}"
    assert refusal(countersign(*command, env=env))
    env["COUNTERSIGN_BREAK_GLASS_HOURS"] = "721"
    assert "break_glass_hours" in refusal(countersign(*command, env=env))
