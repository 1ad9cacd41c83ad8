"""Policies and approvals: what callers can do. End users never."""

from __future__ import annotations

from typing import Any, Literal

from countersign.api import UNSET, Call, Page, UnsetType, Wire, operation, page_request
from countersign.policies import decisions, policies, simulation
from countersign.policies.change_records import ChangeRecords
from countersign.policies.change_requests import ENTITY_KIND, ChangeRequest
from countersign.policies.decisions import Filters, Governance, Signed
from countersign.policies.pricing import Pricing
from countersign.policies.recorded import register_records
from countersign.policies.rows import find_approval
from countersign.policies.simulation import Simulate, Simulation
from countersign.policies.types import (
    Action,
    ActivityKind,
    Approval,
    CreateDecision,
    Policy,
    PolicyStatus,
    Rule,
)
from countersign.policies.types import Filters as PolicyFilters

register_records(ENTITY_KIND, ChangeRecords())

_PEOPLE: tuple[Any, ...] = ("CustomerEmployee",)


class PolicyInput(Wire):
    """A whole policy; ``Alias:Modify`` is the older name of ``Registry:Addresses:Modify``."""

    name: str
    activity_kind: ActivityKind | Literal["Alias:Modify"]
    rule: Rule
    action: Action
    filters: PolicyFilters | UnsetType = UNSET


class ListPolicies(Page):
    """``status``: only policies with this status."""

    status: list[PolicyStatus] | UnsetType = UNSET


class PolicyList(Wire):
    """One page of policies, newest first."""

    items: list[Policy]
    next_page_token: str | UnsetType = UNSET


class ListApprovals(Page):
    """``status``, ``initiatorId`` (who asked) and ``approverId`` (who may approve it) narrow the list.

    The older ``triggerStatus``, and the older status ``AutoApproved``, are taken and match nothing.
    """

    status: list[Literal["Pending", "Approved", "Denied", "Expired", "AutoApproved"]] | UnsetType = UNSET
    trigger_status: list[str] | UnsetType = UNSET
    initiator_id: str | UnsetType = UNSET
    approver_id: str | UnsetType = UNSET


class ApprovalList(Wire):
    """One page of approvals, newest first."""

    items: list[Approval]
    next_page_token: str | UnsetType = UNSET


@operation("POST", "/v2/policies", permission="Policies:Create", signed=True, user_kinds=_PEOPLE)
async def create_policy(call: Call, body: PolicyInput) -> Policy:
    """Create a policy, in force at once. No policy guards the creation of policies."""
    read = policies.read_body(call.request.body)
    return await call.commit(lambda: policies.create(call.org_id, read, call.world))


@operation("GET", "/v2/policies", permission="Policies:Read", user_kinds=_PEOPLE)
async def list_policies(call: Call, query: ListPolicies) -> PolicyList:
    """List policies, newest first, archived ones included unless `status` says otherwise."""
    wanted = frozenset(query.status or ())
    status = next(iter(wanted)) if len(wanted) == 1 else None
    page = page_request(query, f"{call.org_id}/policies/{status or ''}")
    items, token = await call.read(lambda: policies.list_page(call.org_id, status, page))
    return PolicyList(items=items, next_page_token=UNSET if token is None else token)


@operation("GET", "/v2/policies/{policyId}", permission="Policies:Read", user_kinds=_PEOPLE)
async def get_policy(call: Call) -> Policy:
    """Get a policy, with the change of it that waits for an approval."""
    return await call.read(lambda: policies.get(call.org_id, call.params["policyId"]))


@operation("PUT", "/v2/policies/{policyId}", permission="Policies:Update", signed=True, user_kinds=_PEOPLE)
async def update_policy(call: Call, body: PolicyInput) -> Policy | ChangeRequest:
    """Replace all of an active policy; a policy about `Policies:Modify` may make it wait for an approval."""
    read, policy_id = policies.read_body(call.request.body), call.params["policyId"]
    return await call.commit(lambda: policies.update(call.caller, policy_id, read, call.world))


@operation("DELETE", "/v2/policies/{policyId}", permission="Policies:Delete", signed=True, user_kinds=_PEOPLE)
async def delete_policy(call: Call) -> Policy | ChangeRequest:
    """Archive a policy for good; a policy about `Policies:Modify` may make it wait for an approval."""
    return await call.commit(lambda: policies.archive(call.caller, call.params["policyId"], call.world))


@operation("POST", "/policies/simulate", permission="Policies:Read", user_kinds=_PEOPLE)
async def simulate_policies(call: Call, body: Simulate) -> Simulation:
    """Say what would happen with an activity, under the active policies or a draft, and why; nothing is written.

    The policies are asked in the same way as when the activity happens: a request that was made is asked about as of
    then, with what had been recorded by then. About a key, or a signature request, it takes `Keys:Signatures:Read` too.
    """
    drafts = simulation.read_drafts(body.policies)
    question = await call.read(lambda: simulation.prepare(call.caller, body, drafts, call.world.now()))
    facts = await call.service(Pricing).facts(question.needed)
    return await call.read(lambda: simulation.simulate(call.org_id, question, facts))


@operation("GET", "/v2/policy-approvals", permission="Policies:Evaluations:Read", user_kinds=_PEOPLE)
async def list_approvals(call: Call, query: ListApprovals) -> ApprovalList:
    """List approvals, newest first; with `approverId` those that this user may approve."""
    if query.trigger_status is not UNSET or query.status == ["AutoApproved"]:
        return ApprovalList(items=[])
    statuses = tuple(sorted(set(query.status or ())))
    filters = Filters(
        statuses,
        None if query.initiator_id is UNSET else query.initiator_id,
        None if query.approver_id is UNSET else query.approver_id,
    )
    named = "/".join((",".join(statuses), filters.initiator_id or "", filters.approver_id or ""))
    page = page_request(query, f"{call.org_id}/approvals/{named}")
    items, token = await call.read(lambda: decisions.list_page(call.org_id, filters, page, call.world.now()))
    return ApprovalList(items=items, next_page_token=UNSET if token is None else token)


@operation("GET", "/v2/policy-approvals/{approvalId}", permission="Policies:Evaluations:Read", user_kinds=_PEOPLE)
async def get_approval(call: Call) -> Approval:
    """Get an approval, with what it is about as that is now."""
    return await call.read(lambda: find_approval(call.org_id, call.params["approvalId"], call.world.now()))


@operation(
    "POST",
    "/v2/policy-approvals/{approvalId}/decisions",
    permission="Policies:Evaluations:Vote",
    signed=True,
    user_kinds=_PEOPLE,
)
async def create_approval_decision(call: Call, body: CreateDecision) -> Approval:
    """Approve or deny what waits; one decision a person, final.

    It goes on when every group has its quorum, and ends with the first denial.
    """
    governance, approval_id = call.service(Governance), call.params["approvalId"]
    signed = Signed(call.action_id, call.evidence.credential_uuid)
    return await call.commit(lambda: decisions.vote(call.caller, approval_id, body, signed, governance, call.world))
