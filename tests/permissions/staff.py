"""An organisation, and people in it who hold exactly what a test says."""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import httpx

from tests.support.caller import Caller
from tests.support.new_keys import new_public_key
from tests.support.tenants import Identity, Tenants

_NUMBER = itertools.count(1)


class Staff:
    """One organisation. What it hands out is closed with it."""

    def __init__(self, tenants: Tenants) -> None:
        self.tenants = tenants
        self._stack = ExitStack()
        self.founder = tenants.organisation()
        self.org_id = self.founder.org_id
        self.admin = self.caller(self.founder)
        self.full_access: str = tenants.execute(
            "SELECT permission_id FROM permissions WHERE org_id = ? AND is_immutable = 1", self.org_id
        )[0][0]

    def caller(self, identity: Identity) -> Caller:
        """A way in for this identity."""
        return self._stack.enter_context(Caller(identity.connection))

    def holding(self, *operations: str) -> tuple[Caller, Identity]:
        """A new person with a session and exactly these operations."""
        identity = self.tenants.session(self.org_id, self.tenants.permission(self.org_id, operations))
        return self.caller(identity), identity

    def another_administrator(self) -> tuple[Caller, Identity]:
        """A new person with every right."""
        identity = self.tenants.session(self.org_id, everything=True)
        return self.caller(identity), identity

    def permission(self, *operations: str, by: Caller | None = None) -> dict[str, Any]:
        """A new permission, made by the administrator."""
        body = {"name": new_name(), "operations": list(operations or ("Keys:Read",))}
        made = (by or self.admin).signed("POST", "/permissions", body)
        assert made.status_code == 200, made.text
        answer: dict[str, Any] = made.json()
        return answer

    def assign(self, permission_id: str, identity_id: str, by: Caller | None = None) -> httpx.Response:
        """Ask to give the permission to somebody."""
        body = {"identityId": identity_id}
        return (by or self.admin).signed("POST", f"/permissions/{permission_id}/assignments", body)

    def assigned(self, permission_id: str, identity_id: str) -> str:
        """The id of a new assignment by the administrator."""
        made = self.assign(permission_id, identity_id)
        assert made.status_code == 200, made.text
        assignment_id: str = made.json()["id"]
        return assignment_id

    def assignments(self, permission_id: str) -> list[dict[str, Any]]:
        """Who holds the permission."""
        items: list[dict[str, Any]] = self.admin.send("GET", f"/permissions/{permission_id}/assignments").json()[
            "items"
        ]
        return items

    def account(self, **members: Any) -> httpx.Response:
        """Ask for a new service account."""
        body = {"name": new_name(), "publicKey": new_public_key(), **members}
        return self.admin.signed("POST", "/auth/service-accounts", body)

    def policy(self, kind: str, action: dict[str, Any], permission_id: str | None = None) -> str:
        """A policy that always triggers, of one permission or of all; its id."""
        body: dict[str, Any] = {
            "name": new_name(),
            "activityKind": kind,
            "rule": {"kind": "AlwaysTrigger"},
            "action": action,
        }
        if permission_id is not None:
            body["filters"] = {"permissionId": {"in": [permission_id]}}
        made = self.admin.signed("POST", "/v2/policies", body)
        assert made.status_code == 200, made.text
        policy_id: str = made.json()["id"]
        return policy_id

    def vote(self, by: Caller, approval_id: str, value: str = "Approved") -> httpx.Response:
        """Decide about an approval."""
        return by.signed("POST", f"/v2/policy-approvals/{approval_id}/decisions", {"value": value})

    def __enter__(self) -> Staff:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def new_name() -> str:
    """A name that nothing has yet."""
    return f"role {next(_NUMBER)}"


def code(answer: httpx.Response) -> tuple[int, str | None]:
    """Status, and the error's code."""
    return answer.status_code, answer.json()["error"]["code"] if answer.status_code >= 400 else None


BLOCK = {"kind": "Block"}


def approval_by(*user_ids: str, quorum: int = 1) -> dict[str, Any]:
    """The action that waits for these people."""
    return {
        "kind": "RequestApproval",
        "approvalGroups": [{"quorum": quorum, "approvers": {"userId": {"in": list(user_ids)}}}],
    }
