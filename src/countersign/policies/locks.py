"""Policies that guard policies and can be changed by nobody: no one can start a change that others could let through.

Judged for the people as they are now, and as if whoever is active could be given the permissions to start and to vote.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from countersign.encoding.counted import counted
from countersign.policies.activity import ChangeActivity
from countersign.policies.approvals import Member, possible_approvers
from countersign.policies.evaluate import scope_of
from countersign.policies.types import ApprovalGroup, Policy, RequestApproval


@dataclass(frozen=True, slots=True)
class Lock:
    """A policy that nobody can change; ``reasons``: the groups that can't reach their quorum, in words."""

    policy: Policy
    reasons: tuple[str, ...]


def locks(policies: Sequence[Policy], members: Collection[Member], service_accounts_allowed: bool) -> list[Lock]:
    """The guards among active policies that are locked. ``members``: all who could ever approve."""
    guards = [one for one in policies if one.activity_kind == "Policies:Modify" and one.status == "Active"]
    found = []
    starters = [one for one in members if one.active]
    for policy in guards:
        groups = [(guard, group) for guard in guards if _guards(guard, policy) for group in _groups(guard)]
        if not groups or any(
            all(_able(group, members, starter, service_accounts_allowed) >= group.quorum for _, group in groups)
            for starter in starters
        ):
            continue
        said = (_reason(guard, group, members, starters, service_accounts_allowed) for guard, group in groups)
        found.append(Lock(policy, tuple(reason for reason in said if reason is not None)))
    return found


def _guards(guard: Policy, policy: Policy) -> bool:
    change = ChangeActivity("Policies:Modify", "", 0, policy_id=policy.id)
    return not isinstance(scope_of(guard, change), str)


def _groups(guard: Policy) -> Sequence[ApprovalGroup]:
    return guard.action.approval_groups if isinstance(guard.action, RequestApproval) else ()


def _able(group: ApprovalGroup, members: Collection[Member], starter: Member, allowed: bool) -> int:
    return len(possible_approvers(group, members, starter.id, allowed))


def _reason(
    guard: Policy, group: ApprovalGroup, members: Collection[Member], starters: Collection[Member], allowed: bool
) -> str | None:
    most = max((_able(group, members, starter, allowed) for starter in starters), default=0)
    least = min((_able(group, members, starter, allowed) for starter in starters), default=0)
    if least >= group.quorum:
        return None
    able = str(most) if least == most else f"{least} to {most}, by who starts it,"
    return f"{guard.name} ({guard.id}): a group needs {counted(group.quorum, 'approval')}, and {able} can be given"
