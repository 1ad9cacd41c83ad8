"""Z1, generated from the table: every operation is denied without its permission and allowed with exactly it."""

from __future__ import annotations

import pytest

from countersign.access import catalogue
from countersign.api import Operation
from countersign.server.table import operations
from tests.checks.requests_of_operations import (
    FOR_NAMED_PEOPLE,
    NOT_FOR_SERVICE_ACCOUNTS,
    OPEN,
    REQUESTS,
    UNSIGNED,
    Stock,
    new_account,
    with_permission,
)
from tests.support.caller import Caller
from tests.support.server import Sandbox
from tests.support.tenants import Identity, Tenants

CALLERS = ("Token", "ServiceAccount", "Pat")


def test_z1_every_operation_has_a_row() -> None:
    ids = {operation.id for operation in operations()}
    assert ids - {*REQUESTS, *OPEN} == set(), "give the operation a request in requests_of_operations.py"
    assert set(REQUESTS).isdisjoint(OPEN)
    for operation in operations():
        assert (operation.permission is None) == (operation.id in OPEN), operation.id
        assert operation.permission is None or operation.permission in catalogue.OPERATIONS, operation.id
        assert not operation.public or operation.id in OPEN, operation.id
        assert operation.signed == (operation.method != "GET" and operation.id not in UNSIGNED), operation.id


def identity(tenants: Tenants, org_id: str, kind: str, granted: list[str]) -> Identity:
    permission = tenants.permission(org_id, granted)
    if kind == "ServiceAccount":
        return tenants.service_account(org_id, permission)
    session = tenants.session(org_id, permission)
    return session if kind == "Token" else tenants.personal_access_token(session, permission)


@pytest.fixture(scope="module")
def stock(shared_sandbox: Sandbox, shared_tenants: Tenants) -> Stock:
    return Stock(Caller(shared_sandbox.admin), shared_tenants)


@pytest.mark.parametrize("kind", CALLERS)
@pytest.mark.parametrize("operation", with_permission(), ids=lambda operation: operation.id)
def test_z1_denied_without_the_permission_and_allowed_with_exactly_it(
    shared_sandbox: Sandbox, shared_tenants: Tenants, stock: Stock, operation: Operation, kind: str
) -> None:
    if shared_sandbox.database is not None and kind != "ServiceAccount":
        return  # who may what is decided above the engine; one kind shows that both read the same rows
    org_id = shared_sandbox.values["orgId"]
    wanted = REQUESTS[operation.id](stock)
    needed = operation.permission
    assert needed is not None
    others = [name for name in catalogue.OPERATIONS if name != needed]
    without = identity(shared_tenants, org_id, kind, others)
    exactly = identity(shared_tenants, org_id, kind, [needed])
    if operation.signed and operation.path.startswith("/keys"):
        shared_tenants.introduce(exactly)
    for who, granted in ((without, False), (exactly, True)):
        with Caller(who.connection) as caller:
            action = None
            if operation.signed:
                action = caller.action_token(operation.method, wanted.path, wanted.body)
            answer = caller.send(operation.method, wanted.path, wanted.body, action=action)
            if kind not in operation.callers:
                assert (answer.status_code, answer.json()["error"]["code"]) == (403, "CALLER_KIND_REFUSED")
            elif granted and kind == "ServiceAccount" and operation.id in NOT_FOR_SERVICE_ACCOUNTS:
                refusal = (answer.status_code, answer.json()["error"]["code"])
                assert refusal == (403, NOT_FOR_SERVICE_ACCOUNTS[operation.id])
            elif granted and operation.id in FOR_NAMED_PEOPLE:
                refusal = (answer.status_code, answer.json()["error"]["code"])
                assert refusal == (403, FOR_NAMED_PEOPLE[operation.id])
            elif granted:
                assert answer.status_code in (200, 204), answer.text
            else:
                assert (answer.status_code, answer.json()["error"]["code"]) == (403, "FORBIDDEN")
                message = answer.json()["message"]
                assert f"({needed})" in message
                assert who.user_id in message


def test_z1_a_denied_action_is_not_spent(shared_sandbox: Sandbox, shared_tenants: Tenants, stock: Stock) -> None:
    org_id = shared_sandbox.values["orgId"]
    permission = shared_tenants.permission(org_id, ["Keys:Read"])
    account = shared_tenants.service_account(org_id, permission)
    path = f"/keys/{stock.key()}"
    with Caller(account.connection) as caller:
        action = caller.action_token("DELETE", path)
        assert caller.send("DELETE", path, action=action).json()["error"]["code"] == "FORBIDDEN"
        assert caller.send("GET", path).json()["status"] == "Active"
        shared_tenants.grant(permission, ["Keys:Delete"])
        with Caller(shared_tenants.another_session(account).connection) as again:
            # Another token has not been seen before, so that nothing is remembered of it.
            assert again.send("GET", path).json()["error"]["code"] == "FORBIDDEN"


def test_z1_nobody_without_a_permission_gets_anywhere(shared_sandbox: Sandbox, shared_tenants: Tenants) -> None:
    account = shared_tenants.service_account(shared_sandbox.values["orgId"])
    with Caller(account.connection) as caller:
        for operation in with_permission():
            if not operation.signed and "{" not in operation.path:
                assert caller.send(operation.method, operation.path).json()["error"]["code"] == "FORBIDDEN"
        assert caller.send("GET", "/auth/credentials").status_code == 200


def test_z1_every_operation_but_the_public_ones_needs_a_token(shared_sandbox: Sandbox) -> None:
    with Caller(shared_sandbox.service) as caller:
        for operation in operations():
            path = operation.path.replace("{", "").replace("}", "")
            answer = caller.send(operation.method, path, headers={"Authorization": ""})
            assert (answer.status_code != 401) == operation.public, operation.id


@pytest.mark.parametrize(
    ("spelling", "good"),
    [
        ("Keys:Read", True),
        ("keys:read", False),
        ("KEYS:READ", False),
        ("Keys:Read ", False),
        (" Keys:Read", False),
        ("Keys:Read\u200b", False),
        ("Ｋeys:Read", False),
        ("Keys:*", False),
        ("*", False),
        ("Keys", False),
        ("Keys:Read,Keys:Create", False),
        ("", False),
    ],
)
def test_z3_only_the_exact_name_of_an_operation_grants_it(
    shared_sandbox: Sandbox, shared_tenants: Tenants, spelling: str, good: bool
) -> None:
    org_id = shared_sandbox.values["orgId"]
    account = shared_tenants.service_account(org_id, shared_tenants.permission(org_id, [spelling]))
    with Caller(account.connection) as caller:
        assert (caller.send("GET", "/keys").status_code == 200) == good


def test_z3_older_names_grant_what_they_were_renamed_to(shared_sandbox: Sandbox, shared_tenants: Tenants) -> None:
    org_id = shared_sandbox.values["orgId"]
    permission = shared_tenants.permission(org_id, ["Wallets:GenerateSignature"])
    with (
        Caller(shared_tenants.service_account(org_id, permission).connection) as caller,
        Caller(shared_sandbox.admin) as admin,
    ):
        path = f"/keys/{admin.create_key()}/signatures"
        assert caller.signed("POST", path, {"kind": "Message", "message": "0x00"}).status_code == 200
        assert caller.send("GET", path).status_code == 403


def test_z3_the_administrators_permission_is_known_by_more_than_its_name(shared_tenants: Tenants) -> None:
    other = shared_tenants.organisation()
    with Caller(other.connection) as caller:
        assert caller.send("GET", "/keys").status_code == 200
    shared_tenants.execute("UPDATE permissions SET is_immutable = 0, operations = '[]' WHERE org_id = ?", other.org_id)
    with Caller(shared_tenants.another_session(other).connection) as caller:
        assert caller.send("GET", "/keys").status_code == 403


def test_z5_a_token_with_rights_of_its_own_has_no_more_than_its_owner(
    shared_sandbox: Sandbox, shared_tenants: Tenants
) -> None:
    org_id = shared_sandbox.values["orgId"]
    session = shared_tenants.session(org_id, shared_tenants.permission(org_id, ["Keys:Read", "Keys:Create"]))
    both = shared_tenants.permission(org_id, ["Keys:Read", "Auth:Logs:Read", "Auth:ServiceAccounts:Read"])
    with Caller(shared_tenants.personal_access_token(session, both).connection) as caller:
        assert caller.send("GET", "/keys").status_code == 200
        assert caller.send("GET", "/auth/service-accounts").status_code == 403
        made = caller.signed("POST", "/keys", {"scheme": "EdDSA", "curve": "ed25519"})
        assert made.status_code == 403


def test_z5_nobody_grants_what_they_do_not_hold(shared_sandbox: Sandbox, shared_tenants: Tenants) -> None:
    org_id = shared_sandbox.values["orgId"]
    own = ["Auth:ServiceAccounts:Create", "Permissions:Assign", "Keys:Read"]
    session = shared_tenants.session(org_id, shared_tenants.permission(org_id, own))
    more = shared_tenants.permission(org_id, ["Keys:Read", "Keys:Create"])
    less = shared_tenants.permission(org_id, ["Keys:Read"])
    everything = shared_tenants.execute(
        "SELECT permission_id FROM permissions WHERE org_id = ? AND is_immutable = 1", org_id
    )[0][0]
    with Caller(session.connection) as caller:
        for permission, status in ((more, 403), (everything, 403), (less, 200)):
            body = {**new_account(), "permissionId": permission}
            assert caller.signed("POST", "/auth/service-accounts", body).status_code == status
