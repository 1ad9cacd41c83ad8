"""An outcome as a tree for programs, and as lines for people."""

from __future__ import annotations

from typing import Any

from countersign.policies.evaluate import Blocked, Cleared, Evaluated, Ignored, Outcome, PendingApproval


def tree(outcome: Outcome) -> dict[str, Any]:
    """The outcome and, for each policy in order, whether it concerned the activity, what its rule said and why."""
    result: dict[str, Any] = {"outcome": type(outcome).__name__}
    match outcome:
        case Cleared():
            if outcome.bypass is not None:
                result["reason"] = outcome.bypass
        case Blocked():
            result["policyIds"] = list(outcome.policy_ids)
        case PendingApproval():
            result["approvalGroups"] = list(outcome.groups)
            result["expiresAt"] = outcome.expires_at
    result["policies"] = [_branch(one) for one in outcome.considered]
    return result


def _branch(considered: Evaluated | Ignored) -> dict[str, Any]:
    branch: dict[str, Any] = {"policyId": considered.policy_id, "name": considered.policy_name}
    if isinstance(considered, Ignored):
        return {**branch, "concerned": False, "filter": considered.reason}
    return {
        **branch,
        "concerned": True,
        "filter": considered.scope,
        "rule": considered.rule,
        "action": considered.action,
        "triggered": considered.triggered,
        "reason": considered.reason,
        **({} if considered.context is None else {"context": considered.context}),
    }


def lines(outcome: Outcome) -> list[str]:
    """The same for a terminal, without colours."""
    match outcome:
        case Cleared():
            head = "Cleared" if outcome.bypass is None else f"Cleared: {outcome.bypass}"
        case Blocked():
            head = f"Blocked by {', '.join(outcome.policy_ids)}"
        case PendingApproval():
            quorums = ", ".join(f"{one.quorum} of {one.name or 'a group'}" for one in outcome.groups)
            head = f"PendingApproval: needs {quorums}"
    result = [head]
    for one in outcome.considered:
        name = one.policy_id if one.policy_name == one.policy_id else f"{one.policy_id} ({one.policy_name})"
        if isinstance(one, Ignored):
            result.append(f"  - {name}: not asked, {one.reason}")
            continue
        said = "triggered" if one.triggered else "not triggered"
        result.append(f"  - {name}: {one.rule} -> {one.action}, {said}")
        result.append(f"      filter: {one.scope}")
        result.append(f"      reason: {one.reason}")
    return result
