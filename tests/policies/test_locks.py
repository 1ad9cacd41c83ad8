"""Which policies that guard policies nobody can change any more."""

from __future__ import annotations

from typing import Any

from countersign.policies.approvals import Member
from countersign.policies.locks import locks
from countersign.policies.trial import read_policies
from countersign.policies.types import Policy

ADA, BOB, EVE = (Member(f"us-{name}", "CustomerEmployee") for name in ("ada", "bob", "eve"))
BOT = Member("us-bot", "ServiceAccount")


def guard(name: str, *groups: dict[str, Any], only: str | None = None, kind: str = "Policies:Modify") -> Policy:
    filters = {} if only is None else {"filters": {"policyId": {"in": [only]}}}
    action = {"kind": "RequestApproval", "approvalGroups": list(groups)}
    body = {"id": name, "activityKind": kind, "rule": {"kind": "AlwaysTrigger"}, "action": action, **filters}
    return read_policies([body], ())[0]


def group(quorum: int, *people: Member, **members: Any) -> dict[str, Any]:
    approvers = {"userId": {"in": [one.id for one in people]}} if people else {}
    return {"quorum": quorum, "approvers": approvers, **members}


def locked(policies: list[Policy], *members: Member, allowed: bool = True) -> list[str]:
    return [lock.policy.id for lock in locks(policies, members, allowed)]


def test_a_quorum_of_everybody_is_locked_by_whoever_starts() -> None:
    everybody = [guard("all", group(3))]
    assert locked(everybody, ADA, BOB, EVE) == ["all"]
    # A service account can start what all people approve; so can one of them where the group lets its initiator vote.
    assert locked(everybody, ADA, BOB, EVE, BOT) == []
    assert locked([guard("all", group(3, initiatorCanApprove=True))], ADA, BOB, EVE) == []
    assert locked(everybody, ADA, BOB, EVE, Member("us-new", "CustomerEmployee")) == []


def test_a_listed_approver_who_is_gone_locks_it_and_the_reason_says_so() -> None:
    pair = guard("pair", group(1, EVE), group(2, ADA, BOB))
    gone = Member(BOB.id, "CustomerEmployee", active=False)
    assert locked([pair], ADA, BOB, EVE, BOT) == []
    (lock,) = locks([pair], [ADA, gone, EVE, BOT], service_accounts_allowed=True)
    assert lock.reasons == (
        "pair (pair): a group needs 1 approval, and 0 to 1, by who starts it, can be given",
        "pair (pair): a group needs 2 approvals, and 0 to 1, by who starts it, can be given",
    )


def test_what_another_policy_guards_is_locked_with_it_and_what_none_guards_is_not() -> None:
    narrow = guard("narrow", group(1, ADA), only="other")
    locking = guard("locking", group(9))
    assert locked([narrow], BOB) == []
    assert locked([narrow, locking], BOB, EVE) == ["narrow", "locking"]
    # Policies about anything else are in nobody's way.
    assert locked([guard("changes", group(9), kind="Permissions:Modify")], ADA, BOB) == []


def test_service_accounts_that_may_not_approve_leave_it_locked() -> None:
    by_program = [guard("program", group(1, BOT, serviceAccountsCanApprove=True))]
    assert locked(by_program, ADA, BOT) == []
    assert locked(by_program, ADA, BOT, allowed=False) == ["program"]
