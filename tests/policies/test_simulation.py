"""Z9: what a simulation says is what happens; and it writes nothing."""

from __future__ import annotations

import json
from typing import Any

import httpx

from tests.policies.house import MESSAGE, House, Person, approval, group

SIGN = "Wallets:Sign"
UNKNOWN_KEY = "key-00000-00000-0000000000000000"


def simulate(who: Person, **members: Any) -> httpx.Response:
    return who.caller.send("POST", "/policies/simulate", members)


def told(who: Person, **members: Any) -> dict[str, Any]:
    answer = simulate(who, **members)
    assert answer.status_code == 200, answer.text
    simulation: dict[str, Any] = answer.json()
    return simulation


def signing(house: House, **members: Any) -> dict[str, Any]:
    return {"kind": SIGN, "keyId": house.key, "body": MESSAGE, **members}


def velocity(limit: int, minutes: int = 60) -> dict[str, Any]:
    return {"kind": "TransactionCountVelocity", "configuration": {"limit": limit, "timeframe": minutes}}


def evaluations(simulation: dict[str, Any]) -> list[dict[str, Any]]:
    """A simulation in the shape in which approvals keep what was said."""
    kept = ("policyId", "triggered", "reason", "context")
    asked = [each for each in simulation["policies"] if each["concerned"]]
    return [{name: each[name] for name in kept if name in each} for each in asked]


def enforced(house: House, request: str) -> tuple[str, Any]:
    """What was in fact said of a signature request when it was made, as it was stored."""
    held = house.tenants.execute("SELECT evaluations, groups FROM policy_approvals WHERE entity_id = ?", request)
    if held:
        return "PendingApproval", (json.loads(held[0][0]), json.loads(held[0][1]))
    said = house.tenants.execute("SELECT outcome, evaluations FROM policy_verdicts WHERE entity_id = ?", request)
    return (said[0][0], (_each(json.loads(said[0][1])), None)) if said else ("Cleared", None)


def _each(said: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What each policy said, in the order of policies, which is that of their ids."""
    each = [{"policyId": named, **one} for one in said for named in one["policyIds"]]
    for one in each:
        del one["policyIds"]
    return sorted(each, key=lambda one: str(one["policyId"]))


def compared(simulation: dict[str, Any], verdict: tuple[str, Any]) -> None:
    outcome, said = verdict
    assert simulation["outcome"] == outcome
    if said is None:
        assert not simulation["triggered"]
    else:
        assert (evaluations(simulation), simulation.get("approvalGroups")) == said


def traffic(house: House) -> list[tuple[str, dict[str, Any]]]:
    """Ids of signature requests, each with what was simulated just before it: some go on, wait, or are blocked."""
    asked = []
    for number, who in enumerate([house.bot, house.ada, house.bot, house.bob, house.bot] * 3):
        body = {**MESSAGE, "message": f"0x{number:04x}"}
        if number % 3 == 2:
            body = {"kind": "Hash", "hash": f"{number:064x}"}
        before = told(house.ada, activity=signing(house, initiatorId=who.id, body=body))
        answer = who.caller.signed("POST", f"/keys/{house.key}/signatures", body).json()
        details = answer.get("error", {}).get("details", {})
        asked.append((answer.get("id", details.get("requestId")), before))
        if answer.get("status") == "Pending" and number % 4 == 0:
            # A later refusal takes it out of the count, for those that come after it alone.
            house.server.clock.move(seconds=1)
            assert house.eve.decide(answer["approvalId"], "Denied").status_code == 200
        house.server.clock.move(seconds=400)
    return asked


def test_z9_a_simulation_is_what_happens(house: House) -> None:
    house.policy({"kind": "NoAction"}, name="watch")
    house.policy(approval(group(2, house.ada, house.eve), autoRejectTimeout=90), rule=velocity(3, 50))
    house.policy(approval(group(1)), rule=velocity(4, 60), name="slow")
    house.policy({"kind": "Block"}, rule=velocity(5, 70), name="stop")
    house.policy({"kind": "Block"}, filters={"walletTags": {"hasAny": ["cold"]}})
    active = house.ada.caller.send("GET", "/v2/policies").json()["items"]
    asked = traffic(house)
    drafts = [
        {name: each[name] for name in each if name in ("id", "name", "activityKind", "rule", "action", "filters")}
        for each in reversed(active)
    ]
    seen = set()
    for request, before in asked:
        verdict = enforced(house, request)
        seen.add(verdict[0])
        compared(before, verdict)
        # What was asked for before is looked at as of then, under what is in force and under a draft of the same.
        compared(told(house.ada, requestId=request), verdict)
        compared(told(house.ada, requestId=request, policies=drafts), verdict)
    assert seen == {"Cleared", "PendingApproval", "Blocked"}


def test_z9_a_simulated_change_is_what_happens(house: House) -> None:
    policy = house.policy({"kind": "NoAction"})
    house.policy(approval(group(1, house.bob)), "Policies:Modify")
    before = told(house.ada, activity={"kind": "Policies:Modify", "policyId": policy["id"]})
    held = house.ada.caller.signed("DELETE", f"/v2/policies/{policy['id']}")
    assert held.status_code == 202
    for simulation in (before, told(house.ada, requestId=held.json()["id"])):
        compared(simulation, enforced(house, held.json()["id"]))
        assert simulation["outcome"] == "PendingApproval"


def test_a_simulation_writes_nothing(house: House) -> None:
    house.policy(approval(group(1)), rule=velocity(1))
    held = [house.bot.sign(house.key).json() for _ in range(2)][1]
    tables = [row[0] for row in house.tenants.execute(_TABLES[house.server.runtime.services.database.engine])]

    def rows() -> dict[str, int]:
        return {name: int(house.tenants.execute(f"SELECT COUNT(*) FROM {name}")[0][0]) for name in tables}

    before, written = rows(), house.server.statistics.write_transactions
    assert "policy_turns" in before
    block = {"name": "none", "activityKind": SIGN, "rule": {"kind": "AlwaysTrigger"}, "action": {"kind": "Block"}}
    assert told(house.ada, activity=signing(house))["outcome"] == "PendingApproval"
    assert told(house.ada, requestId=held["id"])["outcome"] == "PendingApproval"
    assert told(house.ada, activity=signing(house), policies=[block])["outcome"] == "Blocked"
    assert simulate(house.ada, activity=signing(house, keyId=UNKNOWN_KEY)).status_code == 404
    assert (rows(), house.server.statistics.write_transactions) == (before, written)
    assert house.bot.sign(house.key).json()["status"] == "Pending"


_TABLES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name",
    "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename",
}


def test_a_draft_is_asked_instead_of_what_is_in_force_or_together_with_it(house: House) -> None:
    held = house.policy(approval(group(1, house.bob), autoRejectTimeout=10), name="held")
    block = {"name": "none", "activityKind": SIGN, "rule": {"kind": "AlwaysTrigger"}, "action": {"kind": "Block"}}
    watch = {**block, "id": held["id"], "name": "watch", "action": {"kind": "NoAction"}}
    other = {**block, "id": "other", "activityKind": "Permissions:Modify"}
    now = told(house.ada, activity=signing(house))
    assert (now["outcome"], now["triggered"], now["policies"][0]["filter"]) == (
        "PendingApproval",
        [held["id"]],
        "it has no filter",
    )
    assert now["expirationDate"]
    added = told(house.ada, activity=signing(house), policies=[block, other], mode="Add")
    assert (added["outcome"], added["policyIds"], added["triggered"]) == (
        "Blocked",
        ["draft-1"],
        [held["id"], "draft-1"],
    )
    assert [each["concerned"] for each in added["policies"]] == [True, True, False]
    edited = told(house.ada, activity=signing(house), policies=[watch], mode="Add")
    assert (edited["outcome"], [each["name"] for each in edited["policies"]]) == ("Cleared", ["watch"])
    assert edited["explanation"][0] == "Cleared"
    assert told(house.ada, activity=signing(house), policies=[])["outcome"] == "Cleared"


def test_z4_who_may_not_read_signatures_learns_nothing_of_them_by_drafts(house: House) -> None:
    house.policy(approval(group(1)))
    held = house.held(house.bot)["id"]
    guard = house.policy(approval(group(1)), "Policies:Modify")["id"]
    asked = house.ada.caller.signed("DELETE", f"/v2/policies/{guard}").json()["id"]
    drafts = [{"name": "p", "activityKind": SIGN, "rule": velocity(1), "action": {"kind": "Block"}}]
    reader = house.enter(house.tenants.session(house.org_id, house.tenants.permission(house.org_id, ["Policies:Read"])))
    for members in ({"activity": signing(house)}, {"activity": {**signing(house), "keyId": UNKNOWN_KEY}}):
        assert simulate(reader, **members, policies=drafts).status_code == 403
    refused = simulate(reader, requestId=held, policies=drafts)
    assert (refused.status_code, "Keys:Signatures:Read" in refused.json()["error"]["message"]) == (403, True)
    assert told(reader, requestId=asked)["activityKind"] == "Policies:Modify"
    assert told(reader, activity={"kind": SIGN, "walletId": "wa-1"})["outcome"] == "PendingApproval"


def test_what_does_not_exist_yet_is_judged_by_its_description(house: House) -> None:
    addresses = {"kind": "TransactionRecipientWhitelist", "configuration": {"addresses": ["0x" + "Ab" * 20]}}
    house.policy({"kind": "Block"}, rule=addresses, filters={"walletTags": {"hasAny": ["hot"]}})
    transfer = {"kind": "Native", "to": "0x" + "aB" * 20, "amount": "1"}
    activity = {"kind": SIGN, "walletId": "wa-1", "walletTags": ["hot"], "network": "Ethereum", "api": "transfer"}
    assert told(house.ada, activity={**activity, "body": transfer})["outcome"] == "Cleared"
    elsewhere = {**activity, "body": {**transfer, "to": "0x" + "00" * 20}}
    assert told(house.ada, activity=elsewhere)["outcome"] == "Blocked"
    assert told(house.ada, activity={**elsewhere, "walletTags": []})["outcome"] == "Cleared"
    for kind in ("Wallets:IncomingTransaction", "Vaults:CreateLock", "Permissions:Assign"):
        assert told(house.ada, activity={"kind": kind, "walletId": "wa-1"})["outcome"] == "Cleared"


def test_what_cannot_be_simulated_is_refused(house: House) -> None:
    unknown = {
        "name": "p",
        "activityKind": SIGN,
        "rule": {"kind": "AlwaysTrigger"},
        "action": approval({"quorum": 1, "approvers": {"userId": {"in": ["us-1"]}}}),
    }
    for members, path in (
        ({}, "activity"),
        ({"activity": signing(house), "requestId": "sig-1"}, "activity"),
        ({"activity": {"kind": SIGN}}, "activity.keyId"),
        ({"activity": signing(house, api="transfer")}, "activity.api"),
        ({"activity": {"kind": "Wallets:IncomingTransaction"}}, "activity.walletId"),
        ({"activity": signing(house), "policies": [{"name": "p"}]}, "policies[0]."),
        ({"activity": signing(house), "policies": [unknown]}, "policies[0].action.approvalGroups[0]"),
    ):
        answer = simulate(house.ada, **members)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["details"]["issues"][0]["path"].startswith(path)
    assert simulate(house.ada, requestId="sig-00000-00000-0000000000000000").status_code == 404
