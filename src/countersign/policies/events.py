"""What webhooks are told of policies and approvals, after what they hold has been stored."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from countersign.api import Wire
from countersign.encoding.dates import to_iso
from countersign.policies.deciding import Hold, Proceed, Verdict
from countersign.policies.rows import find_approval
from countersign.policies.types import ActivityKind, Approval
from countersign.storage import Transaction
from countersign.webhooks import emit, listening
from countersign.world import World


def tell(
    org_id: str, verdict: Verdict, kind: ActivityKind, entity_kind: str, shown: Wire, world: World
) -> Transaction[None]:
    """Tell of a verdict: each policy that triggered, and the approval, or that the activity was let go or blocked.

    ``shown``: the entity as clients see it. Nothing is told where no policy was asked. Belongs behind what tells that
    the entity was asked for.
    """
    if isinstance(verdict, Proceed) and not verdict.evaluated:
        return
    if not (yield from listening(org_id)):
        return
    activity = {"kind": kind, entity_kind: shown}
    for triggered in verdict.triggered:
        evaluation = {
            "id": world.new_id("plce"),
            "triggered": True,
            "reason": triggered.reason,
            "date": to_iso(world.now()),
            "policy": triggered.policy,
            "activity": activity,
            "context": triggered.context or {},
        }
        yield from emit(org_id, "policy.triggered", {"policyEvaluation": evaluation}, world)
    if isinstance(verdict, Hold):
        approval = yield from find_approval(org_id, verdict.approval_id, world.now())
        yield from emit(org_id, "policy.approval.pending", _shown(approval, shown), world)
        return
    status = "Cleared" if isinstance(verdict, Proceed) else "Blocked"
    yield from emit(org_id, "policy.activity.resolved", {"activity": activity, "status": status}, world)


def tell_end(org_id: str, approval_id: str, entity_kind: str, world: World) -> Transaction[None]:
    """Tell that an approval has ended, and what that means for its activity."""
    if not (yield from listening(org_id)):
        return
    approval = yield from find_approval(org_id, approval_id, world.now())
    entity = approval.activity[entity_kind]
    yield from emit(org_id, "policy.approval.resolved", _shown(approval, entity), world)
    resolved = {
        "activity": approval.activity,
        "status": "Cleared" if approval.status == "Approved" else "Blocked",
        "approvalId": approval_id,
    }
    yield from emit(org_id, "policy.activity.resolved", resolved, world)


def _shown(approval: Approval, entity: Any) -> dict[str, Any]:
    # Limits of policies are exact decimals.
    plain: dict[str, Any] = msgspec.to_builtins(approval, builtin_types=(Decimal,))
    return {"approval": {**plain, "activityId": entity.id}}
