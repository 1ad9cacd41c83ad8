from __future__ import annotations

from typing import Any

import pytest

from countersign.policies.approvals import Member
from countersign.policies.lint import Finding, LintWallet, lint
from countersign.policies.scenario import User
from countersign.policies.trial import read_policies
from countersign.policies.types import Policy

MEMBERS = [
    Member("us-ada", "CustomerEmployee"),
    Member("us-ben", "CustomerEmployee"),
    Member("us-cleo", "CustomerEmployee"),
    Member("us-gone", "CustomerEmployee", active=False),
    Member("us-end", "EndUser"),
    Member("us-svc", "ServiceAccount"),
]
WALLETS = [
    LintWallet("wa-1", "Ethereum", frozenset({"treasury"})),
    LintWallet("wa-2", "Polygon", frozenset()),
]


def group(quorum: int, *listed: str, **flags: bool) -> dict[str, Any]:
    return {"quorum": quorum, "approvers": {"userId": {"in": list(listed)}} if listed else {}, **flags}


def request(*groups: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"kind": "RequestApproval", "approvalGroups": list(groups), **more}


def policy(identity: str = "p1", kind: str = "Wallets:Sign", **parts: Any) -> dict[str, Any]:
    return {
        "id": identity,
        "activityKind": kind,
        "rule": {"kind": "AlwaysTrigger"},
        "action": request(group(1)),
        **parts,
    }


GUARD = policy("guard", "Policies:Modify", action=request(group(1)))


def findings(*policies: dict[str, Any], members: list[Member] | None = None, **more: Any) -> list[Finding]:
    read: list[Policy] = read_policies(policies, list[User]())
    return lint(read, MEMBERS if members is None else members, **{"wallets": WALLETS, **more})


def codes(*policies: dict[str, Any], **more: Any) -> list[tuple[str, str, str | None]]:
    return [(one.severity, one.code, one.policy_id) for one in findings(*policies, GUARD, **more)]


def test_who_may_not_vote_is_no_approver() -> None:
    """A quorum of listed people is none if they lack the permission: the case's ``canVote``."""
    two = policy(action=request(group(2, "us-ada", "us-ben", "us-cleo"), autoRejectTimeout=60))
    assert codes(two, voters={"us-ada", "us-ben", "us-cleo"}) == []
    found = findings(two, voters={"us-ada"})
    assert [(one.code, "permission to vote" in one.message) for one in found if one.policy_id == "p1"] == [
        ("quorum-too-large", False),
        ("approver-cannot-vote", True),
        ("approver-cannot-vote", True),
    ]
    alone = policy(action=request(group(1, "us-ada", initiatorCanApprove=True), autoRejectTimeout=60))
    assert "self-approval" in [one.code for one in findings(alone)]
    assert "self-approval" not in [one.code for one in findings(alone, voters={"us-ben"})]


def test_z6_sound_policies_have_no_findings() -> None:
    assert codes(policy(action=request(group(2), autoRejectTimeout=60))) == []


def test_quorum_larger_than_those_who_can_vote_is_an_error() -> None:
    listed = policy(action=request(group(2, "us-ada", "us-gone", "us-end")))
    assert codes(listed) == [
        ("error", "quorum-too-large", "p1"),
        ("warning", "approver-cannot-vote", "p1"),
        ("warning", "approver-cannot-vote", "p1"),
    ]
    assert codes(policy(action=request(group(4)))) == [("error", "quorum-too-large", "p1")]


@pytest.mark.parametrize(("flag", "switch", "found"), [(True, True, []), (False, True, [1]), (True, False, [1])])
def test_service_account_counts_only_with_flag_and_switch(flag: bool, switch: bool, found: list[int]) -> None:
    listed = policy(action=request(group(1, "us-svc", "us-ada", "us-ben", serviceAccountsCanApprove=flag)))
    assert len(codes(listed, service_accounts_allowed=switch)) == len(found)


def test_sole_approver_who_initiates_is_told() -> None:
    result = findings(policy(action=request(group(1, "us-ada"))), GUARD)
    assert [(one.severity, one.code) for one in result] == [("warning", "sole-approver")]
    assert "us-ada" in result[0].message
    assert "waits for ever" in result[0].message


def test_quorum_of_all_locks_what_any_of_them_starts() -> None:
    assert codes(policy(action=request(group(2, "us-ada", "us-ben")))) == [("warning", "locked-for-some", "p1")]
    three = [member for member in MEMBERS if member.kind == "CustomerEmployee"]
    assert codes(policy(action=request(group(3))), members=three) == [("error", "locked-for-everyone", "p1")]
    assert codes(policy(action=request(group(3))), members=three, initiators=["us-svc"]) == []


def test_policies_modify_with_a_quorum_of_all_locks_itself() -> None:
    three = [member for member in MEMBERS if member.kind == "CustomerEmployee"]
    locked = policy("lock", "Policies:Modify", action=request(group(3, "us-ada", "us-ben", "us-cleo")))
    result = lint(read_policies([locked], []), three)
    assert [(one.severity, one.code) for one in result] == [("error", "governance-lock")]


@pytest.mark.parametrize(("kind", "severity"), [("Wallets:Sign", "warning"), ("Permissions:Assign", "error")])
def test_one_person_who_can_approve_the_own_change_is_told(kind: str, severity: str) -> None:
    alone = policy(kind=kind, action=request(group(1, "us-ada", "us-ben", initiatorCanApprove=True)))
    assert codes(alone) == [(severity, "self-approval", "p1")]
    both = request(group(1, "us-ada", "us-ben", initiatorCanApprove=True), group(1, "us-cleo", "us-ben"))
    assert codes(policy(kind=kind, action=both)) == []


def test_rule_that_never_matches_is_told() -> None:
    elsewhere = {"walletTags": {"hasAny": ["cold"]}}
    assert codes(policy(filters=elsewhere)) == [
        ("warning", "filter-matches-nothing", "p1"),
        ("info", "tags-movable", "p1"),
    ]
    assets = [{"network": "Solana", "tid": "native:sol", "limit": "1"}]
    nominal = {"kind": "TransactionAmountLimitNominal", "configuration": {"assets": assets}}
    assert codes(policy(rule=nominal)) == [("warning", "rule-never-matches", "p1")]
    typo = {"kind": "TransactionAmountLimitNominal", "configuration": {"assets": [{**assets[0], "network": "Solanna"}]}}
    assert codes(policy(rule=typo)) == [("warning", "rule-never-matches", "p1")]
    assert codes(policy(rule=nominal), wallets=None) == []


def whitelist(*addresses: str) -> dict[str, Any]:
    return {"kind": "TransactionRecipientWhitelist", "configuration": {"addresses": list(addresses)}}


def test_traps_of_recipient_lists_are_told() -> None:
    first, second = "0xAbCdEf0123456789aBcDeF0123456789AbCdEf01", "0x" + "99" * 20
    assert codes(policy(rule=whitelist())) == [("warning", "whitelist-empty", "p1")]
    assert codes(policy(rule=whitelist("bc1q"))) == [("warning", "address-never-matches", "p1")]
    other = policy("p2", rule=whitelist(second))
    assert codes(policy(rule=whitelist(first)), other) == [("warning", "whitelists-disjoint", "p1")]
    assert codes(policy(rule=whitelist(first, second.upper().replace("0X", "0x"))), other) == []


def test_native_asset_with_a_second_name_is_told() -> None:
    one = [{"network": "Polygon", "tid": "native:pol", "limit": "1"}]
    rule = {"kind": "TransactionAmountLimitNominal", "configuration": {"assets": one}}
    assert codes(policy(rule=rule)) == [("warning", "native-has-second-name", "p1")]
    one.append({"network": "Polygon", "tid": f"erc20:0x{0x1010:040x}", "limit": "1"})
    assert codes(policy(rule=rule)) == []


def test_block_of_everything_is_told() -> None:
    assert codes(policy(action={"kind": "Block"})) == [("warning", "blocks-everything", "p1")]


def test_policies_that_one_person_can_undo_are_told() -> None:
    assert [(one.code, one.policy_id) for one in findings(policy())] == [("policies-unguarded", None)]
    partial = policy("guard", "Policies:Modify", filters={"policyId": {"in": ["p1", "guard"]}})
    assert findings(policy(), partial) == []
    assert [one.code for one in findings(policy(), policy("p2"), partial)] == ["policies-unguarded"]


def test_archived_policies_are_left_out() -> None:
    assert codes(policy(action=request(group(9)), status="Archived")) == []
