"""The active policies of an organisation, with its people, as policy tests hold them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from countersign.policies import store
from countersign.policies.policies import all_active
from countersign.policies.scenario import User
from countersign.policies.types import Policy
from countersign.storage import Transaction

_NOT_OF_A_FILE = ("status", "dateCreated", "dateUpdated", "pendingChangeRequest")


def scenario(org_id: str) -> Transaction[dict[str, Any]]:
    """``users`` (those who could approve) and ``policies``; numbers are whole or exact decimals."""
    users = [
        User(id=user_id, kind="ServiceAccount" if is_service_account else kind, active=state == "Active")
        for user_id, kind, is_service_account, state in (yield store.LIST_POSSIBLE_APPROVERS, (org_id,))
    ]
    policies = [_file(policy) for policy in (yield from all_active(org_id))]
    return {
        "users": [{"id": user.id, "kind": user.kind, "active": user.active} for user in users],
        "policies": policies,
    }


def _file(policy: Policy) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.to_builtins(policy, builtin_types=(Decimal,))
    return {name: value for name, value in body.items() if name not in _NOT_OF_A_FILE}
