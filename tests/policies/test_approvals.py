from __future__ import annotations

import pytest

from countersign.policies import decisions
from countersign.policies.approvals import (
    ApprovalState,
    Counted,
    Member,
    NotEligible,
    NotPending,
    Vote,
    VotedBefore,
    approvals_in,
    decide,
    may_vote,
    status_at,
)
from countersign.policies.types import ApprovalGroup, Approvers, Ids
from countersign.world import World

ADA, BEN = Member("us-ada", "CustomerEmployee"), Member("us-ben", "CustomerEmployee")
SERVICE, END_USER = Member("us-svc", "ServiceAccount"), Member("us-end", "EndUser")
EVERYBODY = {one.id: one for one in (ADA, BEN, SERVICE, END_USER)}
OPEN = ApprovalGroup(quorum=1, approvers=Approvers())


def listed(*ids: str, quorum: int = 1, **flags: bool) -> ApprovalGroup:
    return ApprovalGroup(quorum=quorum, approvers=Approvers(user_id=Ids(in_=list(ids))), **flags)


def test_approval_without_groups_is_never_approved() -> None:
    result = decide(ApprovalState("us-ada", ()), BEN, "Approved", 0, EVERYBODY)
    assert isinstance(result, NotEligible)


@pytest.mark.parametrize("now", [1000, 1001])
def test_expiry_is_decided_by_the_clock(now: int) -> None:
    state = ApprovalState("us-ada", (OPEN,), expires_at=1000)
    assert status_at(state, 999) == "Pending"
    assert status_at(state, now) == "Expired"
    assert decide(state, BEN, "Approved", now, EVERYBODY) == NotPending("Expired")
    assert decide(state, BEN, "Denied", now, EVERYBODY) == NotPending("Expired")


def test_a_resolved_approval_does_not_expire() -> None:
    assert status_at(ApprovalState("us-ada", (OPEN,), 1000, status="Approved"), 2000) == "Approved"


def test_initiator_may_always_deny_unless_deactivated() -> None:
    state = ApprovalState("us-ada", (listed("us-ben"),))
    assert isinstance(decide(state, ADA, "Denied", 0, EVERYBODY), Counted)
    gone = Member("us-ada", "CustomerEmployee", active=False)
    assert isinstance(decide(state, gone, "Denied", 0, EVERYBODY), NotEligible)
    assert may_vote(state, ADA, True)
    assert not may_vote(state, gone, True)


def test_a_vote_that_did_not_count_any_more_is_still_a_vote() -> None:
    state = ApprovalState("us-x", (listed("us-ada", "us-ben", quorum=2),), votes=(Vote("us-ada", "Approved"),))
    gone = {**EVERYBODY, "us-ada": Member("us-ada", "CustomerEmployee", active=False)}
    result = decide(state, BEN, "Approved", 0, gone)
    assert isinstance(result, Counted)
    assert result.state.status == "Pending"
    assert approvals_in(state.groups[0], result.state, EVERYBODY, True) == 2
    assert decide(result.state, ADA, "Approved", 0, EVERYBODY) == VotedBefore()


def test_vote_of_somebody_unknown_by_now_does_not_count() -> None:
    state = ApprovalState("us-x", (listed("us-ada", "us-ben", quorum=2),), votes=(Vote("us-ada", "Approved"),))
    result = decide(state, BEN, "Approved", 0, {})
    assert isinstance(result, Counted)
    assert result.state.status == "Pending"


def test_only_approvals_count_and_each_person_once_however_often_they_stand_there() -> None:
    """The database keeps one vote of each; the count does not rest on that."""
    twice = ApprovalState("us-x", (), votes=(Vote("us-ada", "Approved"), Vote("us-ada", "Approved")))
    assert approvals_in(OPEN, twice, EVERYBODY, True) == 1
    against = ApprovalState("us-x", (), votes=(Vote("us-ada", "Approved"), Vote("us-ben", "Denied")))
    assert approvals_in(OPEN, against, EVERYBODY, True) == 1


def test_a_group_without_a_quorum_still_takes_one_who_belongs_to_it() -> None:
    state = ApprovalState("us-x", (listed("us-ada", quorum=0), listed("us-ben")))
    result = decide(state, BEN, "Approved", 0, EVERYBODY)
    assert isinstance(result, Counted)
    assert result.state.status == "Pending"


def test_listed_end_user_never_votes() -> None:
    state = ApprovalState("us-ada", (listed("us-end"),))
    assert isinstance(decide(state, END_USER, "Approved", 0, EVERYBODY), NotEligible)
    assert isinstance(decide(state, END_USER, "Denied", 0, EVERYBODY), NotEligible)


@pytest.mark.parametrize(
    ("group", "switch", "eligible"),
    [
        (listed("us-svc", service_accounts_can_approve=True), True, True),
        (listed("us-svc", service_accounts_can_approve=True), False, False),
        (listed("us-svc"), True, False),
        (listed("us-ben", service_accounts_can_approve=True), True, False),
        (ApprovalGroup(quorum=1, approvers=Approvers(), service_accounts_can_approve=True), True, False),
    ],
)
def test_service_account_votes_only_where_it_is_listed_admitted_and_allowed(
    group: ApprovalGroup, switch: bool, eligible: bool
) -> None:
    state = ApprovalState("us-ada", (group,))
    for value in ("Approved", "Denied"):
        assert isinstance(decide(state, SERVICE, value, 0, EVERYBODY, switch), Counted) is eligible


@pytest.mark.parametrize(("status", "expires_at"), [("Pending", 1001), ("Pending", None), ("Approved", 999)])
def test_z7_the_clock_ends_nothing_that_was_decided_or_has_time_left_when_it_is_held(
    status: str, expires_at: int | None
) -> None:
    """What the job read before may have changed by the time that it holds the approval."""
    row = ("ap-1", "us-1", "Wallets:Sign", "Signature", "sig-1", status, "[]", "[]", expires_at, 0, 0, None)
    ending = decisions.expire("or-1", "ap-1", World(clock=lambda: 1000))
    next(ending)
    with pytest.raises(StopIteration):
        ending.send([row])
