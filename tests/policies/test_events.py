"""What webhooks are told of policies, in the order in which it happens."""

from __future__ import annotations

import json
from typing import Any

from tests.policies.house import House, approval, group


def subscribed(house: House) -> None:
    made = house.ada.caller.signed("POST", "/webhooks", {"url": "http://127.0.0.1:9/", "events": ["*"]})
    assert made.status_code == 200, made.text


def told(house: House) -> list[tuple[str, dict[str, Any]]]:
    """Kinds and data of the events so far, oldest first; they are forgotten with it."""
    rows = house.tenants.execute("SELECT payload FROM jobs WHERE kind = 'webhooks.deliver' ORDER BY job_id")
    house.tenants.execute("DELETE FROM jobs WHERE kind = 'webhooks.deliver'")
    pending = sorted((json.loads(row[0]) for row in rows), key=lambda each: each["eventId"][:15])
    return [(each["kind"], json.loads(each["data"])) for each in pending]


def kinds(house: House) -> list[str]:
    return sorted(kind for kind, _ in told(house))


def test_a_held_request_is_told_of_from_its_beginning_to_its_end(house: House) -> None:
    policy = house.policy(approval(group(1)))
    subscribed(house)
    request = house.held(house.bot)
    begun = dict(told(house))
    assert set(begun) == {"wallet.signature.requested", "policy.triggered", "policy.approval.pending"}
    assert begun["wallet.signature.requested"] == {"signatureRequest": request}
    evaluation = begun["policy.triggered"]["policyEvaluation"]
    assert (evaluation["policy"], evaluation["triggered"]) == (policy, True)
    assert evaluation["activity"] == {"kind": "Wallets:Sign", "signatureRequest": request}
    pending = begun["policy.approval.pending"]["approval"]
    assert pending == {**house.approval(request["approvalId"]), "activityId": request["id"]}
    house.ada.decide(request["approvalId"])
    ended = dict(told(house))
    assert set(ended) == {"policy.approval.resolved", "policy.activity.resolved"}
    assert ended["policy.approval.resolved"]["approval"]["status"] == "Approved"
    assert (ended["policy.activity.resolved"]["status"], ended["policy.activity.resolved"]["approvalId"]) == (
        "Cleared",
        request["approvalId"],
    )
    house.execute()
    assert told(house) == [("wallet.signature.signed", {"signatureRequest": house.request(request)})]


def test_what_is_denied_or_blocked_is_told_as_rejected(house: House) -> None:
    policy = house.policy(approval(group(1), autoRejectTimeout=5))
    subscribed(house)
    denied, expiring = house.held(house.bot), house.held(house.bot)
    told(house)
    ends = ["policy.activity.resolved", "policy.approval.resolved", "wallet.signature.rejected"]
    house.ada.decide(denied["approvalId"], "Denied")
    assert kinds(house) == ends
    house.server.clock.move(seconds=301)
    assert house.expire() == 2
    events = dict(told(house))
    assert sorted(events) == ends
    assert events["policy.approval.resolved"]["approval"]["status"] == "Expired"
    assert events["policy.activity.resolved"]["status"] == "Blocked"
    assert events["wallet.signature.rejected"]["signatureRequest"] == house.request(expiring)
    house.ada.caller.signed("DELETE", f"/v2/policies/{policy['id']}")
    house.policy({"kind": "Block"})
    told(house)
    assert house.bot.sign(house.key).status_code == 403
    blocked = [
        "policy.activity.resolved",
        "policy.triggered",
        "wallet.signature.rejected",
        "wallet.signature.requested",
    ]
    assert kinds(house) == blocked


def test_changes_of_policies_are_told_of_only_where_a_policy_was_asked(house: House) -> None:
    guarded = house.policy({"kind": "NoAction"})
    subscribed(house)
    house.ada.caller.signed("PUT", f"/v2/policies/{guarded['id']}", {**_body(guarded), "name": "free"})
    assert told(house) == []
    house.policy(approval(group(1, house.bob)), "Policies:Modify")
    held = house.ada.caller.signed("DELETE", f"/v2/policies/{guarded['id']}").json()
    events = dict(told(house))
    assert set(events) == {"policy.triggered", "policy.approval.pending"}
    assert events["policy.triggered"]["policyEvaluation"]["activity"]["changeRequest"] == held
    house.bob.decide(held["approvalId"])
    assert kinds(house) == ["policy.activity.resolved", "policy.approval.resolved"]


def _body(policy: dict[str, Any]) -> dict[str, Any]:
    return {name: policy[name] for name in ("name", "activityKind", "rule", "action")}
