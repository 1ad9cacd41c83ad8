from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import pytest

from countersign.api.wire import encode
from countersign.policies.types import PolicyBody
from countersign.policies.validate import ALLOWED, Invalid, read
from tests.policies.generated import USDC

GROUP = {"quorum": 1, "approvers": {"userId": {"in": ["us-1"]}}}
POLICY = {
    "name": "p",
    "activityKind": "Wallets:Sign",
    "rule": {"kind": "TransactionAmountLimit", "configuration": {"limit": 10, "currency": "USD"}},
    "action": {"kind": "RequestApproval", "approvalGroups": [GROUP]},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    body: dict[str, Any] = copy.deepcopy(POLICY)
    target: Any = body
    *parents, last = path.split(".")
    for name in parents:
        target = target[int(name)] if name.isdigit() else target.setdefault(name, {})
    target[last] = value
    return body


def codes(body: Any, **knowledge: Any) -> list[str]:
    result = read(body, **knowledge)
    return [problem.code for problem in result.problems] if isinstance(result, Invalid) else []


def rule(kind: str, **configuration: Any) -> dict[str, Any]:
    return {"kind": kind, "configuration": configuration}


def nominal(*assets: tuple[str, str, str]) -> dict[str, Any]:
    listed = [{"network": network, "tid": tid, "limit": limit} for network, tid, limit in assets]
    return rule("TransactionAmountLimitNominal", assets=listed)


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("name", "", "name"),
        ("name", "x" * 201, "name"),
        ("name", 5, "schema"),
        ("status", "Active", "schema"),
        ("activityKind", "Wallets:Steal", "schema"),
        ("rule.kind", "Unheard", "schema"),
        ("rule.more", 1, "schema"),
        ("rule.configuration.limit", 0, "limit"),
        ("rule.configuration.limit", -1, "limit"),
        ("rule.configuration.limit", "NaN", "limit"),
        ("rule.configuration.limit", "Infinity", "limit"),
        ("rule.configuration.limit", "1e65", "limit"),
        ("rule.configuration.limit", "1e-999999", "limit"),
        ("rule.configuration.limit", "much", "schema"),
        ("rule.configuration.limit", True, "schema"),
        ("rule.configuration.currency", "CHF", "schema"),
        ("rule", rule("TransactionAmountVelocity", limit=1, currency="USD", timeframe=0), "timeframe"),
        ("rule", rule("TransactionAmountVelocity", limit=1, currency="USD", timeframe=43201), "timeframe"),
        ("rule", rule("TransactionCountVelocity", limit=Decimal("1.5"), timeframe=5), "limit"),
        ("rule", rule("TransactionCountVelocity", limit=1), "schema"),
        ("rule", rule("AlwaysTrigger", limit=1), "rule"),
        ("rule", rule("ChainalysisQuarantineScreening", alerts={}, exposures={}), "schema"),
        ("rule", nominal(), "assets"),
        ("rule", nominal(*[("Ethereum", f"erc20:0x{number:040x}", "1") for number in range(101)]), "assets"),
        ("rule", nominal(("Ethereum", "native:eth", "1"), ("Ethereum", "native:eth", "2")), "assets"),
        ("rule", nominal(("Ethereum", "native:btc", "1")), "assets"),
        ("rule", nominal(("Ethereum", f"erc20:{USDC.upper()}", "1")), "assets"),
        ("rule", nominal(("Ethereum", f"erc721:{USDC}", "1")), "assets"),
        ("rule", nominal(("Ethereum", "native:eth", "1.5")), "assets"),
        ("rule", nominal(("Ethereum", "native:eth", "01")), "assets"),
        ("rule", nominal(("", "native:eth", "1")), "assets"),
        ("rule", rule("TransactionRecipientWhitelist", addresses=["0xab "]), "addresses"),
        ("filters", {"permissionId": {"in": ["pm-1"]}}, "filters"),
        ("filters", {"walletId": {"in": []}}, "filters"),
        ("filters", {"walletId": {"in": ["x"] * 101}}, "filters"),
        ("filters", {"walletTags": {"hasAny": []}}, "filters"),
        ("filters", {"walletTags": {"hasAny": [""]}}, "filters"),
        ("filters", {"keyId": {"in": ["key-1"]}}, "schema"),
        ("action.autoRejectTimeout", 0, "timeout"),
        ("action.approvalGroups", [], "groups"),
        ("action.approvalGroups.0.quorum", 0, "quorum"),
        ("action.approvalGroups.0.quorum", 2, "quorum-unreachable"),
        ("action.approvalGroups.0.approvers", {"userId": {"in": []}}, "approvers"),
        ("action.approvalGroups.0.more", 1, "schema"),
    ],
)
def test_invalid_policy_is_refused_with_its_code(path: str, value: Any, code: str) -> None:
    assert code in codes(changed(path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("rule.configuration.currency", "EUR"),
        ("rule", {"kind": "AlwaysTrigger"}),
        ("rule", rule("AlwaysTrigger")),
        ("rule", rule("TransactionRecipientWhitelist", addresses=[])),
        ("rule", nominal(("Ethereum", "native:eth", "0"), ("Base", "native:eth", "1"))),
        ("filters", {}),
        ("filters", {"walletTags": {"hasAll": []}}),
        ("action.autoRejectTimeout", None),
        ("action.approvalGroups.0.approvers", {}),
        ("action.approvalGroups.0.quorum", 1),
    ],
)
def test_valid_policy_is_taken(path: str, value: Any) -> None:
    assert codes(changed(path, value)) == []


@pytest.mark.parametrize("limit", ["1000", 1000, "1e3", Decimal("1000.0")])
def test_limit_as_text_is_read_as_the_number(limit: object) -> None:
    body = read(changed("rule.configuration.limit", limit))
    assert isinstance(body, PolicyBody)
    assert body.rule.configuration.limit == 1000


def test_limit_keeps_every_digit() -> None:
    body = read(changed("rule.configuration.limit", Decimal("0.1000000000000000055511151231257827")))
    assert b'"limit":0.1000000000000000055511151231257827' in encode(body)


@pytest.mark.parametrize("kind", ALLOWED)
def test_each_kind_of_activity_takes_its_actions_and_no_others(kind: str) -> None:
    for action in ({"kind": "Block"}, {"kind": "NoAction"}, POLICY["action"]):
        body = {**POLICY, "activityKind": kind, "rule": {"kind": "AlwaysTrigger"}, "action": action}
        allowed = action["kind"] in ALLOWED[kind].actions
        assert ("action" in codes(body)) is not allowed


def test_travel_rule_only_blocks() -> None:
    body = changed("rule", rule("TravelRuleTransactionPrescreening", vendor="Notabene", autoTriggerTimeoutSeconds=1))
    assert codes(body) == ["action"]
    assert codes({**body, "action": {"kind": "Block"}}) == []


def test_unknown_approver_and_missing_integration_are_told() -> None:
    assert codes(POLICY, users=["us-2"]) == ["approvers"]
    assert codes(POLICY, users=["us-1"]) == []
    screening = rule("TravelRuleTransactionPrescreening", vendor="Notabene", autoTriggerTimeoutSeconds=1)
    result = read({**POLICY, "rule": screening, "action": {"kind": "Block"}}, integrations=())
    assert isinstance(result, Invalid)
    assert [(problem.code, problem.status) for problem in result.problems] == [("integration", 412)]


def test_old_name_of_the_address_book_is_the_new_one() -> None:
    body = read({**POLICY, "activityKind": "Alias:Modify", "rule": {"kind": "AlwaysTrigger"}})
    assert isinstance(body, PolicyBody)
    assert body.activity_kind == "Registry:Addresses:Modify"


def test_filter_that_is_always_true_is_left_out_where_the_published_shape_has_no_room_for_it() -> None:
    governance = {**POLICY, "activityKind": "Permissions:Assign", "rule": {"kind": "AlwaysTrigger"}, "filters": {}}
    assert b"filters" not in encode(read(governance))
    assert b'"filters":{"walletTags":{}}' in encode(read(changed("filters", {"walletTags": {"hasAll": []}})))


def test_message_names_the_member_and_what_to_do() -> None:
    result = read(changed("rule.configuration.limit", 0))
    assert isinstance(result, Invalid)
    assert result.message.startswith("rule.configuration.limit: the limit has to be a number above 0")
    result = read(changed("rule.configuration.limit", "much"))
    assert isinstance(result, Invalid)
    assert result.problems[0].path == "rule.configuration.limit"
