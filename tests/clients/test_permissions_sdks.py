"""Every operation on permissions with the official SDKs, the older TypeScript one too, on both engines."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from dfns_sdk import DfnsClient
from dfns_sdk.types import DfnsError

from tests.clients.sdk_node import NodeClient, NodeSdkError
from tests.clients.sdk_python import python_client
from tests.support.new_keys import new_public_key
from tests.support.server import Sandbox

_NUMBER = itertools.count(1)


@pytest.fixture(scope="module")
def python(shared_sandbox: Sandbox) -> Iterator[DfnsClient]:
    """The administrator's client."""
    with python_client(shared_sandbox.admin) as client:
        yield client


@pytest.fixture(scope="module")
def typescript(shared_sandbox: Sandbox) -> Iterator[NodeClient]:
    """The same with the TypeScript SDK."""
    with NodeClient(shared_sandbox.admin) as client:
        yield client


@pytest.fixture(scope="module")
def older(shared_sandbox: Sandbox) -> Iterator[NodeClient]:
    """The same with the TypeScript SDK 0.6.12, which names an application."""
    with NodeClient(shared_sandbox.admin, app_id=shared_sandbox.values["appId"]) as client:
        yield client


def new_name() -> str:
    """A name that nothing has yet."""
    return f"of an SDK {next(_NUMBER)}"


def account(python: DfnsClient) -> str:
    """A new service account."""
    made = python.auth.create_service_account({"name": new_name(), "publicKey": new_public_key()})
    user_id: str = made["userInfo"]["userId"]
    return user_id


def guard(python: DfnsClient, kind: str, permission_id: str, holder: str) -> None:
    """Have changes of this permission wait for somebody else."""
    group = {"quorum": 1, "approvers": {"userId": {"in": [holder]}}}
    python.policies.create_policy(
        {
            "name": new_name(),
            "activityKind": kind,
            "rule": {"kind": "AlwaysTrigger"},
            "action": {"kind": "RequestApproval", "approvalGroups": [group]},
            "filters": {"permissionId": {"in": [permission_id]}},
        }
    )


def test_python_goes_through_the_life_of_a_permission(python: DfnsClient) -> None:
    permissions = python.permissions
    made = permissions.create_permission({"name": new_name(), "operations": ["Keys:Read", "Wallets:TransferAsset"]})
    permission = made["id"]
    assert permissions.get_permission(permission) == made
    assert permissions.list_permissions({"limit": 1})["items"] == [made]
    assert permissions.update_permission(permission, {"operations": ["Keys:Read"]})["operations"] == ["Keys:Read"]
    holder = account(python)
    assigned = permissions.assign_permission(permission, {"identityId": holder})
    assert permissions.list_assignments(permission, {"limit": 1})["items"] == [assigned]
    held = python.auth.get_service_account(holder)["userInfo"]["permissionAssignments"]
    assert [each["assignmentId"] for each in held] == [assigned["id"]]
    assert permissions.archive_permission(permission, {"isArchived": True})["isArchived"] is True
    assert permissions.archive_permission(permission, {"isArchived": False})["isArchived"] is False
    assert permissions.revoke_permission(permission, assigned["id"]) is None
    again = permissions.assign_permission(permission, {"identityId": holder})
    assert permissions.revoke_permission(permission, again["id"], {"force": True}) is None
    assert permissions.list_assignments(permission)["items"] == []


def test_python_is_told_what_cannot_be(python: DfnsClient) -> None:
    full = next(
        item
        for item in python.permissions.list_permissions({"limit": 100})["items"]
        if item["name"] == "ManagedFullAdminAccess"
    )
    with pytest.raises(DfnsError) as immutable:
        python.permissions.update_permission(full["id"], {"operations": ["Keys:Read"]})
    assert (immutable.value.status_code, immutable.value.error_code) == (412, "PERMISSION_IMMUTABLE")
    with pytest.raises(DfnsError) as unknown:
        python.permissions.create_permission({"name": new_name(), "operations": ["Keys:Everything"]})
    assert unknown.value.status_code == 400


def test_python_returns_the_change_request_of_what_waits(python: DfnsClient) -> None:
    permission = python.permissions.create_permission({"name": new_name(), "operations": ["Keys:Read"]})["id"]
    approver = python.auth.create_user({"email": f"p{next(_NUMBER)}@example.com", "kind": "CustomerEmployee"})["userId"]
    assigned, other = (
        python.permissions.assign_permission(permission, {"identityId": account(python)})["id"] for _ in range(2)
    )
    for kind in ("Permissions:Modify", "Permissions:Assign"):
        guard(python, kind, permission, approver)
    waiting: Any = python.permissions.update_permission(permission, {"name": new_name()})
    assert (waiting["status"], waiting["kind"], waiting["entityId"]) == ("Pending", "Permission", permission)
    assert python.permissions.get_permission(permission)["pendingChangeRequest"] == waiting
    # This method tells nothing, whatever it was answered.
    assert python.permissions.revoke_permission(permission, assigned) is None
    listed: dict[str, Any] = {item["id"]: item for item in python.permissions.list_assignments(permission)["items"]}
    revoked = listed[assigned]["pendingChangeRequest"]
    assert (revoked["operationKind"], revoked["entityId"]) == ("Delete", assigned)
    assert python.permissions.revoke_permission(permission, other, {"force": True}) is None
    assert [item["id"] for item in python.permissions.list_assignments(permission)["items"]] == [assigned]


@pytest.mark.parametrize("name", ["typescript", "older"])
def test_typescript_goes_through_the_life_of_a_permission(
    request: pytest.FixtureRequest, python: DfnsClient, name: str
) -> None:
    dfns: NodeClient = request.getfixturevalue(name)
    body = {"name": new_name(), "operations": ["Keys:Read", "Wallets:GenerateSignature"]}
    made = dfns.call("permissions.createPermission", body=body)
    permission = made["id"]
    assert dfns.call("permissions.getPermission", permissionId=permission) == made
    assert dfns.call("permissions.listPermissions", query={"limit": 1})["items"] == [made]
    updated = dfns.call("permissions.updatePermission", permissionId=permission, body={"operations": ["Keys:Read"]})
    assert updated["operations"] == ["Keys:Read"]
    assigned = dfns.call("permissions.createAssignment", permissionId=permission, body={"identityId": account(python)})
    listed = dfns.call("permissions.listAssignments", permissionId=permission)
    assert listed["items"] == [assigned]
    for is_archived in (True, False):
        archived = dfns.call("permissions.archivePermission", permissionId=permission, body={"isArchived": is_archived})
        assert archived["isArchived"] is is_archived
    assert dfns.call("permissions.deleteAssignment", permissionId=permission, assignmentId=assigned["id"]) is None
    again = dfns.call("permissions.createAssignment", permissionId=permission, body={"identityId": account(python)})
    forced = {"permissionId": permission, "assignmentId": again["id"], "query": {"force": "true"}}
    assert dfns.call("permissions.deleteAssignment", **forced) is None
    assert dfns.call("permissions.listAssignments", permissionId=permission)["items"] == []


@pytest.mark.parametrize("name", ["typescript", "older"])
def test_typescript_throws_what_waits(request: pytest.FixtureRequest, python: DfnsClient, name: str) -> None:
    dfns: NodeClient = request.getfixturevalue(name)
    permission = python.permissions.create_permission({"name": new_name(), "operations": ["Keys:Read"]})["id"]
    approver = python.auth.create_user({"email": f"t{next(_NUMBER)}@example.com", "kind": "CustomerEmployee"})["userId"]
    assigned = python.permissions.assign_permission(permission, {"identityId": account(python)})["id"]
    for kind in ("Permissions:Modify", "Permissions:Assign"):
        guard(python, kind, permission, approver)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("updatePermission", {"body": {"name": new_name()}}),
        ("createAssignment", {"body": {"identityId": account(python)}}),
        ("deleteAssignment", {"assignmentId": assigned}),
    ]
    for call, args in calls:
        with pytest.raises(NodeSdkError) as waits:
            dfns.call(f"permissions.{call}", permissionId=permission, **args)
        assert waits.value.status == 202
        # What the driver hands on of a change request is its ``body``: what is to be.
        assert permission in (waits.value.body["id"], waits.value.body.get("permissionId"))
    shown = dfns.call("permissions.getPermission", permissionId=permission)
    assert shown["pendingChangeRequest"]["operationKind"] == "Update"
