"""What policies let go on, block and count, over HTTP; Z8: velocities hold under concurrency."""

from __future__ import annotations

import asyncio
import json

from countersign.api import Effect
from countersign.keys import signatures
from countersign.keys.signatures import Started
from countersign.policies import policies
from countersign.storage import Database, Statement, Transaction
from countersign.world import World
from tests.keys.builders import CALLER, ORG, make_key, new_signature
from tests.policies.house import House, approval, group

BLOCK = {"kind": "Block"}


def test_without_policies_a_signature_costs_not_one_statement_more(house: House) -> None:
    def cost() -> int:
        before = house.server.statistics.statements
        assert house.ada.sign(house.key).json()["status"] == "Signed"
        return house.server.statistics.statements - before

    cost()
    without = cost()
    policy = house.policy(
        {"kind": "NoAction"}, rule={"kind": "TransactionRecipientWhitelist", "configuration": {"addresses": []}}
    )
    assert house.ada.caller.signed("DELETE", f"/v2/policies/{policy['id']}").status_code == 200
    cost()
    assert cost() == without


def test_what_a_policy_blocks_is_refused_stored_and_refused_again(house: House) -> None:
    policy = house.policy(BLOCK, name="nothing leaves")
    house.policy(approval(group(1)))
    blocked = house.bot.sign(house.key, externalId="b1")
    assert blocked.status_code == 403
    error = blocked.json()["error"]
    request_id = error["details"].pop("requestId")
    assert error["code"] == "POLICY_BLOCKED"
    assert error["details"] == {"kind": "PolicyBlocked", "activityKind": "Wallets:Sign", "policyIds": [policy["id"]]}
    stored = house.request({"id": request_id})
    assert (stored["status"], stored["reason"]) == ("Rejected", "blocked by policy: nothing leaves")
    assert stored["datePolicyResolved"] == stored["dateRequested"]
    repeated = house.bot.sign(house.key, externalId="b1").json()["error"]
    assert repeated["details"]["requestId"] == request_id
    entry = next(json.loads(each) for each in house.entries("Action") if request_id in each)
    assert entry["response"] == {"status": 403, "code": "POLICY_BLOCKED"}
    assert house.execute() == 0


def test_no_action_holds_nothing(house: House) -> None:
    house.policy({"kind": "NoAction"})
    signed = house.bot.sign(house.key).json()
    assert signed["status"] == "Signed"
    assert signed["datePolicyResolved"] == signed["dateRequested"]


def test_a_policy_with_a_filter_does_not_meet_a_key_without_wallets(house: House) -> None:
    house.policy(BLOCK, filters={"walletTags": {"hasAny": ["hot"]}})
    assert house.bot.sign(house.key).json()["status"] == "Signed"


def test_a_count_velocity_counts_what_waits_and_forgets_what_was_rejected(house: House) -> None:
    velocity = {"kind": "TransactionCountVelocity", "configuration": {"limit": 2, "timeframe": 60}}
    house.policy(approval(group(1)), rule=velocity)
    assert [house.bot.sign(house.key).json()["status"] for _ in range(4)] == ["Signed", "Signed", "Pending", "Pending"]
    house.server.clock.move(seconds=3601)
    waiting = house.ada.caller.send("GET", "/v2/policy-approvals?status=Pending").json()["items"]
    assert [each["policyEvaluations"][0]["context"] for each in waiting] == [{"count": 4}, {"count": 3}]


async def test_z8_of_many_at_once_no_more_than_the_limit_get_through(database: Database) -> None:
    world = World()
    key = await make_key(database)

    def set_up() -> Transaction[None]:
        insert = "INSERT INTO organisations (org_id, name, is_active, epoch, permission_revision, created_at) "
        yield Statement("of_a_test", insert + "VALUES (?, 'o', 1, 0, 0, 0)"), (ORG,)
        body = policies.read_body(
            {
                "name": "at most seven",
                "activityKind": "Wallets:Sign",
                "rule": {"kind": "TransactionCountVelocity", "configuration": {"limit": 7, "timeframe": 60}},
                "action": BLOCK,
            }
        )
        yield from policies.create(ORG, body, world)

    await database.write(set_up)

    async def one(number: int) -> Effect[Started]:
        new = new_signature(key, number, signature_id=world.new_id("sig"))
        return await database.write(lambda: signatures.start(CALLER, new, world))

    made = await asyncio.gather(*(one(number) for number in range(200)))
    assert sum(each.refused is None for each in made) == 7

    def counted() -> Transaction[dict[str, int]]:
        rows = yield Statement("of_a_test", "SELECT status, count(*) FROM signatures GROUP BY status"), ()
        return {str(status): int(number) for status, number in rows}

    assert await database.read(counted) == {"Executing": 7, "Rejected": 193}
