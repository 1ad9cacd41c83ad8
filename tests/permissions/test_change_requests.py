"""Changes of permissions that policies guard: held, applied once approved, blocked, and no way around."""

from __future__ import annotations

from typing import Any

import pytest

from tests.permissions.staff import BLOCK, Staff, approval_by, code, new_name
from tests.support.caller import Caller
from tests.support.new_keys import new_public_key


@pytest.fixture
def guarded(firm: Staff) -> tuple[Staff, Caller, str]:
    """A firm, a second administrator who decides, and who that is."""
    caller, identity = firm.another_administrator()
    return firm, caller, identity.user_id


def held(answer: Any) -> dict[str, Any]:
    """The change request with which a change was answered."""
    assert answer.status_code == 202, answer.text
    request: dict[str, Any] = answer.json()
    assert request["status"] == "Pending"
    return request


def change(firm: Staff, request_id: str) -> tuple[str, str | None]:
    """Status and reason of a change request, as they are stored."""
    return tuple(
        firm.tenants.execute("SELECT status, reason FROM change_requests WHERE change_request_id = ?", request_id)[0]
    )


def test_an_update_waits_is_shown_and_is_made_once_it_is_approved(guarded: tuple[Staff, Caller, str]) -> None:
    firm, approver, approver_id = guarded
    permission = firm.permission("Keys:Read")
    path = f"/permissions/{permission['id']}"
    firm.policy("Permissions:Modify", approval_by(approver_id), permission["id"])
    name = new_name()
    request = held(firm.admin.signed("PUT", path, {"name": name, "operations": ["Keys:Read", "Keys:Create"]}))
    assert (request["kind"], request["operationKind"]) == ("Permission", "Update")
    assert request["entityId"] == permission["id"]
    assert request["requester"] == {"userId": firm.founder.user_id}
    target = {"id": permission["id"], "name": name, "status": "Active", "isImmutable": False, "isArchived": False}
    assert request["body"] == {**target, "operations": ["Keys:Read", "Keys:Create"]}
    assert firm.admin.send("GET", path).json() == {**permission, "pendingChangeRequest": request}
    assert {**permission, "pendingChangeRequest": request} in firm.admin.send("GET", "/permissions").json()["items"]
    # One at a time.
    for again in (firm.admin.signed("PUT", path, {"name": new_name()}), approver.signed("PUT", path, {"name": name})):
        assert code(again) == (409, "CONFLICT")
        assert again.json()["error"]["details"]["duplicate"] == {"id": request["id"]}
    assert code(firm.admin.signed("PUT", f"{path}/archive", {"isArchived": True})) == (409, "CONFLICT")
    assert firm.vote(approver, request["approvalId"]).json()["status"] == "Approved"
    shown = firm.admin.send("GET", path).json()
    assert (shown["name"], shown["operations"]) == (name, ["Keys:Read", "Keys:Create"])
    assert "pendingChangeRequest" not in shown
    assert change(firm, request["id"]) == ("Applied", None)


@pytest.mark.parametrize("value", ["Approved", "Denied"])
def test_archiving_and_restoring_wait_too(guarded: tuple[Staff, Caller, str], value: str) -> None:
    firm, approver, approver_id = guarded
    permission = firm.permission("Keys:Read")["id"]
    firm.policy("Permissions:Modify", approval_by(approver_id))
    path = f"/permissions/{permission}"
    request = held(firm.admin.signed("PUT", f"{path}/archive", {"isArchived": True}))
    assert request["body"]["isArchived"] is True
    assert firm.vote(approver, request["approvalId"], value).json()["status"] == value
    assert firm.admin.send("GET", path).json()["isArchived"] is (value == "Approved")
    assert change(firm, request["id"])[0] == ("Applied" if value == "Approved" else "Rejected")
    # What ended holds nothing back.
    held(firm.admin.signed("PUT", path + "/archive", {"isArchived": value != "Approved"}))


def test_an_assignment_that_waits_grants_nothing_and_is_not_listed(guarded: tuple[Staff, Caller, str]) -> None:
    firm, approver, approver_id = guarded
    permission = firm.permission("Auth:Users:Read")["id"]
    firm.policy("Permissions:Assign", approval_by(approver_id))
    reader = firm.tenants.service_account(firm.org_id)
    request = held(firm.assign(permission, reader.user_id))
    assert (request["kind"], request["operationKind"]) == ("Assignment", "Create")
    body = {"id": request["entityId"], "permissionId": permission, "identityId": reader.user_id, "isImmutable": False}
    assert request["body"] == body
    with Caller(reader.connection) as caller:
        assert caller.send("GET", "/auth/users").status_code == 403
        assert firm.assignments(permission) == []
        firm.vote(approver, request["approvalId"])
        assert caller.send("GET", "/auth/users").status_code == 200
    assert [item["id"] for item in firm.assignments(permission)] == [request["entityId"]]


def test_a_revocation_waits_and_force_does_without_the_approval_and_is_audited(
    guarded: tuple[Staff, Caller, str],
) -> None:
    firm, approver, approver_id = guarded
    permission = firm.permission("Keys:Read")["id"]
    people = [firm.tenants.session(firm.org_id).user_id for _ in range(2)]
    first, second = (firm.assigned(permission, person) for person in people)
    firm.policy("Permissions:Assign", approval_by(approver_id), permission)
    path = f"/permissions/{permission}/assignments"
    request = held(firm.admin.signed("DELETE", f"{path}/{first}"))
    assert (request["kind"], request["operationKind"], request["entityId"]) == ("Assignment", "Delete", first)
    listed = {item["id"]: item.get("pendingChangeRequest") for item in firm.assignments(permission)}
    assert listed == {first: request, second: None}
    assert code(firm.admin.signed("DELETE", f"{path}/{first}?force=true")) == (409, "CONFLICT")
    assert firm.admin.signed("DELETE", f"{path}/{second}?force=True").status_code == 204
    entry = firm.tenants.execute(
        "SELECT entry FROM audit_entries WHERE org_id = ? ORDER BY performed_at DESC, entry_id DESC LIMIT 1",
        firm.org_id,
    )[0][0]
    assert "?force=True" in entry
    assert second in entry
    firm.vote(approver, request["approvalId"])
    assert firm.assignments(permission) == []


def test_z5_a_block_holds_whoever_asks_and_however(guarded: tuple[Staff, Caller, str]) -> None:
    firm, _, _ = guarded
    permission, person = firm.permission("Keys:Read")["id"], firm.tenants.session(firm.org_id).user_id
    assignment = firm.assigned(permission, person)
    policies = [firm.policy(kind, BLOCK, permission) for kind in ("Permissions:Modify", "Permissions:Assign")]
    path = f"/permissions/{permission}"
    before = firm.admin.send("GET", path).json()
    other = firm.tenants.session(firm.org_id).user_id
    for answer, policy in (
        (firm.admin.signed("PUT", path, {"name": new_name()}), policies[0]),
        (firm.admin.signed("PUT", f"{path}/archive", {"isArchived": True}), policies[0]),
        (firm.assign(permission, other), policies[1]),
        (firm.admin.signed("DELETE", f"{path}/assignments/{assignment}"), policies[1]),
        (firm.admin.signed("DELETE", f"{path}/assignments/{assignment}?force=true"), policies[1]),
    ):
        assert code(answer) == (403, "POLICY_BLOCKED")
        details = answer.json()["error"]["details"]
        assert (details["kind"], details["policyIds"]) == ("PolicyBlocked", [policy])
        assert change(firm, details["requestId"])[0] == "Rejected"
    assert firm.admin.send("GET", path).json() == before
    assert [item["id"] for item in firm.assignments(permission)] == [assignment]
    # Of another permission it says nothing.
    assert firm.admin.signed("PUT", f"/permissions/{firm.permission()['id']}", {"name": new_name()}).status_code == 200


def test_z5_nobody_approves_their_own_change_unless_the_group_says_so(guarded: tuple[Staff, Caller, str]) -> None:
    firm, approver, approver_id = guarded
    permission = firm.permission("Keys:Read")["id"]
    firm.policy("Permissions:Modify", approval_by(approver_id, firm.founder.user_id), permission)
    request = held(firm.admin.signed("PUT", f"/permissions/{permission}", {"operations": ["Keys:Create"]}))
    own = firm.vote(firm.admin, request["approvalId"])
    assert code(own) == (403, "NOT_AN_APPROVER")
    token = firm.tenants.personal_access_token(firm.founder)
    with Caller(token.connection) as program:
        assert code(firm.vote(program, request["approvalId"])) == (403, "NOT_AN_APPROVER")
    assert firm.admin.send("GET", f"/permissions/{permission}").json()["operations"] == ["Keys:Read"]
    assert firm.vote(approver, request["approvalId"]).status_code == 200


def test_z5_what_was_held_is_checked_first_and_what_nobody_may_is_never_held(
    guarded: tuple[Staff, Caller, str],
) -> None:
    firm, _, approver_id = guarded
    firm.policy("Permissions:Modify", approval_by(approver_id))
    firm.policy("Permissions:Assign", approval_by(approver_id))
    caller, identity = firm.holding("Permissions:Update", "Permissions:Assign", "Permissions:Delete")
    more = firm.permission("Keys:Export")["id"]
    assert code(caller.signed("PUT", f"/permissions/{more}", {"name": new_name()})) == (403, "FORBIDDEN")
    assert code(firm.assign(more, identity.user_id, by=caller)) == (403, "FORBIDDEN")
    immutable = firm.admin.signed("PUT", f"/permissions/{firm.full_access}", {"operations": ["Keys:Read"]})
    assert code(immutable) == (412, "PERMISSION_IMMUTABLE")
    unknown = "us-00000-00000-0000000000000000"
    assert code(firm.assign(more, unknown)) == (404, "NOT_FOUND")
    assert firm.tenants.execute("SELECT COUNT(*) FROM change_requests WHERE org_id = ?", firm.org_id)[0][0] == 0


def test_z5_an_account_is_created_and_its_permission_waits_like_any_other(guarded: tuple[Staff, Caller, str]) -> None:
    firm, approver, approver_id = guarded
    permission, blocked = firm.permission("Keys:Read")["id"], firm.permission("Keys:Read")["id"]
    firm.policy("Permissions:Assign", approval_by(approver_id), permission)
    firm.policy("Permissions:Assign", BLOCK, blocked)
    made = firm.account(permissionId=permission)
    assert made.status_code == 200, made.text
    assert made.json()["userInfo"]["permissionAssignments"] == []
    approval = firm.admin.send("GET", "/v2/policy-approvals").json()["items"][0]
    request = approval["activity"]["changeRequest"]
    user_id = made.json()["userInfo"]["userId"]
    assert (request["body"]["permissionId"], request["body"]["identityId"]) == (permission, user_id)
    assert firm.assignments(permission) == []
    firm.vote(approver, approval["id"])
    shown = firm.admin.send("GET", f"/auth/service-accounts/{user_id}").json()["userInfo"]
    assert [each["permissionId"] for each in shown["permissionAssignments"]] == [permission]
    refused = firm.account(permissionId=blocked)
    assert (refused.status_code, refused.json()["userInfo"]["permissions"]) == (200, [])
    assert firm.assignments(blocked) == []


def test_a_token_that_its_owner_makes_and_the_end_users_permission_wait_for_nobody(
    guarded: tuple[Staff, Caller, str],
) -> None:
    firm, _, _ = guarded
    firm.policy("Permissions:Assign", BLOCK)
    permission = firm.permission("Keys:Read")["id"]
    body = {"name": new_name(), "publicKey": new_public_key(), "permissionId": permission}
    made = firm.admin.signed("POST", "/auth/pats", body).json()
    assert [each["permissionId"] for each in made["permissionAssignments"]] == [permission]


# What can no longer be made when it is approved


def test_an_approved_change_whose_name_was_taken_meanwhile_fails_and_changes_nothing(
    guarded: tuple[Staff, Caller, str],
) -> None:
    firm, approver, approver_id = guarded
    permission, name = firm.permission("Keys:Read"), new_name()
    path = f"/permissions/{permission['id']}"
    firm.policy("Permissions:Modify", approval_by(approver_id), permission["id"])
    request = held(firm.admin.signed("PUT", path, {"name": name}))
    firm.admin.signed("POST", "/permissions", {"name": name, "operations": ["Keys:Read"]})
    assert firm.vote(approver, request["approvalId"]).json()["status"] == "Approved"
    assert change(firm, request["id"]) == ("Failed", "Conflicting permission with same name")
    assert firm.admin.send("GET", path).json() == permission


def test_an_approved_assignment_fails_where_there_is_nobody_or_nothing_to_assign_any_more(
    guarded: tuple[Staff, Caller, str],
) -> None:
    firm, approver, approver_id = guarded
    permission, archived = firm.permission("Keys:Read")["id"], firm.permission("Keys:Read")["id"]
    firm.policy("Permissions:Assign", approval_by(approver_id))
    people = [firm.tenants.session(firm.org_id).user_id for _ in range(4)]
    requests = [held(firm.assign(permission, person)) for person in people[:2]]
    requests.append(held(firm.assign(archived, people[2])))
    requests += [held(firm.assign(permission, people[3])) for _ in range(2)]
    firm.admin.signed("PUT", f"/auth/users/{people[0]}/deactivate", {})
    firm.admin.signed("DELETE", f"/auth/users/{people[1]}")
    firm.admin.signed("PUT", f"/permissions/{archived}/archive", {"isArchived": True})
    for request in requests:
        assert firm.vote(approver, request["approvalId"]).json()["status"] == "Approved"
    outcomes = [change(firm, request["id"])[0] for request in requests]
    assert outcomes == ["Failed", "Failed", "Failed", "Applied", "Failed"]
    assert [item["identityId"] for item in firm.assignments(permission)] == [people[3]]


def test_an_approved_revocation_does_not_take_full_access_from_the_last_person(
    guarded: tuple[Staff, Caller, str],
) -> None:
    firm, approver, approver_id = guarded
    holders = {item["identityId"]: item["id"] for item in firm.assignments(firm.full_access)}
    path = f"/permissions/{firm.full_access}/assignments"
    voter = firm.tenants.session(firm.org_id, firm.tenants.permission(firm.org_id, ["Policies:Evaluations:Vote"]))
    firm.policy("Permissions:Assign", approval_by(voter.user_id))
    requests = [
        held(firm.admin.signed("DELETE", f"{path}/{holders[who]}")) for who in (firm.founder.user_id, approver_id)
    ]
    with Caller(voter.connection) as caller:
        for request in requests:
            assert firm.vote(caller, request["approvalId"]).json()["status"] == "Approved"
    assert [change(firm, request["id"])[0] for request in requests] == ["Applied", "Failed"]
    assert approver.send("GET", f"/permissions/{firm.full_access}").status_code == 200


def test_who_lost_the_right_to_ask_meanwhile_has_asked_all_the_same(guarded: tuple[Staff, Caller, str]) -> None:
    """What was asked for is what is approved: policies, and the right to ask, are not looked at a second time."""
    firm, approver, approver_id = guarded
    asking, holding = firm.permission("Permissions:Assign")["id"], firm.permission("Keys:Read")["id"]
    caller, identity = firm.holding()
    lost = firm.assigned(asking, identity.user_id)
    firm.assigned(holding, identity.user_id)
    policy = firm.policy("Permissions:Assign", approval_by(approver_id), holding)
    someone = firm.tenants.session(firm.org_id).user_id
    request = held(firm.assign(holding, someone, by=caller))
    firm.admin.signed("DELETE", f"/v2/policies/{policy}")
    firm.admin.signed("DELETE", f"/permissions/{asking}/assignments/{lost}")
    assert firm.vote(approver, request["approvalId"]).status_code == 200
    assert change(firm, request["id"]) == ("Applied", None)
    assert someone in [item["identityId"] for item in firm.assignments(holding)]


LOST = ("Failed", "Who asked for it does not hold any more what it would grant.")


def test_z5_rights_that_were_taken_away_are_not_given_on_by_what_waited(guarded: tuple[Staff, Caller, str]) -> None:
    """Whoever may only vote must not give back, together with who asked, what neither of them holds."""
    firm, _, _ = guarded
    voter, voting = firm.holding("Policies:Evaluations:Vote")
    caller, identity = firm.holding("Permissions:Assign", "Permissions:Update", "Permissions:Delete", "Keys:Read")
    firm.policy("Permissions:Assign", approval_by(voting.user_id))
    firm.policy("Permissions:Modify", approval_by(voting.user_id))
    mine = firm.permission("Keys:Create")["id"]
    grown, own, restored = (firm.permission("Keys:Read")["id"] for _ in range(3))
    taken = firm.tenants.execute
    taken("UPDATE permissions SET is_archived = 1 WHERE permission_id = ?", restored)
    account = firm.tenants.session(firm.org_id).user_id
    requests = [
        held(firm.assign(grown, account, by=caller)),
        held(caller.signed("PUT", f"/permissions/{own}", {"name": new_name(), "operations": ["Keys:Read"]})),
        held(caller.signed("PUT", f"/permissions/{restored}/archive", {"isArchived": False})),
    ]
    harmless = held(caller.signed("PUT", f"/permissions/{mine}/archive", {"isArchived": True}))
    # The permission grows, and what the others would grant is taken from who asked.
    taken("UPDATE permissions SET operations = ? WHERE permission_id = ?", '["Keys:Read","Keys:Create"]', grown)
    assert firm.vote(voter, requests[0]["approvalId"]).status_code == 200
    taken("DELETE FROM permission_assignments WHERE identity_id = ?", identity.user_id)
    for request in requests[1:]:
        assert firm.vote(voter, request["approvalId"]).status_code == 200
    assert [change(firm, request["id"]) for request in requests] == [LOST] * 3
    assert firm.assignments(grown) == []
    assert firm.vote(voter, harmless["approvalId"]).status_code == 200
    assert change(firm, harmless["id"]) == ("Applied", None)


@pytest.mark.parametrize("ended", ["user", "token", "full access"])
def test_z5_who_was_shut_out_meanwhile_gives_nothing(guarded: tuple[Staff, Caller, str], ended: str) -> None:
    firm, approver, approver_id = guarded
    administrator, identity = firm.another_administrator()
    firm.policy("Permissions:Assign", approval_by(approver_id))
    token = firm.tenants.personal_access_token(identity)
    someone = firm.tenants.session(firm.org_id).user_id
    caller = firm.caller(token) if ended == "token" else administrator
    request = held(firm.assign(firm.full_access, someone, by=caller))
    if ended == "user":
        assert firm.admin.signed("PUT", f"/auth/users/{identity.user_id}/deactivate", {}).status_code == 200
    elif ended == "token":
        assert administrator.signed("PUT", f"/auth/pats/{request['requester']['tokenId']}/deactivate", {}).is_success
    else:
        rows = {item["identityId"]: item["id"] for item in firm.assignments(firm.full_access)}
        path = f"/permissions/{firm.full_access}/assignments/{rows[identity.user_id]}?force=true"
        assert firm.admin.signed("DELETE", path).status_code == 204
    assert firm.vote(approver, request["approvalId"]).status_code == 200
    assert change(firm, request["id"]) == LOST
