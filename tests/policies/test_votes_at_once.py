"""Many decide at the same moment: each vote counts once, and the approval ends once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from countersign.api import ApiError, Caller
from countersign.policies import Governance, decisions
from countersign.policies.decisions import Signed
from countersign.policies.types import CreateDecision
from tests.keys.builders import CALLER
from tests.policies.house import House, approval, group


def test_z7_of_votes_at_once_each_counts_once_and_one_ends_it(house: House) -> None:
    house.policy(approval(group(3)))
    requests = [house.held(house.bot) for _ in range(4)]
    services, world = house.server.runtime.services, house.server.world
    database, governance = services.database, services.get(Governance)
    people = [house.ada, house.bob, house.eve]
    callers = [replace(CALLER, org_id=house.org_id, user_id=person.id) for person in people]
    credentials = {person.id: person.identity.credential_uuid for person in people}

    async def vote(caller: Caller, request: dict[str, Any], number: int) -> str:
        signed = Signed(f"{request['id']}-{caller.user_id}-{number}", credentials[caller.user_id])
        body = CreateDecision(value="Approved")
        try:
            done = await database.write(
                lambda: decisions.vote(caller, request["approvalId"], body, signed, governance, world)
            )
        except ApiError as error:
            return error.code
        return done.value.status

    async def all_at_once() -> list[str]:
        votes = [vote(caller, each, number) for each in requests for caller in callers for number in range(2)]
        return await asyncio.gather(*votes)

    outcomes = house.server.runner.run(all_at_once())
    assert outcomes.count("Approved") == len(requests)
    assert outcomes.count("Pending") == 2 * len(requests)
    assert outcomes.count("CONFLICT") + outcomes.count("APPROVAL_CLOSED") == 3 * len(requests)
    for each in requests:
        assert house.request(each)["status"] == "Executing"
        assert len(house.approval(each["approvalId"])["decisions"]) == 3
