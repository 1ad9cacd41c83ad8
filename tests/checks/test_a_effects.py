"""What a change of state does to tokens, challenges and actions: at once for mutations, within a second for reads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from countersign.encoding import base64url
from tests.support.caller import Caller
from tests.support.inprocess import InProcess
from tests.support.second_server import second_server
from tests.support.server import Sandbox
from tests.support.tenants import Identity, Tenants, beside

PATH = "/keys/key-00000-00000-0000000000000000"
BODY = {"name": "a"}
UNAUTHENTICATED = (401, "UNAUTHENTICATED")
ACTION_INVALID = (403, "USER_ACTION_INVALID")
CHALLENGE_INVALID = (400, "CHALLENGE_INVALID")
REACHED = (404, "NOT_FOUND")  # admitted: the key does not exist


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("error", {}).get("code", "")


@dataclass
class Scene:
    """A service account at work, an administrator, and a clock."""

    server: InProcess
    tenants: Tenants
    account: Identity
    caller: Caller
    admin: Caller

    def by_admin(self, method: str, action: str = "") -> None:
        answer = self.admin.signed(method, f"/auth/service-accounts/{self.account.user_id}{action}", body_of(action))
        assert answer.status_code == 200, answer.text

    def set(self, table: str, state: str, key: str, value: str) -> None:
        sql = f"UPDATE {table} SET state = ?, epoch = epoch + 1 WHERE {key} = ?"
        self.tenants.execute(sql, state, value)

    def read(self) -> tuple[int, str]:
        return code(self.caller.send("GET", "/auth/credentials"))

    def second_later(self) -> None:
        self.server.clock.move(seconds=1)


def body_of(action: str) -> dict[str, bool] | None:
    return {} if action == "/deactivate" else None


@pytest.fixture
def scene(in_process: InProcess, tenants: Tenants) -> Iterator[Scene]:
    account = tenants.service_account(in_process.values["orgId"], everything=True)
    with in_process.caller(account.connection) as caller, in_process.caller(in_process.admin) as admin:
        assert caller.send("GET", "/auth/credentials").status_code == 200
        yield Scene(in_process, tenants, account, caller, admin)


OFF_AND_ON: dict[str, tuple[Callable[[Scene], None], Callable[[Scene], None]]] = {
    "service account": (
        lambda scene: scene.by_admin("PUT", "/deactivate"),
        lambda scene: scene.by_admin("PUT", "/activate"),
    ),
    "token": (
        lambda scene: scene.set("tokens", "Inactive", "token_id", scene.account.token_id),
        lambda scene: scene.set("tokens", "Active", "token_id", scene.account.token_id),
    ),
    "organisation": (
        lambda scene: _organisation(scene, 0),
        lambda scene: _organisation(scene, 1),
    ),
}


def _organisation(scene: Scene, active: int) -> None:
    sql = "UPDATE organisations SET is_active = ?, epoch = epoch + 1 WHERE org_id = ?"
    scene.tenants.execute(sql, active, scene.account.org_id)


@pytest.mark.parametrize("what", OFF_AND_ON)
def test_a11_deactivation_ends_the_token_at_once_and_cancels_what_was_signed(scene: Scene, what: str) -> None:
    off, on = OFF_AND_ON[what]
    caller = scene.caller
    action = caller.action_token("PUT", PATH, BODY)
    challenge = caller.challenge("PUT", PATH, BODY)
    off(scene)
    # The very next mutation is refused, whatever this process remembers; a read within a second.
    assert code(caller.send("PUT", PATH, BODY, action=action)) == UNAUTHENTICATED
    scene.second_later()
    assert scene.read() == UNAUTHENTICATED
    assert code(caller.answer(challenge)) == UNAUTHENTICATED
    on(scene)
    scene.second_later()
    assert scene.read()[0] == 200
    # What was open before does not come to life again.
    assert code(caller.send("PUT", PATH, BODY, action=action)) == ACTION_INVALID
    assert code(caller.answer(challenge)) == CHALLENGE_INVALID
    assert code(caller.signed("PUT", PATH, BODY)) == REACHED


def test_a11_an_archived_service_account_is_gone_for_good(scene: Scene) -> None:
    caller, path = scene.caller, f"/auth/service-accounts/{scene.account.user_id}"
    action = caller.action_token("PUT", PATH, BODY)
    scene.by_admin("DELETE")
    assert code(caller.send("PUT", PATH, BODY, action=action)) == UNAUTHENTICATED
    scene.second_later()
    assert scene.read() == UNAUTHENTICATED
    assert code(scene.admin.send("GET", path)) == REACHED
    assert code(scene.admin.signed("PUT", f"{path}/activate")) == REACHED
    listed = scene.admin.send("GET", "/auth/service-accounts").json()["items"]
    assert scene.account.user_id not in [item["userInfo"]["userId"] for item in listed]
    # Its name and key stay taken: nobody steps into its place.
    rows = scene.tenants.execute("SELECT username FROM users WHERE user_id = ?", scene.account.user_id)
    pem = caller.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for name in (rows[0][0], "another"):
        assert code(scene.admin.signed("POST", "/auth/service-accounts", {"name": name, "publicKey": pem}))[0] == 409


def test_a11_a_deactivated_credential_signs_nothing_and_what_it_signed_is_cancelled(scene: Scene) -> None:
    caller = scene.caller
    action = caller.action_token("PUT", PATH, BODY)
    challenge = caller.challenge("PUT", PATH, BODY)
    scene.set("credentials", "Inactive", "credential_uuid", scene.account.credential_uuid)
    assert code(caller.send("PUT", PATH, BODY, action=action)) == ACTION_INVALID
    assert code(caller.answer(challenge)) == (401, "NO_CREDENTIAL")
    assert caller.challenge("PUT", PATH, BODY)["allowCredentials"]["key"] == []
    assert scene.read()[0] == 200
    scene.set("credentials", "Active", "credential_uuid", scene.account.credential_uuid)
    assert code(caller.send("PUT", PATH, BODY, action=action)) == ACTION_INVALID
    assert code(caller.signed("PUT", PATH, BODY)) == REACHED


def test_a11_an_expired_token_is_refused_also_in_the_second_that_it_is_remembered(
    in_process: InProcess, tenants: Tenants
) -> None:
    account = tenants.service_account(in_process.values["orgId"], everything=True, lifetime=100)
    end = json.loads(base64url.decode(account.connection["authToken"].split(".")[1]))["exp"] * 1000
    with in_process.caller(account.connection) as caller, in_process.clock.stopped(at=end - 400):
        action = caller.action_token("PUT", PATH, BODY)
        assert code(caller.send("GET", "/auth/credentials"))[0] == 200
        in_process.clock.move(seconds=0.4)
        assert code(caller.send("GET", "/auth/credentials")) == UNAUTHENTICATED
        assert code(caller.send("PUT", PATH, BODY, action=action)) == UNAUTHENTICATED


def test_a11_who_is_shut_out_while_the_body_is_on_its_way_is_refused(in_process: InProcess, tenants: Tenants) -> None:
    """A body may take a minute to arrive: who was known when it began is looked at again when it is there."""
    account = tenants.service_account(in_process.values["orgId"], everything=True)
    states = iter(["Active", "Inactive"])

    async def read_body(_limit: int) -> bytes:
        await asyncio.to_thread(
            tenants.execute, "UPDATE users SET state = ? WHERE user_id = ?", next(states), account.user_id
        )
        in_process.clock.move(seconds=1)
        return b""

    lines = [(b"authorization", f"Bearer {account.connection['authToken']}".encode())]
    face = in_process.runtime.face
    for expected in (200, 401):
        answered = in_process.runner.run(face.answer("GET", b"/auth/credentials", lines, "127.0.0.1", read_body))
        assert answered.response.status == expected


def test_a11_a_revoked_permission_binds_the_next_mutation(in_process: InProcess, tenants: Tenants) -> None:
    org_id = in_process.values["orgId"]
    permission = tenants.permission(org_id, ["Keys:Update", "Keys:Read"])
    account = tenants.service_account(org_id, permission)
    with in_process.caller(account.connection) as caller:
        assert code(caller.send("GET", "/keys"))[0] == 200
        action = caller.action_token("PUT", PATH, BODY)
        tenants.grant(permission, [])
        answer = caller.send("PUT", PATH, BODY, action=action)
        assert code(answer) == (403, "FORBIDDEN")
        assert "Keys:Update" in answer.json()["message"]
        in_process.clock.move(seconds=1)
        assert code(caller.send("GET", "/keys")) == (403, "FORBIDDEN")
        # Given back, the same signature still holds: the permission is not part of it, and nothing was spent.
        tenants.grant(permission, ["Keys:Update"])
        in_process.clock.move(seconds=1)
        assert code(caller.send("PUT", PATH, BODY, action=action)) == REACHED


def test_a11_a_state_change_in_one_process_binds_the_next_mutation_in_another(shared_sandbox: Sandbox) -> None:
    """Both processes have seen the account a moment ago."""
    if shared_sandbox.database is None:
        return  # SQLite is served by one process
    tenants = beside(shared_sandbox.directory, shared_sandbox.database, shared_sandbox.values["baseUrl"])
    account = tenants.service_account(shared_sandbox.values["orgId"], everything=True)
    path = f"/auth/service-accounts/{account.user_id}/deactivate"
    with (
        second_server(shared_sandbox) as other,
        Caller(shared_sandbox.admin) as admin,
        Caller({**account.connection, "baseUrl": other}) as caller,
    ):
        action = caller.action_token("PUT", PATH, BODY)
        assert admin.signed("PUT", path, {}).status_code == 200
        assert code(caller.send("PUT", PATH, BODY, action=action)) == UNAUTHENTICATED


def test_a11_deactivating_twice_is_one_change(scene: Scene) -> None:
    for _ in range(2):
        scene.by_admin("PUT", "/deactivate")
    for _ in range(2):
        scene.by_admin("PUT", "/activate")
    scene.second_later()
    action = scene.caller.action_token("PUT", PATH, BODY)
    scene.by_admin("PUT", "/activate")
    assert code(scene.caller.send("PUT", PATH, BODY, action=action)) == REACHED
