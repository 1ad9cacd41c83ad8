"""Policies with the official SDKs, unmodified: two people, a service account, and what waits for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Protocol

import pytest
from dfns_sdk.types import DfnsError

from tests.clients.connection import Connection
from tests.clients.sdk_node import NodeClient, NodeSdkError
from tests.clients.sdk_python import python_client
from tests.support.server import Sandbox
from tests.support.tenants import Identity, beside


class Client(Protocol):
    """An SDK by the names of its API."""

    def create_policy(self, body: dict[str, Any]) -> dict[str, Any]: ...
    def update_policy(self, policy_id: str, body: dict[str, Any]) -> dict[str, Any]: ...
    def archive_policy(self, policy_id: str) -> dict[str, Any]: ...
    def policies(self, **query: Any) -> list[dict[str, Any]]: ...
    def approvals(self, **query: Any) -> list[dict[str, Any]]: ...
    def approval(self, approval_id: str) -> dict[str, Any]: ...
    def decide(self, approval_id: str, **body: Any) -> dict[str, Any]: ...
    def create_key(self) -> str: ...
    def sign(self, key_id: str, **body: Any) -> dict[str, Any]: ...
    def signature(self, key_id: str, signature_id: str) -> dict[str, Any]: ...


class Python:
    """The Python SDK 1.0.4, which takes a 202 for the result."""

    def __init__(self, connection: Connection, stack: ExitStack) -> None:
        self._dfns: Any = stack.enter_context(python_client(connection))

    def create_policy(self, body: dict[str, Any]) -> dict[str, Any]:
        return self._dfns.policies.create_policy(body)

    def update_policy(self, policy_id: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._dfns.policies.update_policy(policy_id, body)

    def archive_policy(self, policy_id: str) -> dict[str, Any]:
        return self._dfns.policies.delete_policy(policy_id)

    def policies(self, **query: Any) -> list[dict[str, Any]]:
        return self._dfns.policies.list_policies(query)["items"]

    def approvals(self, **query: Any) -> list[dict[str, Any]]:
        return self._dfns.policies.list_approvals(query)["items"]

    def approval(self, approval_id: str) -> dict[str, Any]:
        return self._dfns.policies.get_approval(approval_id)

    def decide(self, approval_id: str, **body: Any) -> dict[str, Any]:
        return self._dfns.policies.create_approval_decision(approval_id, body)

    def create_key(self) -> str:
        return self._dfns.keys.create_key({"scheme": "EdDSA", "curve": "ed25519"})["id"]

    def sign(self, key_id: str, **body: Any) -> dict[str, Any]:
        return self._dfns.keys.generate_signature(key_id, body)

    def signature(self, key_id: str, signature_id: str) -> dict[str, Any]:
        return self._dfns.keys.get_signature(key_id, signature_id)


class TypeScript:
    """The TypeScript SDK 0.8.21, which throws at a 202; what waits is then read from the policy."""

    def __init__(self, connection: Connection, stack: ExitStack) -> None:
        self._dfns = stack.enter_context(NodeClient(connection))

    def _call(self, name: str, **arguments: Any) -> Any:
        return self._dfns.call(name, **arguments)

    def _change(self, name: str, policy_id: str, **arguments: Any) -> Any:
        try:
            return self._call(name, policyId=policy_id, **arguments)
        except NodeSdkError as error:
            if error.status != 202:
                raise
            return self._call("policies.getPolicy", policyId=policy_id)["pendingChangeRequest"]

    def create_policy(self, body: dict[str, Any]) -> dict[str, Any]:
        return self._call("policies.createPolicy", body=body)

    def update_policy(self, policy_id: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._change("policies.updatePolicy", policy_id, body=body)

    def archive_policy(self, policy_id: str) -> dict[str, Any]:
        return self._change("policies.archivePolicy", policy_id)

    def policies(self, **query: Any) -> list[dict[str, Any]]:
        return self._call("policies.listPolicies", query=query)["items"]

    def approvals(self, **query: Any) -> list[dict[str, Any]]:
        return self._call("policies.listApprovals", query=query)["items"]

    def approval(self, approval_id: str) -> dict[str, Any]:
        return self._call("policies.getApproval", approvalId=approval_id)

    def decide(self, approval_id: str, **body: Any) -> dict[str, Any]:
        return self._call("policies.createApprovalDecision", approvalId=approval_id, body=body)

    def create_key(self) -> str:
        return self._call("keys.createKey", body={"scheme": "EdDSA", "curve": "ed25519"})["id"]

    def sign(self, key_id: str, **body: Any) -> dict[str, Any]:
        return self._call("keys.generateSignature", keyId=key_id, body=body)

    def signature(self, key_id: str, signature_id: str) -> dict[str, Any]:
        return self._call("keys.getSignature", keyId=key_id, signatureId=signature_id)


class Story:
    """``ada`` and ``bob`` are people, ``bot`` is a service account, each with a client of the SDK under test."""

    def __init__(self, sandbox: Sandbox, sdk: type[Python] | type[TypeScript], stack: ExitStack) -> None:
        tenants = self._tenants = beside(sandbox.directory, sandbox.database, sandbox.values["baseUrl"])
        org_id = sandbox.values["orgId"]
        self.people: list[Identity] = [tenants.session(org_id, everything=True) for _ in range(2)]
        account = tenants.service_account(org_id, everything=True)
        tenants.introduce(*self.people, account)
        clients: list[Client] = [sdk(each.connection, stack) for each in (*self.people, account)]
        self.ada, self.bob, self.bot = clients
        self.key = self.bot.create_key()

    def policy(self, action: dict[str, Any], **members: Any) -> dict[str, Any]:
        body = {"name": "p", "activityKind": "Wallets:Sign", "rule": {"kind": "AlwaysTrigger"}, "action": action}
        return self.ada.create_policy({**body, **members})

    def group(self, quorum: int) -> dict[str, Any]:
        listed = {"userId": {"in": [each.user_id for each in self.people]}}
        return {"kind": "RequestApproval", "approvalGroups": [{"quorum": quorum, "approvers": listed}]}

    def let_pass(self, approval_id: str) -> None:
        """As if the time of an approval had passed."""
        execute = self._tenants.execute
        execute("UPDATE policy_approvals SET expires_at = created_at WHERE approval_id = ?", approval_id)
        execute("UPDATE jobs SET due_at = created_at WHERE unique_key = ?", approval_id)

    def settled(self, request: dict[str, Any]) -> dict[str, Any]:
        """The signature request once it is no longer on its way."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            found = self.bot.signature(self.key, request["id"])
            if found["status"] not in ("Pending", "Executing"):
                return found
            time.sleep(0.05)
        raise AssertionError(f"it is still {found['status']}")


@pytest.fixture(params=["python", "typescript"])
def story(request: pytest.FixtureRequest, shared_sandbox: Sandbox) -> Iterator[Story]:
    with ExitStack() as stack:
        story = Story(shared_sandbox, Python if request.param == "python" else TypeScript, stack)
        yield story
        for policy in story.ada.policies(status="Active"):
            story.ada.archive_policy(policy["id"])


def refusal(doing: Callable[[], Any]) -> int | None:
    """The status that an SDK reports."""
    with pytest.raises((DfnsError, NodeSdkError)) as caught:
        doing()
    error: Any = caught.value
    status: int | None = getattr(error, "status", None) or getattr(error, "status_code", None)
    return status


def test_two_people_let_a_service_account_sign(story: Story) -> None:
    policy = story.policy(story.group(2))
    body = {"kind": "Message", "message": "0x00", "externalId": story.key}
    request = story.bot.sign(story.key, **body)
    assert request["status"] == "Pending"
    assert story.bot.sign(story.key, **body) == request
    approval_id = request["approvalId"]
    (listed,) = story.bob.approvals(status="Pending", approverId=story.people[1].user_id)
    assert listed == story.bob.approval(approval_id)
    assert [each["policyId"] for each in listed["policyEvaluations"] if each["triggered"]] == [policy["id"]]
    assert story.ada.decide(approval_id, value="Approved", reason="seen")["status"] == "Pending"
    assert refusal(lambda: story.ada.decide(approval_id, value="Approved")) == 409
    assert refusal(lambda: story.bot.decide(approval_id, value="Approved")) == 403
    assert story.bob.decide(approval_id, value="Approved")["status"] == "Approved"
    signed = story.settled(request)
    assert signed["status"] == "Signed"
    assert signed["approvalId"] == approval_id
    assert story.bot.sign(story.key, **body) == signed


def test_a_denied_and_a_blocked_request_are_never_signed(story: Story) -> None:
    story.policy(story.group(1))
    request = story.bot.sign(story.key, kind="Message", message="0x00")
    assert story.bob.decide(request["approvalId"], value="Denied")["status"] == "Denied"
    assert story.settled(request)["status"] == "Rejected"
    assert refusal(lambda: story.ada.decide(request["approvalId"], value="Approved")) == 412
    story.policy({"kind": "Block"})
    assert refusal(lambda: story.bot.sign(story.key, kind="Message", message="0x00")) == 403


def test_what_nobody_decides_expires_and_is_rejected(story: Story) -> None:
    story.policy({**story.group(1), "autoRejectTimeout": 60})
    request = story.bot.sign(story.key, kind="Message", message="0x00")
    approval_id = request["approvalId"]
    assert story.ada.approval(approval_id)["expirationDate"] > request["dateRequested"]
    story.let_pass(approval_id)
    expired = story.settled(request)
    assert (expired["status"], expired["reason"]) == ("Rejected", "the approval expired")
    assert story.ada.approval(approval_id)["status"] == "Expired"
    assert refusal(lambda: story.ada.decide(approval_id, value="Approved")) == 412


def test_a_velocity_lets_no_more_than_its_limit_go_on(story: Story) -> None:
    velocity = {"kind": "TransactionCountVelocity", "configuration": {"limit": 2, "timeframe": 60}}
    story.policy(story.group(1), rule=velocity)
    made = [story.bot.sign(story.key, kind="Message", message="0x00")["status"] for _ in range(3)]
    assert made == ["Signed", "Signed", "Pending"]


def test_a_policy_that_guards_policies_makes_their_changes_wait(story: Story) -> None:
    body = {"name": "p", "activityKind": "Wallets:Sign", "rule": {"kind": "AlwaysTrigger"}}
    guarded = story.policy({"kind": "NoAction"})
    filters = {"policyId": {"in": [guarded["id"]]}}
    guard = story.policy(story.group(1), activityKind="Policies:Modify", filters=filters)
    held = story.ada.update_policy(guarded["id"], {**body, "name": "changed", "action": {"kind": "NoAction"}})
    assert (held["kind"], held["status"], held["entityId"]) == ("Policy", "Pending", guarded["id"])
    decided = story.bob.decide(held["approvalId"], value="Approved")
    assert decided["activity"]["changeRequest"]["status"] == "Applied"
    held = story.ada.archive_policy(guarded["id"])
    assert held["body"]["name"] == "changed"
    assert story.bob.decide(held["approvalId"], value="Approved")["status"] == "Approved"
    assert [each["id"] for each in story.ada.policies(status="Active")] == [guard["id"]]
