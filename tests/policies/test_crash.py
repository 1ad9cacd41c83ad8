"""A server that is killed between an approval and its execution."""

from __future__ import annotations

from functools import partial

from tests.faults.waiting import until
from tests.support.caller import Caller
from tests.support.server import Sandbox
from tests.support.tenants import beside

MESSAGE = {"kind": "Message", "message": "0x00"}


def test_what_was_approved_is_signed_once_though_the_server_is_killed(sandbox: Sandbox) -> None:
    tenants = beside(sandbox.directory, sandbox.database, sandbox.values["baseUrl"])
    action = {"kind": "RequestApproval", "approvalGroups": [{"quorum": 1, "approvers": {}}]}
    policy = {"name": "p", "activityKind": "Wallets:Sign", "rule": {"kind": "AlwaysTrigger"}, "action": action}
    with Caller(sandbox.admin) as admin, Caller(sandbox.service) as service:
        key = admin.create_key()
        assert admin.signed("POST", "/v2/policies", policy).status_code == 200
        waiting = [service.signed("POST", f"/keys/{key}/signatures", MESSAGE).json() for _ in range(5)]
        decisions = [f"/v2/policy-approvals/{each['approvalId']}/decisions" for each in waiting]
        tokens = [admin.action_token("POST", path, {"value": "Approved"}) for path in decisions]
        for path, token in zip(decisions, tokens, strict=True):
            assert admin.send("POST", path, {"value": "Approved"}, action=token).json()["status"] == "Approved"
    sandbox.kill()
    sandbox.start()
    with Caller(sandbox.admin) as admin:

        def ended(signature_id: str) -> str | None:
            status: str = admin.send("GET", f"/keys/{key}/signatures/{signature_id}").json()["status"]
            return None if status == "Executing" else status

        for each in waiting:
            assert until("it was executed", partial(ended, each["id"])) == "Signed"
    made = tenants.execute('SELECT count(*) FROM audit_entries WHERE entry LIKE \'{"kind":"Signature"%\'')
    assert made[0][0] == len(waiting)
