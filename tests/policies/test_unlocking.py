"""The operator's way out of a policy that nobody can change any more, with a clock that the test moves."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import pytest

from countersign.identity import policy_unlocks
from countersign.identity.local_commands import HOUR_MS, Impossible
from countersign.identity.policy_unlocks import Unlock
from countersign.policies import Lock
from tests.policies.house import House, approval, group

T = TypeVar("T")


class Operator:
    """Runs the transactions of the commands."""

    def __init__(self, house: House) -> None:
        self.house = house

    def _do(self, make: Any) -> Any:
        return self.house.server.runner.run(self.house.server.runtime.services.database.write(make))

    def locked(self) -> list[tuple[str, Lock]]:
        found: list[tuple[str, Lock]] = self._do(lambda: policy_unlocks.locked(True))
        return found

    def request(self, policy_id: str) -> Unlock:
        made: Unlock = self._do(lambda: policy_unlocks.request(policy_id, True, self.house.server.world))
        return made

    def complete(self, request_id: str) -> Unlock:
        done: Unlock = self._do(lambda: policy_unlocks.complete(request_id, True, self.house.server.world))
        return done

    def cancel(self, request_id: str) -> Unlock:
        ended: Unlock = self._do(lambda: policy_unlocks.cancel(request_id, self.house.server.world))
        return ended

    def steps(self) -> list[str]:
        entries = [json.loads(each) for each in self.house.entries("System")]
        return [entry["details"]["step"] for entry in entries if entry["event"] == "PolicyUnlock"]


def impossible(make: Any) -> str:
    with pytest.raises(Impossible) as refused:
        make()
    return str(refused.value)


def test_threat_62_a_policy_that_lost_its_approver_is_archived_after_the_wait(house: House) -> None:
    operator = Operator(house)
    guard = house.policy(approval(group(1, house.bob)), "Policies:Modify")
    other = house.policy({"kind": "Block"})
    # As long as somebody can change it, it is nobody else's business.
    assert operator.locked() == []
    assert "can be changed by the API" in impossible(lambda: operator.request(guard["id"]))
    assert house.ada.caller.signed("PUT", f"/auth/users/{house.bob.id}/deactivate", {}).status_code == 200
    own = house.ada.caller.signed("DELETE", f"/v2/policies/{guard['id']}").json()
    held = house.ada.caller.signed("DELETE", f"/v2/policies/{other['id']}").json()
    ((org_id, lock),) = operator.locked()
    assert (org_id, lock.policy.id) == (house.org_id, guard["id"])
    assert "no locked policy" in impossible(lambda: operator.request(other["id"]))

    first = operator.request(guard["id"])
    assert first.ready_at - first.requested_at == 72 * HOUR_MS
    assert "waits already" in impossible(lambda: operator.request(guard["id"]))
    operator.cancel(first.id)
    assert "cancelled already" in impossible(lambda: operator.complete(first.id))
    made = operator.request(guard["id"])
    house.server.clock.move(seconds=72 * 3600 - 60)
    assert "1 h from now" in impossible(lambda: operator.complete(made.id))
    assert house.ada.caller.send("GET", f"/v2/policies/{guard['id']}").json()["status"] == "Active"
    house.server.clock.move(seconds=60)
    assert operator.complete(made.id).state == "Completed"
    assert "completed already" in impossible(lambda: operator.complete(made.id))
    assert operator.steps() == ["requested", "cancelled", "requested", "completed"]

    assert house.ada.caller.send("GET", f"/v2/policies/{guard['id']}").json()["status"] == "Archived"
    assert house.approval(own["approvalId"])["status"] == "Denied"
    ended = house.tenants.execute("SELECT status, reason FROM change_requests WHERE change_request_id = ?", own["id"])
    assert tuple(ended[0]) == ("Rejected", "the policy was archived by the operator")
    # What it held besides can be given up by who asked, and asked for anew.
    assert house.approval(held["approvalId"])["status"] == "Pending"
    assert house.ada.decide(held["approvalId"], "Denied").status_code == 200
    assert house.ada.caller.signed("DELETE", f"/v2/policies/{other['id']}").json()["status"] == "Archived"


def test_what_was_unlocked_during_the_wait_stays(house: House) -> None:
    operator = Operator(house)
    guard = house.policy(approval(group(1, house.bob)), "Policies:Modify")
    deactivate = f"/auth/users/{house.bob.id}/deactivate"
    assert house.ada.caller.signed("PUT", deactivate, {}).status_code == 200
    made = operator.request(guard["id"])
    assert house.ada.caller.signed("PUT", f"/auth/users/{house.bob.id}/activate", {}).status_code == 200
    house.server.clock.move(seconds=73 * 3600)
    assert "locked no longer" in impossible(lambda: operator.complete(made.id))
    assert house.ada.caller.send("GET", f"/v2/policies/{guard['id']}").json()["status"] == "Active"
    # The request waits on, and counts for nothing until it is locked again.
    assert operator.cancel(made.id).state == "Cancelled"
