"""Station 7: whether an activity goes on, waits or is refused, inside the transaction that stores it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from countersign.api import ApiError, encode
from countersign.jobs import enqueue
from countersign.policies import store
from countersign.policies.activity import Activity
from countersign.policies.approvals import Member, MemberKind, may_approve
from countersign.policies.book import BOOK, read_revision
from countersign.policies.evaluate import Blocked, Cleared, Evaluated, Outcome, PendingApproval
from countersign.policies.facts import Facts
from countersign.policies.held import Entity
from countersign.policies.judging import History, judge, unknown_history
from countersign.policies.rules import Verdict as RuleVerdict
from countersign.policies.types import ActivityKind
from countersign.storage import Row, Transaction
from countersign.world import World

#: In place of user ids: all people of the organisation but the initiator.
EVERYBODY = "*"
#: The kind of job that ends an approval when its time is over.
END_APPROVAL = "policies.end_approval"


class Ends(msgspec.Struct, frozen=True, rename="camel"):
    """What that job holds."""

    approval_id: str


@dataclass(frozen=True, slots=True)
class Proceed:
    """The activity goes on. ``evaluated``: whether any policy was asked."""

    evaluated: bool
    triggered: tuple[Evaluated, ...] = ()


@dataclass(frozen=True, slots=True)
class Hold:
    """The activity waits for this approval, which is stored."""

    approval_id: str
    triggered: tuple[Evaluated, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """The activity is refused: ``reason`` for its entity, ``error`` for the caller."""

    reason: str
    error: ApiError
    triggered: tuple[Evaluated, ...]


Verdict = Proceed | Hold | Block


def decide(
    org_id: str,
    activity: Activity,
    entity: Entity,
    world: World,
    *,
    revision: str | None = None,
    facts: Facts | None = None,
    history: History = unknown_history,
    bypass_approval: bool = False,
) -> Transaction[Verdict]:
    """What the organisation's policies say of an activity; an approval or a refusal is written down with it.

    ``revision``: of the policies, where the transaction has read it already. ``facts``: prices and screenings, loaded
    before the transaction. ``history`` is read here, behind a lock of each wallet or key, so that of two activities one
    counts the other. ``bypass_approval``: what would wait goes on, what is blocked is not.
    """
    if revision is None:
        revision = yield from read_revision(org_id)
    policies = yield from BOOK.of(org_id, revision, activity.kind)
    if not policies:
        return Proceed(evaluated=False)
    outcome = yield from judge(org_id, activity, policies, Facts() if facts is None else facts, history, in_turn=True)
    asked = outcome.asked
    triggered = tuple([one for one in asked if one.verdict.triggered])
    if isinstance(outcome, Blocked):
        yield from _write_verdict(org_id, activity, entity, outcome, outcome.policy_ids, world)
        names = ", ".join(policy.name for policy in policies if policy.id in outcome.policy_ids)
        return Block(f"blocked by policy: {names}", blocked(activity.kind, entity.id, outcome.policy_ids), triggered)
    if isinstance(outcome, PendingApproval) and not bypass_approval:
        return Hold((yield from _ask(org_id, activity, entity, outcome, world)), triggered)
    if triggered:
        yield from _write_verdict(org_id, activity, entity, outcome, (), world)
    return Proceed(evaluated=bool(asked), triggered=triggered)


def blocked(kind: ActivityKind, request_id: str, policy_ids: Sequence[str]) -> ApiError:
    """403 that says which policies it was."""
    details = {
        "kind": "PolicyBlocked",
        "activityKind": kind,
        "requestId": request_id,
        "policyIds": list(policy_ids),
    }
    return ApiError("POLICY_BLOCKED", details=details)


def blocked_before(org_id: str, entity_id: str) -> Transaction[ApiError | None]:
    """The same 403 for a request that was blocked when it was made; ``None`` for any other."""
    rows = yield store.GET_BLOCK, (org_id, entity_id)
    return blocked(rows[0][0], entity_id, msgspec.json.decode(rows[0][1])) if rows else None


def _write_verdict(
    org_id: str, activity: Activity, entity: Entity, outcome: Outcome, policy_ids: Sequence[str], world: World
) -> Transaction[None]:
    named = "Blocked" if isinstance(outcome, Blocked) else "Cleared"
    row = (
        org_id,
        entity.id,
        activity.kind,
        named,
        encode(list(policy_ids)).decode(),
        encode(_said(outcome)).decode(),
        world.now(),
    )
    yield store.INSERT_VERDICT, row


def _said(outcome: Outcome) -> list[dict[str, Any]]:
    """What was said, each once with all policies that said it: under many policies most of them say the same."""
    saying: dict[int, tuple[RuleVerdict, list[str]]] = {}
    for one in outcome.asked:
        saying.setdefault(id(one.verdict), (one.verdict, []))[1].append(one.policy.id)
    return [
        {
            "policyIds": policy_ids,
            "triggered": verdict.triggered,
            "reason": verdict.reason,
            **({} if verdict.context is None else {"context": verdict.context}),
        }
        for verdict, policy_ids in saying.values()
    ]


def _ask(org_id: str, activity: Activity, entity: Entity, outcome: PendingApproval, world: World) -> Transaction[str]:
    """Store an approval with all groups of all policies that hold the activity."""
    approval_id, now = world.new_id("ap"), world.now()
    initiator_id = activity.initiator_id or ""
    row = (
        org_id,
        approval_id,
        initiator_id,
        activity.kind,
        entity.kind,
        entity.id,
        encode(list(outcome.groups)).decode(),
        encode(outcome.evaluations).decode(),
        outcome.expires_at,
        now,
        now,
    )
    yield store.INSERT_APPROVAL, row
    if outcome.expires_at is not None:
        yield from enqueue(END_APPROVAL, org_id, Ends(approval_id), outcome.expires_at, approval_id, world)
    for approver_id in (yield from _approvers(org_id, outcome, initiator_id)):
        yield store.INSERT_APPROVER, (org_id, approver_id, approval_id)
    return approval_id


def _approvers(org_id: str, outcome: PendingApproval, initiator_id: str) -> Transaction[list[str]]:
    """Who may approve as it stands, to find approvals by; who may in fact is looked at when they vote."""
    found: set[str] = set()
    named: set[str] = {initiator_id}
    for group in outcome.groups:
        if group.approvers.user_id:
            named.update(group.approvers.user_id.in_)
        else:
            found.add(EVERYBODY)
    for user_id in sorted(named):
        voter = yield from find_member(org_id, user_id)
        if voter is not None and any(may_approve(group, voter, initiator_id, True) for group in outcome.groups):
            found.add(user_id)
    return sorted(found)


def find_member(org_id: str, user_id: str) -> Transaction[Member | None]:
    """Somebody of the organisation as approvals see them."""
    rows = yield store.GET_VOTER, (org_id, user_id)
    return member(user_id, rows[0]) if rows else None


def member(user_id: str, row: Row) -> Member:
    """The same from state, kind and whether it is a service account."""
    state, kind, is_service_account = row
    of_kind: MemberKind = "ServiceAccount" if is_service_account else kind
    return Member(user_id, of_kind, state == "Active")


__all__ = [
    "EVERYBODY",
    "Block",
    "Cleared",
    "History",
    "Hold",
    "Proceed",
    "Verdict",
    "blocked",
    "decide",
    "find_member",
    "member",
    "unknown_history",
]
