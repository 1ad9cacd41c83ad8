"""``countersign policy replay`` and ``export`` beside a running server, on both engines."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from countersign.encoding import strictyaml
from tests.support.caller import Caller
from tests.support.commands import Done, countersign, refusal
from tests.support.server import Sandbox

DRAFT = """
policies:
  - {id: many, activityKind: "Wallets:Sign", action: {kind: Block},
     rule: {kind: TransactionCountVelocity, configuration: {limit: 3, timeframe: 60}}}
  - {id: some, activityKind: "Wallets:Sign",
     rule: {kind: TransactionCountVelocity, configuration: {limit: 1, timeframe: 60}},
     action: {kind: RequestApproval, approvalGroups: [{quorum: 1, approvers: {}}]}}
  - {id: changes, activityKind: "Permissions:Modify", action: {kind: Block}, rule: {kind: AlwaysTrigger}}
"""
GUARD: dict[str, Any] = {
    "name": "Changes:\x1b[2J of 0x10, or 1e5",
    "activityKind": "Policies:Modify",
    "rule": {"kind": "AlwaysTrigger"},
    "action": {"kind": "RequestApproval", "approvalGroups": [{"quorum": 1, "approvers": {}}]},
}
LIMIT: dict[str, Any] = {
    "name": "yes",
    "activityKind": "Wallets:Sign",
    "rule": {"kind": "TransactionAmountLimit", "configuration": {"limit": "0.10", "currency": "USD"}},
    "action": {"kind": "NoAction"},
    "filters": {"walletTags": {"hasAny": ["0x1f", "null", "a: b"]}},
}


def run(sandbox: Sandbox, *arguments: object) -> Done:
    env = {} if sandbox.database is None else {"COUNTERSIGN_DATABASE": sandbox.database}
    return countersign("policy", *arguments, "--data", sandbox.directory, env=env)


def output(sandbox: Sandbox, *arguments: object) -> str:
    done = run(sandbox, *arguments)
    assert done.status == 0, done.errors
    return done.output


def test_what_was_recorded_is_put_before_a_draft(sandbox: Sandbox, tmp_path: Path) -> None:
    draft = tmp_path / "draft.yaml"
    draft.write_text(
        DRAFT.replace("{kind: NoAction}", "{kind: Block}").replace("Policies:Modify", "Permissions:Modify")
    )
    with Caller(sandbox.admin) as admin:
        keys = [admin.create_key() for _ in range(2)]
        message = {"kind": "Message", "message": "0x00"}
        for number in range(7):
            answer = admin.signed("POST", f"/keys/{keys[number == 5]}/signatures", message)
            assert answer.json()["status"] == "Signed"
        guard = admin.signed("POST", "/v2/policies", GUARD).json()
        assert admin.signed("POST", "/v2/policies", LIMIT).status_code == 200
        assert admin.signed("DELETE", f"/v2/policies/{guard['id']}").status_code == 202
        alone = output(sandbox, "replay", draft)
        assert alone.splitlines()[-1] == "2 of 8 would have been held, 3 blocked"
        assert "some (some): " in alone
        told = json.loads(output(sandbox, "replay", draft, "--add", "--limit", "2", "--json"))
        assert {name: told[name] for name in ("replayed", "held", "blocked", "kinds")} == {
            "replayed": 8,
            "held": 3,
            "blocked": 3,
            "kinds": {"Wallets:Sign": 7, "Policies:Modify": 1},
        }
        assert told["triggered"] == {"some": 5, "many": 3, guard["id"]: 1}
        assert [each["policies"][0]["policyId"] for each in told["stopped"]] == ["some", "some"]
        assert [each["status"] for each in told["stopped"]] == ["Signed", "Signed"]
        few = output(sandbox, "replay", draft, "--limit", "1").splitlines()
        assert few[-2] == "and 4 more; --limit lists them"
        assert output(sandbox, "replay", draft, "--since", "2200-01-01").endswith(
            "0 of 0 would have been held, 0 blocked\n"
        )
        # What is exported is what is in force: it lints, and replays as it is enforced.
        exported = tmp_path / "exported.yaml"
        exported.write_text(output(sandbox, "export"), encoding="utf-8")
        active = admin.send("GET", "/v2/policies").json(parse_float=Decimal)["items"]
        written = {each["id"]: each for each in strictyaml.parse(exported.read_text("utf-8"))["policies"]}
        assert len(written) == len(active) == 2
        for policy in active:
            assert written[policy["id"]].items() <= policy.items()
        replayed = output(sandbox, "replay", exported)
        assert replayed.splitlines()[-1] == "1 of 8 would have been held, 0 blocked"
        assert guard["id"] in replayed
        assert "\x1b" not in replayed
        linted = json.loads(countersign("policy", "lint", exported, "--json").output)
        assert {each["code"] for each in linted["findings"]}.isdisjoint({"approver-cannot-vote"})
        both = [
            admin.send("POST", "/policies/simulate", {"activity": {"kind": "Wallets:Sign", "keyId": keys[0]}, **draft})
            for draft in ({}, {"policies": [{**LIMIT, "filters": {}}]})
        ]
        assert [len(answer.json()["triggered"]) for answer in both] == [0, 1]


def test_what_cannot_be_replayed_is_told_in_one_line(shared_sandbox: Sandbox, tmp_path: Path) -> None:
    draft = tmp_path / "draft.yaml"
    draft.write_text("users: []")
    assert "holds no policies" in refusal(run(shared_sandbox, "replay", draft))
    draft.write_text(DRAFT.replace("Permissions:Modify", "Policies:Modify"))
    assert "Block does not go with" in refusal(run(shared_sandbox, "replay", draft))
    draft.write_text(DRAFT)
    assert "--since takes a date" in run(shared_sandbox, "replay", draft, "--since", "yesterday").errors
    assert "no organisation 'or-1'" in refusal(run(shared_sandbox, "replay", draft, "--org", "or-1"))
    assert "no organisation 'or-1'" in refusal(run(shared_sandbox, "export", "--org", "or-1"))
