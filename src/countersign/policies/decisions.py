"""Decisions about held activities: votes, the end of an approval, and what follows from it, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from countersign.api import UNSET, ApiError, Caller, Effect, PageRequest, conflict, not_found
from countersign.keystores import MAX_APPROVALS
from countersign.policies import approvals, held, store
from countersign.policies.approvals import Member
from countersign.policies.change_requests import pending
from countersign.policies.deciding import EVERYBODY, find_member, member
from countersign.policies.events import tell_end
from countersign.policies.rows import StoredApproval, find_approval, show
from countersign.policies.types import Approval, CreateDecision
from countersign.storage import Row, Transaction
from countersign.storage.pagination import page_of
from countersign.world import World

#: Whether somebody of an organisation holds the permission to decide about approvals, as the database stands.
MayVote = Callable[[str, str], Transaction[bool]]


@dataclass(frozen=True, slots=True)
class Governance:
    """``service_accounts_allowed``: whether service accounts may approve at all."""

    service_accounts_allowed: bool
    may_vote: MayVote


@dataclass(frozen=True, slots=True)
class Signed:
    """The consent to a decision: its action, and the credential that signed it."""

    action_id: str
    credential_uuid: str


@dataclass(frozen=True, slots=True)
class Filters:
    """Of a list of approvals; none for any."""

    statuses: tuple[str, ...] = ()
    initiator_id: str | None = None
    approver_id: str | None = None


def list_page(
    org_id: str, filters: Filters, page: PageRequest, now: int
) -> Transaction[tuple[list[Approval], str | None]]:
    """A page of approvals, newest first; ``approver_id``: those that this user may approve, or could have."""
    status, initiator = f",{','.join(filters.statuses)},", filters.initiator_id or ""
    arguments = (org_id, page.before, status, status, now, initiator, initiator)
    if filters.approver_id is None:
        rows = yield store.LIST_APPROVALS, (*arguments, page.limit + 1)
    else:
        voter = yield from find_member(org_id, filters.approver_id)
        if voter is None or not voter.active:
            return [], None
        everybody = EVERYBODY if voter.is_human else ""
        of_approver = (filters.approver_id, everybody, filters.approver_id)
        rows = yield store.LIST_APPROVALS_OF_APPROVER, (*arguments, *of_approver, page.limit + 1)
    shown, token = page_of(rows, page.limit, page.scope, lambda row: str(row[0]))
    items = []
    for row in shown:
        items.append((yield from show(org_id, StoredApproval(*row), now)))
    return items, token


def vote(
    caller: Caller, approval_id: str, body: CreateDecision, signed: Signed, governance: Governance, world: World
) -> Transaction[Effect[Approval]]:
    """Record a decision, and what it brings about: the activity goes on, or ends.

    404 without such an approval; 403 for who may not vote so; 409 for a second vote; 412 when the approval is over, be
    it by the clock alone.
    """
    world = _at_one_instant(world)
    org_id, now = caller.org_id, world.now()
    rows = yield store.HOLD_APPROVAL, (org_id, approval_id)
    if not rows:
        raise not_found("approval")
    stored = StoredApproval(*rows[0])
    given = yield store.HOLD_DECISIONS, (org_id, approval_id)
    voter = yield from find_member(org_id, caller.user_id)
    if voter is None:
        raise LookupError("the caller is nobody of the organisation")
    allowed = governance.service_accounts_allowed
    members = yield from _standing(org_id, given, governance)
    outcome = approvals.decide(stored.state(given), voter, body.value, now, members, allowed)
    match outcome:
        case approvals.NotPending(status):
            error = ApiError("APPROVAL_CLOSED", f"The approval is {status.lower()}.", details={"status": status})
            if stored.status != "Pending":
                raise error
            entities = yield from close(org_id, stored, "Expired", "the approval expired", world)
            return Effect((yield from find_approval(org_id, approval_id, now)), entities, refused=error)
        case approvals.NotEligible(reason):
            raise ApiError("NOT_AN_APPROVER", f"Not eligible to decide: {reason}.")
        case approvals.VotedBefore():
            raise conflict("You have decided about this approval before", entity_id=approval_id)
        case approvals.Counted(state):
            pass
    reason_given = None if body.reason is UNSET else body.reason
    decision = (
        org_id,
        approval_id,
        caller.user_id,
        body.value,
        reason_given,
        signed.action_id,
        signed.credential_uuid,
        now,
    )
    if not (yield store.INSERT_DECISION, decision):
        raise conflict("You have decided about this approval before", entity_id=approval_id)
    entities = (approval_id,)
    if state.status == "Pending":
        yield store.TOUCH_APPROVAL, (now, org_id, approval_id)
    elif state.status in ("Approved", "Denied"):
        why = f"denied by {caller.user_id}" + (f": {reason_given}" if reason_given else "")
        entities = yield from close(org_id, stored, state.status, why, world)
    return Effect((yield from find_approval(org_id, approval_id, now)), entities)


def _standing(org_id: str, given: Sequence[Row], governance: Governance) -> Transaction[dict[str, Member]]:
    """Those who have decided and could do so again: their credential was not taken away since, nor their right.

    A vote stays one nonetheless: nobody gives a second one.
    """
    found = {}
    for row in given:
        if row[8] and (yield from governance.may_vote(org_id, row[0])):
            found[row[0]] = member(row[0], row[5:8])
    return found


def _at_one_instant(world: World) -> World:
    """The same with its clock stopped: what is decided together bears one time."""
    now = world.now()
    return replace(world, clock=lambda: now)


def close(
    org_id: str,
    stored: StoredApproval,
    status: Literal["Approved", "Denied", "Expired"],
    why: str,
    world: World,
) -> Transaction[tuple[str, ...]]:
    """End an approval that is held (``store.HOLD_APPROVAL``): its activity goes on or is rejected; ids of what changed.

    Does nothing when it has ended before.
    """
    now = world.now()
    if not (yield store.RESOLVE_APPROVAL, (status, now, now, org_id, stored.approval_id)):
        return (stored.approval_id,)
    entity = held.of(stored.entity_kind)
    if status == "Approved":
        changed = yield from entity.approved(org_id, stored.entity_id, world)
    else:
        changed = yield from entity.rejected(org_id, stored.entity_id, why, world)
    yield from tell_end(org_id, stored.approval_id, stored.entity_kind, world)
    yield from entity.tell(org_id, stored.entity_id, world)
    return (stored.approval_id, *changed)


def deny_waiting(org_id: str, entity_id: str, why: str, world: World) -> Transaction[None]:
    """End the change of an entity that waits for an approval, without anybody's vote; nothing where none waits."""
    world = _at_one_instant(world)
    waiting = yield from pending(org_id, entity_id)
    if waiting is None or waiting.approval_id is UNSET:
        return
    for row in (yield store.HOLD_APPROVAL, (org_id, waiting.approval_id)):
        yield from close(org_id, StoredApproval(*row), "Denied", why, world)


def expire(org_id: str, approval_id: str, world: World) -> Transaction[None]:
    """Write down that an approval has ended by the clock, if nobody did yet."""
    world = _at_one_instant(world)
    rows = yield store.HOLD_APPROVAL, (org_id, approval_id)
    stored = StoredApproval(*rows[0]) if rows else None
    if stored is not None and approvals.status_at(stored.state(()), world.now()) == "Expired":
        yield from close(org_id, stored, "Expired", "the approval expired", world)


def find(org_id: str, approval_id: str) -> Transaction[StoredApproval | None]:
    """An approval as it is stored."""
    rows = yield store.GET_APPROVAL, (org_id, approval_id)
    return StoredApproval(*rows[0]) if rows else None


def approved_by(org_id: str, approval_id: str) -> Transaction[list[str]]:
    """Ids of the actions by which people approved whose credentials still count; the first of them, as they came."""
    return [row[0] for row in (yield store.LIST_APPROVING, (org_id, approval_id, MAX_APPROVALS))]
