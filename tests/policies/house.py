"""An organisation with people, over a server inside the test's own process.

Nothing runs in the background, so that a test says when work goes on: :meth:`House.execute`, :meth:`House.expire`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from countersign.jobs.workers import Workers
from countersign.keys.approved_signatures import SIGN_APPROVED
from countersign.policies.deciding import END_APPROVAL
from countersign.server import jobs
from tests.support.caller import Caller
from tests.support.inprocess import InProcess
from tests.support.tenants import Identity, Tenants, beside

MESSAGE = {"kind": "Message", "message": "0x00"}
SIGN = "Wallets:Sign"


class Person:
    """Somebody of the organisation, and the way in."""

    def __init__(self, identity: Identity, caller: Caller) -> None:
        self.identity = identity
        self.id = identity.user_id
        self.caller = caller

    def sign(self, key: str, **members: Any) -> httpx.Response:
        """Ask for a signature."""
        return self.caller.signed("POST", f"/keys/{key}/signatures", {**MESSAGE, **members})

    def decide(self, approval: str, value: str = "Approved", **members: Any) -> httpx.Response:
        """Vote."""
        return self.caller.signed("POST", f"/v2/policy-approvals/{approval}/decisions", {"value": value, **members})


class House:
    """``ada``, ``bob`` and ``eve`` are administrators, ``bot`` is a service account; ``key`` is a key of theirs."""

    def __init__(self, server: InProcess, tenants: Tenants, stack: ExitStack) -> None:
        self.server = server
        self.tenants = tenants
        self._stack = stack
        self.org_id = server.values["orgId"]
        identities = [tenants.session(self.org_id, everything=True) for _ in range(3)]
        identities.append(tenants.service_account(self.org_id, everything=True))
        tenants.introduce(*identities)
        self.ada, self.bob, self.eve, self.bot = (self.enter(each) for each in identities)
        self.key = self.ada.caller.create_key()

    def enter(self, identity: Identity) -> Person:
        """Somebody else who can call."""
        return Person(identity, self._stack.enter_context(self.server.caller(identity.connection)))

    def policy(self, action: dict[str, Any], kind: str = SIGN, **members: Any) -> dict[str, Any]:
        """A new policy that always triggers, unless members say otherwise."""
        body = {"name": "p", "activityKind": kind, "rule": {"kind": "AlwaysTrigger"}, "action": action, **members}
        made = self.ada.caller.signed("POST", "/v2/policies", body)
        assert made.status_code == 200, made.text
        policy: dict[str, Any] = made.json()
        return policy

    def held(self, who: Person, **members: Any) -> dict[str, Any]:
        """A signature request that waits."""
        answer = who.sign(self.key, **members)
        assert (answer.status_code, answer.json().get("status")) == (200, "Pending"), answer.text
        request: dict[str, Any] = answer.json()
        return request

    def request(self, request: dict[str, Any]) -> dict[str, Any]:
        """The signature request as it is now."""
        found: dict[str, Any] = self.ada.caller.send("GET", f"/keys/{self.key}/signatures/{request['id']}").json()
        return found

    def approval(self, approval_id: str) -> dict[str, Any]:
        """The approval as it is now."""
        found: dict[str, Any] = self.ada.caller.send("GET", f"/v2/policy-approvals/{approval_id}").json()
        return found

    def execute(self) -> int:
        """Take up what was approved; how much there was."""
        return self._work(SIGN_APPROVED)

    def expire(self) -> int:
        """Write down what has ended by the clock; for how many the time was over, ended before or not."""
        return self._work(END_APPROVAL)

    def _work(self, kind: str) -> int:
        """Run the jobs of a kind that are due; how many are done."""
        ended: Counter[str] = Counter()
        services = self.server.runtime.services
        kinds = [each for each in jobs.kinds(services) if each.name == kind]
        workers = Workers(
            services.database, kinds, "test", self.server.world, count=lambda _, ending: ended.update([ending])
        )
        self.server.runner.run(workers.until_idle())
        return ended["done"]

    def entries(self, kind: str) -> list[str]:
        """Audit entries of a kind as JSON text."""
        rows = self.tenants.execute(
            "SELECT entry FROM audit_entries WHERE entry LIKE ? ORDER BY entry_id", f'{{"kind":"{kind}"%'
        )
        return [row[0] for row in rows]


def approval(*groups: dict[str, Any], **members: Any) -> dict[str, Any]:
    """The action that asks these groups."""
    return {"kind": "RequestApproval", "approvalGroups": list(groups), **members}


def group(quorum: int, *people: Person, **members: Any) -> dict[str, Any]:
    """A group of these people, or of everybody."""
    approvers = {"userId": {"in": [person.id for person in people]}} if people else {}
    return {"quorum": quorum, "approvers": approvers, **members}


@contextmanager
def open_house(server: InProcess, directory: Path, database: str) -> Iterator[House]:
    """A house over a running server."""
    with ExitStack() as stack:
        yield House(server, beside(directory, database, "http://in-process.test"), stack)
