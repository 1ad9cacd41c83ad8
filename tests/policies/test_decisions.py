"""Z7: who decides about what is held, once, and what follows; signatures go on as they were asked for, once."""

from __future__ import annotations

import json
from functools import partial

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from countersign.jobs import Job
from countersign.jobs.inspection import listing
from countersign.jobs.plan import MOST_LOST
from countersign.keys.approved_signatures import SIGN_APPROVED
from countersign.policies import decisions, held
from countersign.server import jobs
from tests.policies.house import House, approval, group


def code(answer: object) -> tuple[int, str]:
    """Status and code of a refusal."""
    return answer.status_code, answer.json()["error"]["code"]


def test_what_two_approve_is_signed_once_and_as_it_was_asked_for(house: House) -> None:
    house.policy(approval(group(2)))
    request = house.held(house.bot, message="0x6f6e6365", externalId="e1")
    assert house.execute() == 0
    first = house.ada.decide(request["approvalId"], reason="fine")
    assert (first.status_code, first.json()["status"]) == (200, "Pending")
    assert house.request(request)["status"] == "Pending"
    second = house.bob.decide(request["approvalId"])
    assert (second.status_code, second.json()["status"]) == (200, "Approved")
    shown = second.json()
    assert [(each["userId"], each["value"], each["reason"]) for each in shown["decisions"]] == [
        (house.ada.id, "Approved", "fine"),
        (house.bob.id, "Approved", None),
    ]
    assert shown["activity"]["signatureRequest"]["status"] == "Executing"
    assert house.execute() == 1
    assert house.execute() == 0
    signed = house.request(request)
    assert signed["status"] == "Signed"
    assert signed["datePolicyResolved"] == shown["dateResolved"]
    public_key = house.ada.caller.send("GET", f"/keys/{house.key}").json()["publicKey"]
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(
        bytes.fromhex(signed["signature"]["encoded"][2:]), b"once"
    )
    # A repeat answers the same request, and asks nobody again.
    assert house.bot.sign(house.key, message="0x6f6e6365", externalId="e1").json() == signed
    (entry,) = [json.loads(each) for each in house.entries("Signature") if signed["id"] in each]
    assert entry["approvalId"] == request["approvalId"]
    assert len(entry["approvals"]) == 2
    decisions = [json.loads(each) for each in house.entries("Action") if "/decisions" in each]
    assert entry["approvals"] == [each["id"] for each in decisions]


def test_a_denial_ends_it_and_nothing_comes_after(house: House) -> None:
    house.policy(approval(group(1)))
    request = house.held(house.bot)
    denied = house.ada.decide(request["approvalId"], "Denied", reason="no")
    assert (denied.status_code, denied.json()["status"]) == (200, "Denied")
    rejected = house.request(request)
    assert (rejected["status"], rejected["reason"]) == ("Rejected", f"denied by {house.ada.id}: no")
    assert "datePolicyResolved" in rejected
    assert code(house.bob.decide(request["approvalId"])) == (412, "APPROVAL_CLOSED")
    assert house.execute() == 0
    assert house.bot.sign(house.key, externalId="other").json()["status"] == "Pending"


def test_a_decision_at_its_end_comes_too_late_whoever_swept(house: House) -> None:
    house.policy(approval(group(1), autoRejectTimeout=5))
    early, late = house.held(house.bot), house.held(house.bot)
    house.server.clock.move(seconds=301)
    for each in (early, late):
        assert house.approval(each["approvalId"])["status"] == "Expired"
    found = house.ada.caller.send("GET", "/v2/policy-approvals?status=Expired").json()["items"]
    assert len(found) == 2
    assert house.ada.caller.send("GET", "/v2/policy-approvals?status=Pending").json()["items"] == []
    assert code(house.ada.decide(early["approvalId"])) == (412, "APPROVAL_CLOSED")
    assert house.request(early)["status"] == "Rejected"
    assert house.request(late)["status"] == "Pending"
    # Whatever became of the process that held it.
    house.server.restart()
    assert house.expire() == 2
    assert house.request(late)["reason"] == "the approval expired"
    assert code(house.ada.decide(late["approvalId"])) == (412, "APPROVAL_CLOSED")
    assert house.expire() == house.execute() == 0


def test_z7_the_same_person_counts_once_through_whatever_token(house: House) -> None:
    house.policy(approval(group(2)))
    request = house.held(house.bot)
    assert house.ada.decide(request["approvalId"]).json()["status"] == "Pending"
    again = house.enter(house.tenants.another_session(house.ada.identity))
    token = house.enter(house.tenants.personal_access_token(house.ada.identity))
    for same in (house.ada, again, token):
        assert code(same.decide(request["approvalId"])) == (409, "CONFLICT")
    assert house.request(request)["status"] == "Pending"


def test_z7_the_initiator_approves_only_where_a_group_allows_it_and_may_always_deny(house: House) -> None:
    house.policy(approval(group(1, house.ada, house.bob)))
    request = house.held(house.ada)
    token = house.enter(house.tenants.personal_access_token(house.ada.identity))
    for same in (house.ada, token):
        assert code(same.decide(request["approvalId"])) == (403, "NOT_AN_APPROVER")
    assert house.ada.decide(request["approvalId"], "Denied").json()["status"] == "Denied"
    outsider = house.held(house.eve)
    assert code(house.eve.decide(outsider["approvalId"])) == (403, "NOT_AN_APPROVER")
    assert house.eve.decide(outsider["approvalId"], "Denied").json()["status"] == "Denied"


def test_z7_a_group_may_let_its_initiator_approve(house: House) -> None:
    house.policy(approval(group(1, house.ada, initiatorCanApprove=True)))
    assert house.ada.decide(house.held(house.ada)["approvalId"]).json()["status"] == "Approved"


def test_a_service_account_approves_where_it_is_listed_and_let(house: House) -> None:
    policy = house.policy(approval(group(1, house.bot)))
    request = house.held(house.ada)
    assert code(house.bot.decide(request["approvalId"])) == (403, "NOT_AN_APPROVER")
    house.ada.caller.signed("DELETE", f"/v2/policies/{policy['id']}")
    open_to_all = house.policy(approval(group(1, serviceAccountsCanApprove=True)))
    assert code(house.bot.decide(house.held(house.ada)["approvalId"])) == (403, "NOT_AN_APPROVER")
    house.ada.caller.signed("DELETE", f"/v2/policies/{open_to_all['id']}")
    house.policy(approval(group(1, house.bot, serviceAccountsCanApprove=True)))
    request = house.held(house.ada)
    assert house.bot.decide(request["approvalId"]).json()["status"] == "Approved"
    assert house.execute() == 1
    assert house.request(request)["status"] == "Signed"


def test_z7_editing_or_archiving_the_policy_touches_nothing_that_waits(house: House) -> None:
    policy = house.policy(approval(group(2, house.ada, house.bob)))
    waiting = [house.held(house.bot), house.held(house.bot)]
    members = {name: policy[name] for name in ("name", "activityKind", "rule")}
    weaker = {**members, "action": approval(group(1))}
    assert house.ada.caller.signed("PUT", f"/v2/policies/{policy['id']}", weaker).status_code == 200
    assert house.ada.decide(waiting[0]["approvalId"]).json()["status"] == "Pending"
    assert code(house.eve.decide(waiting[0]["approvalId"])) == (403, "NOT_AN_APPROVER")
    assert house.ada.caller.signed("DELETE", f"/v2/policies/{policy['id']}").status_code == 200
    assert house.bob.decide(waiting[0]["approvalId"]).json()["status"] == "Approved"
    assert house.request(waiting[1])["status"] == "Pending"
    assert house.bot.sign(house.key).json()["status"] == "Signed"


def test_z7_the_vote_of_somebody_removed_meanwhile_stops_counting(house: House) -> None:
    house.policy(approval(group(2)))
    request = house.held(house.bot)
    assert house.bob.decide(request["approvalId"]).json()["status"] == "Pending"
    assert house.ada.caller.signed("PUT", f"/auth/users/{house.bob.id}/deactivate", {}).status_code == 200
    assert house.ada.decide(request["approvalId"]).json()["status"] == "Pending"
    assert house.eve.decide(request["approvalId"]).json()["status"] == "Approved"
    assert house.execute() == 1
    assert house.request(request)["status"] == "Signed"
    (entry,) = [json.loads(each) for each in house.entries("Signature") if request["id"] in each]
    assert len(entry["approvals"]) == 2


@pytest.mark.parametrize("taken", ["credential", "right", "token"])
def test_z7_a_vote_stops_counting_when_what_it_was_given_by_is_taken_away(house: House, taken: str) -> None:
    """A stolen credential must not decide after its owner had it deactivated; nor who may not vote any more."""
    house.policy(approval(group(2)))
    request = house.held(house.bot)
    voting = house.tenants.permission(house.org_id, ["Policies:Evaluations:Vote"])
    voter = house.tenants.session(house.org_id, voting)
    through = house.tenants.personal_access_token(voter, voting) if taken == "token" else voter
    house.tenants.introduce(voter)
    assert house.enter(through).decide(request["approvalId"]).json()["status"] == "Pending"
    execute = house.tenants.execute
    if taken == "right":
        execute("DELETE FROM permission_assignments WHERE identity_id = ?", voter.user_id)
    elif taken == "credential":
        execute("UPDATE credentials SET state = 'Inactive' WHERE credential_uuid = ?", voter.credential_uuid)
    else:
        execute("UPDATE tokens SET state = 'Inactive' WHERE token_id = ?", through.token_id)
    assert house.ada.decide(request["approvalId"]).json()["status"] == "Pending"
    assert house.eve.decide(request["approvalId"]).json()["status"] == "Approved"


def test_z7_a_signature_names_no_approval_by_a_token_that_was_taken_away_before_it_was_made(house: House) -> None:
    house.policy(approval(group(2)))
    request = house.held(house.bot)
    voter = house.tenants.session(house.org_id, house.tenants.permission(house.org_id, ["Policies:Evaluations:Vote"]))
    token = house.tenants.personal_access_token(voter)
    house.tenants.introduce(token)
    assert house.enter(token).decide(request["approvalId"]).status_code == 200
    assert house.ada.decide(request["approvalId"]).json()["status"] == "Approved"
    house.tenants.execute("UPDATE tokens SET state = 'Inactive' WHERE token_id = ?", token.token_id)
    assert house.execute() == 1
    assert house.request(request)["status"] == "Signed"
    (entry,) = [json.loads(each) for each in house.entries("Signature") if request["id"] in each]
    decided = [json.loads(each) for each in house.entries("Action") if "/decisions" in each]
    assert entry["approvals"] == [each["id"] for each in decided if each["userId"] == house.ada.id]


def test_z7_what_has_ended_is_ended_by_nothing_a_second_time(house: House) -> None:
    """Of two who end one approval the second finds it so, whatever it had read before."""
    house.policy(approval(group(1)))
    house.policy(approval(group(1, house.bob)), "Policies:Modify")
    policy = house.ada.caller.send("GET", "/v2/policies").json()["items"][1]["id"]
    changed = house.ada.caller.signed("DELETE", f"/v2/policies/{policy}").json()
    database, world = house.server.runtime.services.database, house.server.world
    run = house.server.runner.run
    for request in (house.held(house.bot), changed):
        before = run(database.read(partial(decisions.find, house.org_id, request["approvalId"])))
        assert before is not None
        assert house.bob.decide(request["approvalId"]).json()["status"] == "Approved"
        shown = house.approval(request["approvalId"])
        run(database.write(partial(decisions.close, house.org_id, before, "Denied", "late", world)))
        entity = held.of(before.entity_kind)
        assert run(database.write(partial(entity.rejected, house.org_id, request["id"], "late", world))) == ()
        assert house.approval(request["approvalId"]) == shown


def test_an_end_that_is_hurried_comes_at_its_time_all_the_same(house: House) -> None:
    """By an operator, or by a clock that was ahead: what would have ended it must not be gone by then."""
    house.policy(approval(group(1), autoRejectTimeout=5))
    request = house.held(house.bot)
    house.tenants.execute("UPDATE jobs SET due_at = 0 WHERE kind = 'policies.end_approval'")
    assert house.expire() == 0
    assert house.request(request)["status"] == "Pending"
    house.server.clock.move(seconds=301)
    assert house.expire() == 1
    assert house.request(request)["status"] == "Rejected"


def test_z7_a_decision_about_another_approval_lets_nothing_go_on(house: House) -> None:
    """Whoever writes into the database chooses which decision stands at an approval, not what it was about."""
    house.policy(approval(group(1)))
    first, second = house.held(house.bot), house.held(house.bot)
    for request in (first, second):
        assert house.ada.decide(request["approvalId"]).json()["status"] == "Approved"
    rows = house.tenants.execute("SELECT action_id FROM policy_decisions WHERE approval_id = ?", first["approvalId"])
    house.tenants.execute(
        "UPDATE policy_decisions SET action_id = ? WHERE approval_id = ?", rows[0][0], second["approvalId"]
    )
    assert house.execute() == 1
    assert [house.request(each)["status"] for each in (first, second)] == ["Signed", "Executing"]


def test_a_dead_job_keeps_what_was_approved_until_an_operator_ends_it(house: House) -> None:
    """Forgotten with its job, the request would be ``Executing`` for ever, and count in every velocity."""
    house.policy(approval(group(1)))
    request = house.held(house.bot)
    assert house.ada.decide(request["approvalId"]).json()["status"] == "Approved"
    execute = house.tenants.execute
    execute("UPDATE jobs SET lost = ? WHERE kind = 'keys.sign_approved'", MOST_LOST)
    assert house.execute() == 0
    services, run = house.server.runtime.services, house.server.runner.run
    (dead,) = run(services.database.read(lambda: listing(0, kind=SIGN_APPROVED, dead=True)))
    house.server.clock.move(seconds=40 * 86_400)
    (forgetting,) = [each for each in jobs.kinds(services) if each.name == "jobs.forget_dead"]
    job = Job("", "job-1", forgetting.name, "", "{}", 1, 1, 1, 0)
    run(forgetting.run(job))
    assert house.request(request)["status"] == "Executing"
    run(services.database.write(lambda: jobs.change_by_command("drop", dead.job_id, "in-test", house.server.world)))
    failed = house.request(request)
    assert (failed["status"], failed["reason"]) == ("Failed", "its job was dropped by the operator")
    events = {json.loads(each)["event"] for each in house.entries("System")}
    assert {"SignatureGivenUp", "JobDropped"} <= events


def test_several_policies_ask_all_their_groups_and_one_vote_counts_in_each(house: House) -> None:
    house.policy(approval(group(1, house.ada), autoRejectTimeout=60))
    house.policy(approval(group(2, house.ada, house.bob), autoRejectTimeout=5))
    request = house.held(house.bot)
    shown = house.approval(request["approvalId"])
    assert len(shown["policyEvaluations"]) == 2
    assert shown["expirationDate"] < request["dateRequested"][:11] + "99"
    assert house.bob.decide(request["approvalId"]).json()["status"] == "Pending"
    assert house.ada.decide(request["approvalId"]).json()["status"] == "Approved"


def test_a_crash_between_approval_and_execution_loses_and_repeats_nothing(house: House) -> None:
    house.policy(approval(group(1)))
    request = house.held(house.bot)
    assert house.ada.decide(request["approvalId"]).json()["status"] == "Approved"
    house.server.restart()
    assert house.execute() == 1
    assert house.execute() == 0
    signed = house.request(request)
    assert signed["status"] == "Signed"
    assert len([each for each in house.entries("Signature") if request["id"] in each]) == 1


def test_a_key_that_is_archived_meanwhile_fails_what_waits_and_what_was_approved(house: House) -> None:
    house.policy(approval(group(1)))
    waiting, approved = house.held(house.bot), house.held(house.bot)
    assert house.ada.decide(approved["approvalId"]).json()["status"] == "Approved"
    assert house.ada.caller.signed("DELETE", f"/keys/{house.key}").status_code == 200
    house.execute()
    for each in (waiting, approved):
        failed = house.request(each)
        assert (failed["status"], failed["reason"]) == ("Failed", "key archived")
    assert house.ada.decide(waiting["approvalId"]).json()["status"] == "Approved"
    assert house.request(waiting)["status"] == "Failed"
    assert house.execute() == 0


def test_approvals_are_found_by_status_initiator_and_approver_in_every_spelling(house: House) -> None:
    house.policy(approval(group(1, house.ada, house.bob)))
    of_ada, of_bot = house.held(house.ada)["approvalId"], house.held(house.bot)["approvalId"]
    house.bob.decide(of_bot, "Denied")

    def found(query: str) -> set[str]:
        answer = house.ada.caller.send("GET", f"/v2/policy-approvals?{query}")
        assert answer.status_code == 200, answer.text
        return {each["id"] for each in answer.json()["items"]}

    for spelling in ("status=Pending", "status=['Pending']", "status=[Pending]", "status=Pending,Expired"):
        assert found(spelling) == {of_ada}, spelling
    assert found("status=Pending&status=Denied") == {of_ada, of_bot}
    assert found(f"initiatorId={house.bot.id}") == {of_bot}
    assert found(f"approverId={house.bob.id}") == {of_ada, of_bot}
    assert found(f"approverId={house.ada.id}") == {of_bot}
    assert (
        found(f"approverId={house.eve.id}") == found("triggerStatus=Triggered") == found("status=AutoApproved") == set()
    )
    assert found("limit=1") == {of_bot}
    assert house.ada.caller.send("GET", "/v2/policy-approvals?status=Nonsense").status_code == 400
