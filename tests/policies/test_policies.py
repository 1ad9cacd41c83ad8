"""Policies as clients make and change them, and the policies that guard policies."""

from __future__ import annotations

from typing import Any

import pytest

from tests.policies.house import House, approval, group

VELOCITY: dict[str, Any] = {
    "kind": "TransactionAmountVelocity",
    "configuration": {"limit": 0.1, "currency": "USD", "timeframe": 60},
}


def body_of(policy: dict[str, Any], **members: Any) -> dict[str, Any]:
    """What a client sends to change a policy."""
    kept = {name: policy[name] for name in ("name", "activityKind", "rule", "action", "filters") if name in policy}
    return {**kept, **members}


def test_a_policy_is_made_read_listed_changed_and_archived(house: House) -> None:
    caller = house.ada.caller
    made = house.policy({"kind": "NoAction"}, rule=VELOCITY, filters={"walletId": {"in": ["wa-1"]}})
    path = f"/v2/policies/{made['id']}"
    assert caller.send("GET", path).json() == made
    assert made["rule"]["configuration"]["limit"] == 0.1
    other = house.policy({"kind": "Block"}, name="other")
    assert [each["id"] for each in caller.send("GET", "/v2/policies").json()["items"]] == [other["id"], made["id"]]
    changed = caller.signed("PUT", path, body_of(made, name="changed", filters={})).json()
    assert (changed["name"], changed["dateCreated"]) == ("changed", made["dateCreated"])
    assert caller.send("GET", path).json() == changed
    archived = caller.signed("DELETE", path)
    assert (archived.status_code, archived.json()["status"]) == (200, "Archived")
    for answer in (caller.signed("PUT", path, body_of(made)), caller.signed("DELETE", path)):
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "POLICY_ARCHIVED")
    for query, ids in (("Active", [other["id"]]), ("Archived", [made["id"]]), ("['Archived']", [made["id"]])):
        listed = caller.send("GET", f"/v2/policies?status={query}").json()["items"]
        assert [each["id"] for each in listed] == ids


@pytest.mark.parametrize(
    ("members", "said"),
    [
        pytest.param({"name": 1}, "name", id="shape"),
        pytest.param({"unknown": 1}, "unknown", id="unknown member"),
        pytest.param({"action": approval(group(0))}, "quorum", id="quorum of none"),
        pytest.param({"action": approval()}, "approvalGroups", id="no group"),
        pytest.param({"activityKind": "Permissions:Assign", "rule": VELOCITY}, "rule", id="rule of another kind"),
        pytest.param(
            {"action": approval({"quorum": 1, "approvers": {"userId": {"in": ["us-00000-00000-0000000000000000"]}}})},
            "nobody of this organisation",
            id="unknown approver",
        ),
    ],
)
def test_a_policy_that_could_not_work_is_refused(house: House, members: dict[str, Any], said: str) -> None:
    body = {
        "name": "p",
        "activityKind": "Wallets:Sign",
        "rule": {"kind": "AlwaysTrigger"},
        "action": {"kind": "Block"},
        **members,
    }
    answer = house.ada.caller.signed("POST", "/v2/policies", body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "VALIDATION")
    assert said in answer.json()["message"]


def test_an_end_user_and_one_of_another_organisation_are_no_approvers(house: House) -> None:
    strangers = [house.tenants.organisation().user_id, house.tenants.end_user(house.org_id).user_id]
    for stranger in strangers:
        action = approval({"quorum": 1, "approvers": {"userId": {"in": [stranger]}}})
        body = {"name": "p", "activityKind": "Wallets:Sign", "rule": {"kind": "AlwaysTrigger"}, "action": action}
        assert house.ada.caller.signed("POST", "/v2/policies", body).status_code == 400


def test_a_rule_without_its_integration_is_refused(house: House) -> None:
    rule = {
        "kind": "GlobalLedgerTransactionPrescreening",
        "configuration": {
            "riskScoreThreshold": 5,
            "fallbackBehaviours": {
                "skipUnscreenableTransaction": False,
                "skipUnsupportedNetwork": False,
                "skipUnsupportedAsset": False,
                "skipGlobalLedgerFailure": False,
            },
        },
    }
    body = {"name": "p", "activityKind": "Wallets:Sign", "rule": rule, "action": {"kind": "Block"}}
    answer = house.ada.caller.signed("POST", "/v2/policies", body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (412, "INTEGRATION_MISSING")


def test_the_older_name_of_a_kind_is_stored_under_the_new_one(house: House) -> None:
    assert house.policy({"kind": "Block"}, "Alias:Modify")["activityKind"] == "Registry:Addresses:Modify"


def test_a_guarded_change_waits_and_is_made_when_it_is_approved(house: House) -> None:
    caller = house.ada.caller
    guarded = house.policy({"kind": "NoAction"}, rule=VELOCITY)
    house.policy(approval(group(1, house.bob)), "Policies:Modify")
    path = f"/v2/policies/{guarded['id']}"
    target = {**VELOCITY, "configuration": {**VELOCITY["configuration"], "limit": 0.3}}
    held = caller.signed("PUT", path, body_of(guarded, name="later", rule=target))
    assert held.status_code == 202
    change = held.json()
    assert (change["kind"], change["operationKind"], change["status"]) == ("Policy", "Update", "Pending")
    assert (change["entityId"], change["body"]["name"]) == (guarded["id"], "later")
    assert caller.send("GET", path).json() == {**guarded, "pendingChangeRequest": change}
    second = caller.signed("DELETE", path)
    assert (second.status_code, second.json()["error"]["details"]["duplicate"]) == (409, {"id": change["id"]})
    assert house.approval(change["approvalId"])["activity"] == {"kind": "Policies:Modify", "changeRequest": change}
    approved = house.bob.decide(change["approvalId"]).json()
    assert (approved["status"], approved["activity"]["changeRequest"]["status"]) == ("Approved", "Applied")
    now = caller.send("GET", path).json()
    assert (now["name"], now["rule"]["configuration"]["limit"]) == ("later", 0.3)
    assert "pendingChangeRequest" not in now


def test_an_approved_change_that_names_an_approver_who_is_no_more_fails(house: House) -> None:
    """It would be a policy that nobody could make; on policies themselves, a lock."""
    guard = house.policy(approval(group(1, house.bob)), "Policies:Modify")
    leaver = house.tenants.session(house.org_id)
    members = {name: guard[name] for name in ("name", "activityKind", "rule")}
    asked = {**members, "action": approval({"quorum": 1, "approvers": {"userId": {"in": [leaver.user_id]}}})}
    path = f"/v2/policies/{guard['id']}"
    request = house.ada.caller.signed("PUT", path, asked).json()
    assert house.ada.caller.signed("DELETE", f"/auth/users/{leaver.user_id}").status_code == 200
    assert house.bob.decide(request["approvalId"]).json()["activity"]["changeRequest"]["status"] == "Failed"
    assert house.ada.caller.send("GET", path).json()["action"] == guard["action"]


def test_an_approved_change_does_not_bring_back_what_was_archived_meanwhile(house: House) -> None:
    guard = house.policy(approval(group(1, house.bob)), "Policies:Modify")
    members = {name: guard[name] for name in ("activityKind", "rule", "action")}
    path = f"/v2/policies/{guard['id']}"
    request = house.ada.caller.signed("PUT", path, {**members, "name": "new"}).json()
    house.tenants.execute("UPDATE policies SET status = 'Archived' WHERE policy_id = ?", guard["id"])
    assert house.bob.decide(request["approvalId"]).json()["activity"]["changeRequest"]["status"] == "Failed"
    assert house.tenants.execute("SELECT status FROM policies WHERE policy_id = ?", guard["id"])[0][0] == "Archived"


def test_the_guard_guards_itself_and_a_denied_change_changes_nothing(house: House) -> None:
    guard = house.policy(approval(group(1, house.bob)), "Policies:Modify")
    path = f"/v2/policies/{guard['id']}"
    for method, body in (("PUT", body_of(guard, action=approval(group(1)))), ("DELETE", None)):
        held = house.ada.caller.signed(method, path, body)
        assert held.status_code == 202
        assert house.bob.decide(held.json()["approvalId"], "Denied").json()["status"] == "Denied"
        assert house.ada.caller.send("GET", path).json() == guard
    held = house.ada.caller.signed("DELETE", path).json()
    assert held["body"]["status"] == "Archived"
    assert house.bob.decide(held["approvalId"]).json()["status"] == "Approved"
    assert house.ada.caller.send("GET", path).json()["status"] == "Archived"


def test_z5_nobody_weakens_the_policy_that_guards_policies_alone(house: House) -> None:
    guard = house.policy(approval(group(1, house.ada, house.bob)), "Policies:Modify")
    held = house.ada.caller.signed(
        "PUT", f"/v2/policies/{guard['id']}", body_of(guard, action=approval(group(1, house.ada)))
    )
    assert held.status_code == 202
    assert house.ada.decide(held.json()["approvalId"]).status_code == 403


def test_end_users_have_no_part_in_it(house: House) -> None:
    end_user = house.enter(house.tenants.end_user(house.org_id, everything=True))
    house.policy(approval(group(1)))
    request = house.held(house.bot)
    for answer in (
        end_user.caller.send("GET", "/v2/policies"),
        end_user.caller.send("GET", "/v2/policy-approvals"),
        end_user.decide(request["approvalId"]),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "CALLER_KIND_REFUSED")
