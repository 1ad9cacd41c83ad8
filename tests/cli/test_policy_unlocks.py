"""``countersign admin unlock-policy`` beside a running server, as an operator uses it."""

from __future__ import annotations

from tests.cli.test_admin import Operator, set_wait, until
from tests.support.caller import Caller
from tests.support.commands import refusal
from tests.support.server import Sandbox


def test_an_operator_ends_a_policy_that_nobody_can_change(sandbox: Sandbox) -> None:
    operator = Operator(sandbox)
    assert operator.output("unlock-policy", "check") == "no policy is locked\n"
    action = {"kind": "RequestApproval", "approvalGroups": [{"quorum": 9, "approvers": {}}]}
    body = {"name": "all nine", "activityKind": "Policies:Modify", "rule": {"kind": "AlwaysTrigger"}, "action": action}
    with Caller(sandbox.admin) as admin:
        policy = admin.signed("POST", "/v2/policies", body).json()["id"]
        assert admin.signed("DELETE", f"/v2/policies/{policy}").status_code == 202
        (lock,) = operator.json("unlock-policy", "check")
        assert (lock["policyId"], "needs 9 approvals" in lock["reasons"][0]) == (policy, True)
        kek = sandbox.directory / "dev.kek"
        kek.rename(kek.with_suffix(".away"))
        refusal(operator.run("unlock-policy", "request", policy))
        kek.with_suffix(".away").rename(kek)
        waiting = operator.json("unlock-policy", "request", policy)
        assert [each["id"] for each in operator.json("unlock-policy", "list")] == [waiting["id"]]
        assert "waits until" in refusal(operator.run("unlock-policy", "complete", waiting["id"], break_glass_hours="0"))
        sandbox.stop()
        sandbox.start()
        until(lambda: f"countersign admin unlock-policy cancel {waiting['id']}" in sandbox.log())
        assert operator.output("unlock-policy", "cancel", waiting["id"]) == f"{waiting['id']} is cancelled\n"
        set_wait(operator, 0)
        waiting = operator.json("unlock-policy", "request", policy)
        assert "is archived" in operator.output("unlock-policy", "complete", waiting["id"])
    with Caller(sandbox.admin) as admin:
        assert admin.send("GET", f"/v2/policies/{policy}").json()["status"] == "Archived"
    assert operator.output("unlock-policy", "check") == "no policy is locked\n"
