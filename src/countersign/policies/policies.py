"""Policies as rows: made freely, changed and archived under the policies that guard policies."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from countersign.api import ApiError, Caller, Effect, PageRequest, encode, not_found, validation
from countersign.encoding.dates import to_iso
from countersign.policies import store, validate
from countersign.policies.book import renew_revision
from countersign.policies.change_requests import (
    Applied,
    Change,
    ChangeRequest,
    Failed,
    change_request,
    guard,
    register_change,
)
from countersign.policies.types import Policy, PolicyBody, PolicyStatus, RequestApproval, policy_of
from countersign.storage import Row, Transaction
from countersign.storage.pagination import page_of
from countersign.world import World

_decode = msgspec.json.Decoder(Policy).decode


def read_body(value: Any, at: str = "") -> PolicyBody:
    """A policy as a client sent it. 400 says what to change; 412 where its rule needs an integration not set up.

    ``at``: the path of the policy in what was sent.
    """
    # There are no screening providers yet.
    body = validate.read(value, integrations=())
    if isinstance(body, PolicyBody):
        return body
    first = body.problems[0]
    if first.status == 412:
        raise ApiError("INTEGRATION_MISSING", f"The policy needs an integration: {body.message}.")
    issues = [{"path": at + one.path, "message": one.message} for one in body.problems]
    raise ApiError("VALIDATION", f"Bad Request: {body.message}", details={"issues": issues})


def create(org_id: str, body: PolicyBody, world: World) -> Transaction[Effect[Policy]]:
    """A new policy, in force with the transaction; no policy guards that. 400 for approvers nobody knows."""
    yield from _require_approvers(org_id, body)
    policy_id, now = world.new_id("plc"), world.now()
    date = to_iso(now)
    policy = policy_of(policy_id, body, date_created=date, date_updated=date)
    yield store.INSERT_POLICY, (org_id, policy_id, encode(policy).decode(), now, now)
    yield from renew_revision(org_id, world)
    return Effect(policy, (policy_id,))


def all_active(org_id: str) -> Transaction[list[Policy]]:
    """Every policy that is in force."""
    return [_decode(row[0]) for row in (yield store.LIST_ACTIVE, (org_id,))]


def get(org_id: str, policy_id: str) -> Transaction[Policy]:
    """One policy, with the change of it that waits for an approval."""
    rows = yield store.GET_POLICY, (org_id, policy_id)
    if not rows:
        raise not_found("policy")
    return _view(rows[0])


def list_page(
    org_id: str, status: PolicyStatus | None, page: PageRequest
) -> Transaction[tuple[list[Policy], str | None]]:
    """A page of policies, newest first."""
    if status is None:
        rows = yield store.LIST_POLICIES, (org_id, page.before, page.limit + 1)
    else:
        rows = yield store.LIST_POLICIES_BY_STATUS, (org_id, status, page.before, page.limit + 1)
    shown, token = page_of(rows, page.limit, page.scope, lambda row: str(row[0]))
    return [_view(row) for row in shown], token


def update(
    caller: Caller, policy_id: str, body: PolicyBody, world: World
) -> Transaction[Effect[Policy | ChangeRequest]]:
    """Replace all of an active policy but its id; or ask for it, where a policy guards it."""
    current = yield from _hold(caller.org_id, policy_id)
    yield from _require_approvers(caller.org_id, body)
    date = to_iso(world.now())
    target = policy_of(policy_id, body, date_created=current.date_created, date_updated=date)
    return (yield from _guarded(caller, target, world))


def archive(caller: Caller, policy_id: str, world: World) -> Transaction[Effect[Policy | ChangeRequest]]:
    """End a policy for good; or ask for it, where a policy guards it."""
    current = yield from _hold(caller.org_id, policy_id)
    target = msgspec.structs.replace(current, status="Archived", date_updated=to_iso(world.now()))
    return (yield from _guarded(caller, target, world))


def archive_unasked(org_id: str, policy: Policy, world: World) -> Transaction[None]:
    """End a policy without asking those that guard it; the caller holds its row."""
    yield from _write(org_id, msgspec.structs.replace(policy, status="Archived"), world)


def _guarded(caller: Caller, target: Policy, world: World) -> Transaction[Effect[Policy | ChangeRequest]]:
    def make() -> Transaction[Effect[Policy]]:
        written = yield from _write(caller.org_id, target, world)
        return Effect(target if written is None else written, (target.id,))

    change = Change("Policies:Modify", "Policy", "Update", target.id, target, policy_id=target.id)
    return (yield from guard(caller, change, make, world))


def apply(org_id: str, request: ChangeRequest, world: World) -> Transaction[Applied | Failed]:
    """Make an approved change of a policy, unless it was archived meanwhile, or names an approver who is no more."""
    target = msgspec.convert(request.body, Policy)
    if target.status == "Active":
        try:
            yield from _require_approvers(org_id, target)
        except ApiError as error:
            return Failed(error.message)
    if (yield from _write(org_id, target, world)) is None:
        return Failed("the policy is archived")
    return Applied((target.id,))


def _write(org_id: str, target: Policy, world: World) -> Transaction[Policy | None]:
    """The policy as it is from now on; ``None``, and nothing written, when it is archived."""
    now = world.now()
    written = msgspec.structs.replace(target, date_updated=to_iso(now))
    if not (yield store.UPDATE_POLICY, (target.status, encode(written).decode(), now, org_id, target.id)):
        return None
    yield from renew_revision(org_id, world)
    return written


def _hold(org_id: str, policy_id: str) -> Transaction[Policy]:
    """The policy, which nobody else changes until the transaction ends; 422 for an archived one."""
    rows = yield store.HOLD_POLICY, (org_id, policy_id)
    if not rows:
        raise not_found("policy")
    if rows[0][0] != "Active":
        raise ApiError("POLICY_ARCHIVED")
    return _decode(rows[0][1])


def require_approvers(org_id: str, drafts: Sequence[Policy]) -> Transaction[None]:
    """400 for the first of them that names an approver who could not approve."""
    for index, policy in enumerate(drafts):
        yield from _require_approvers(org_id, policy, f"policies[{index}].")


def _require_approvers(org_id: str, body: PolicyBody | Policy, at: str = "") -> Transaction[None]:
    """400 for an approver who is nobody of the organisation, an end user or archived."""
    if not isinstance(body.action, RequestApproval):
        return
    for index, group in enumerate(body.action.approval_groups):
        for user_id in sorted(set(group.approvers.user_id.in_)) if group.approvers.user_id else ():
            if not (yield store.IS_POSSIBLE_APPROVER, (org_id, user_id)):
                path = f"{at}action.approvalGroups[{index}].approvers.userId.in"
                raise validation(path, f"{user_id} is nobody of this organisation who could approve")


def _view(row: Row) -> Policy:
    policy = _decode(row[1])
    if row[2] is None:
        return policy
    waiting: dict[str, Any] = msgspec.to_builtins(change_request(row[2:]), builtin_types=(Decimal,))
    return msgspec.structs.replace(policy, pending_change_request=waiting)


register_change("Policy", apply)
