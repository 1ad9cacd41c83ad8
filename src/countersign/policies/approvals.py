"""Who may vote on a held activity, what a vote does, and when an approval is over: functions of values.

A personal access token votes as its owner, and is the initiator if its owner is: votes and initiator are user ids, and
whoever calls resolves the token first. Whether somebody holds the operation ``Policies:Evaluations:Vote`` is decided
before any of this is asked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from countersign.api.wire import UNSET
from countersign.policies.types import ApprovalGroup, ApprovalStatus, DecisionValue

MemberKind = Literal["CustomerEmployee", "EndUser", "ServiceAccount"]


@dataclass(frozen=True, slots=True)
class Member:
    """A user or service account of the organisation, as it is now."""

    id: str
    kind: MemberKind
    active: bool = True

    @property
    def is_human(self) -> bool:
        """Whether it is a person of the organisation; end users are customers of it."""
        return self.kind == "CustomerEmployee"


@dataclass(frozen=True, slots=True)
class Vote:
    """A decision that was given; it is final."""

    user_id: str
    value: DecisionValue


@dataclass(frozen=True, slots=True)
class ApprovalState:
    """An approval with the groups that were copied into it.

    ``expires_at``: milliseconds since the epoch; None: never. ``status``: as it was last stored.
    """

    initiator_id: str
    groups: tuple[ApprovalGroup, ...]
    expires_at: int | None = None
    votes: tuple[Vote, ...] = ()
    status: ApprovalStatus = "Pending"


@dataclass(frozen=True, slots=True)
class Counted:
    """The vote counts; ``state`` is the approval with it."""

    state: ApprovalState


@dataclass(frozen=True, slots=True)
class NotPending:
    """The approval is over; ``status`` says how it ended."""

    status: ApprovalStatus


@dataclass(frozen=True, slots=True)
class NotEligible:
    """The voter may not give this vote; ``reason`` says why."""

    reason: str


@dataclass(frozen=True, slots=True)
class VotedBefore:
    """The voter has voted, and a vote is final."""


def status_at(state: ApprovalState, now: int) -> ApprovalStatus:
    """The status at an instant: expiry is decided by the clock, whether or not anybody stored it."""
    if state.status == "Pending" and state.expires_at is not None and now >= state.expires_at:
        return "Expired"
    return state.status


def may_approve(group: ApprovalGroup, voter: Member, initiator_id: str | None, service_accounts_allowed: bool) -> bool:
    """Whether an approval of the voter counts in the group.

    ``initiator_id`` None leaves out the exclusion of the initiator. ``service_accounts_allowed``: the organisation's
    switch; a service account has to be listed by its id too, and the group has to admit service accounts.
    """
    if not voter.active:
        return False
    if voter.id == initiator_id and group.initiator_can_approve is not True:
        return False
    listed = None if group.approvers.user_id is UNSET else group.approvers.user_id.in_
    if voter.kind == "ServiceAccount":
        admitted = service_accounts_allowed and group.service_accounts_can_approve is True
        return admitted and listed is not None and voter.id in listed
    return voter.is_human and (listed is None or voter.id in listed)


def may_deny(groups: Sequence[ApprovalGroup], voter: Member, initiator_id: str, service_accounts_allowed: bool) -> bool:
    """Whether the voter may end the approval: who may approve in some group, and always the initiator."""
    if not voter.active:
        return False
    return voter.id == initiator_id or any(
        may_approve(group, voter, None, service_accounts_allowed) for group in groups
    )


def may_vote(state: ApprovalState, voter: Member, service_accounts_allowed: bool) -> bool:
    """Whether the voter could give some vote on the approval, if none was given yet."""
    return may_deny(state.groups, voter, state.initiator_id, service_accounts_allowed)


def approvals_in(
    group: ApprovalGroup, state: ApprovalState, members: Mapping[str, Member], service_accounts_allowed: bool
) -> int:
    """How many approvals count in the group now: votes of people who have lost the right to vote no longer do."""
    voters = {vote.user_id for vote in state.votes if vote.value == "Approved"}
    return sum(
        1
        for user_id in voters
        if (member := members.get(user_id)) is not None
        and may_approve(group, member, state.initiator_id, service_accounts_allowed)
    )


def decide(
    state: ApprovalState,
    voter: Member,
    value: DecisionValue,
    now: int,
    members: Mapping[str, Member],
    service_accounts_allowed: bool = True,
) -> Counted | NotPending | NotEligible | VotedBefore:
    """What a vote does. One vote counts in every group that the voter belongs to; one denial ends the approval.

    ``members``: those who have voted, as they are now (others may be among them). A state that is ``Counted`` with
    status ``Approved`` or ``Denied`` is final.
    """
    status = status_at(state, now)
    if status != "Pending":
        return NotPending(status)
    if value == "Denied":
        if not may_deny(state.groups, voter, state.initiator_id, service_accounts_allowed):
            return NotEligible("only approvers of one of the groups and the initiator may deny it")
    elif not any(may_approve(group, voter, state.initiator_id, service_accounts_allowed) for group in state.groups):
        if voter.id == state.initiator_id:
            return NotEligible(
                "the initiator may not approve it: no group with the initiator among its approvers allows that"
            )
        return NotEligible("the voter belongs to none of the groups that may approve it")
    if any(vote.user_id == voter.id for vote in state.votes):
        return VotedBefore()
    state = replace(state, votes=(*state.votes, Vote(voter.id, value)))
    if value == "Denied":
        return Counted(replace(state, status="Denied"))
    known = {**members, voter.id: voter}
    reached = bool(state.groups) and all(
        approvals_in(group, state, known, service_accounts_allowed) >= max(group.quorum, 1) for group in state.groups
    )
    return Counted(replace(state, status="Approved") if reached else state)


def possible_approvers(
    group: ApprovalGroup, members: Collection[Member], initiator_id: str | None, service_accounts_allowed: bool = True
) -> list[Member]:
    """Who of the members could approve in the group what ``initiator_id`` started."""
    return [one for one in members if may_approve(group, one, initiator_id, service_accounts_allowed)]
