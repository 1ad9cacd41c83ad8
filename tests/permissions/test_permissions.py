"""Permissions over HTTP: what they are, what their states do, and who may hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from countersign.access import catalogue
from tests.contract import contract
from tests.permissions.staff import Staff, code, new_name
from tests.support.caller import Caller

UNKNOWN = "pm-00000-00000-0000000000000000"


def test_a_permission_is_created_read_listed_updated_archived_and_restored(staff: Staff, admin: Caller) -> None:
    name = new_name()
    made = admin.signed("POST", "/permissions", {"name": name, "operations": ["Keys:Read", "Wallets:Read"]}).json()
    assert (made["name"], made["operations"], made["status"]) == (name, ["Keys:Read", "Wallets:Read"], "Active")
    assert (made["isImmutable"], made["isArchived"]) == (False, False)
    path = f"/permissions/{made['id']}"
    assert admin.send("GET", path).json() == made
    assert admin.send("GET", "/permissions").json()["items"][0] == made
    renamed = admin.signed("PUT", path, {"name": f"{name} b"}).json()
    assert renamed == {**made, "name": f"{name} b", "dateUpdated": renamed["dateUpdated"]}
    assert renamed["dateUpdated"] > made["dateUpdated"]
    replaced = admin.signed("PUT", path, {"operations": ["Keys:Create"]}).json()
    assert (replaced["name"], replaced["operations"]) == (f"{name} b", ["Keys:Create"])
    archived = admin.signed("PUT", f"{path}/archive", {"isArchived": True}).json()
    assert (archived["isArchived"], archived["status"]) == (True, "Active")
    assert admin.send("GET", path).json() == archived
    assert archived in admin.send("GET", "/permissions").json()["items"]
    assert admin.signed("PUT", f"{path}/archive", {"isArchived": True}).json() == archived
    restored = admin.signed("PUT", f"{path}/archive", {"isArchived": False}).json()
    assert restored["isArchived"] is False


def test_permissions_and_assignments_are_listed_by_pages(staff: Staff, admin: Caller) -> None:
    made = [staff.permission()["id"] for _ in range(3)]
    seen: list[str] = []
    path = "/permissions?limit=2"
    while True:
        page = admin.send("GET", path).json()
        seen += [item["id"] for item in page["items"]]
        if "nextPageToken" not in page:
            break
        path = f"/permissions?limit=2&paginationToken={page['nextPageToken']}"
    assert seen[:3] == made[::-1]
    assert sorted(seen, reverse=True) == seen
    holders = [staff.holding()[1].user_id for _ in range(2)]
    given = [staff.assigned(made[0], holder) for holder in holders]
    first = admin.send("GET", f"/permissions/{made[0]}/assignments?limit=1").json()
    assert [item["id"] for item in first["items"]] == [given[1]]
    rest = admin.send("GET", f"/permissions/{made[0]}/assignments?paginationToken={first['nextPageToken']}").json()
    assert [(item["id"], item["identityId"]) for item in rest["items"]] == [(given[0], holders[0])]
    assert "nextPageToken" not in rest


def test_names_are_unique_for_ever_and_compare_exactly(staff: Staff, admin: Caller) -> None:
    first, second = staff.permission(), staff.permission()
    admin.signed("PUT", f"/permissions/{first['id']}/archive", {"isArchived": True})
    again = admin.signed("POST", "/permissions", {"name": first["name"], "operations": ["Keys:Read"]})
    assert code(again) == (409, "CONFLICT")
    assert again.json()["error"]["details"]["duplicate"] == {"id": first["id"]}
    renamed = admin.signed("PUT", f"/permissions/{second['id']}", {"name": first["name"]})
    assert code(renamed) == (409, "CONFLICT")
    # Nor is a name free that a permission gave up by a new one... of its own it may have again.
    assert admin.signed("PUT", f"/permissions/{second['id']}", {"name": second["name"]}).status_code == 200
    other = {"name": first["name"].upper(), "operations": ["Keys:Read"]}
    assert admin.signed("POST", "/permissions", other).status_code == 200


def test_operations_are_echoed_as_submitted_each_once(staff: Staff, admin: Caller) -> None:
    listed = ["Wallets:GenerateSignature", "Keys:Signatures:Create", "Keys:Read", "Keys:Read", "Auth:Action:Sign"]
    made = staff.permission(*listed)
    assert made["operations"] == [
        "Wallets:GenerateSignature",
        "Keys:Signatures:Create",
        "Keys:Read",
        "Auth:Action:Sign",
    ]


def test_every_name_that_a_client_knows_is_accepted(staff: Staff, admin: Caller) -> None:
    known = contract.operation("createPermission").spec["request"]["properties"]["operations"]["items"]
    assert "$ref" in known
    schema = contract.operation("createPermission").schema("request")
    names = schema["$defs"]["Operation"]["enum"]
    assert len(names) > 150
    assert staff.permission(*names)["operations"] == names
    assert staff.permission("PolicyRules:Create", "Callback:Events:Read")["isArchived"] is False


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"name": "", "operations": ["Keys:Read"]}, "name"),
        ({"name": "\u200b", "operations": ["Keys:Read"]}, "name"),
        ({"name": "a" * 255, "operations": ["Keys:Read"]}, "name"),
        ({"name": "good", "operations": []}, "operations"),
        ({"name": "good", "operations": ["Keys:Read", "Keys:Everything"]}, "operations[1]"),
        ({"name": "good", "operations": ["keys:read"]}, "operations[0]"),
        ({"name": "good", "operations": ["Keys:*"]}, "operations[0]"),
        ({"name": "good", "operations": ["Keys:Read\n"]}, "operations[0]"),
        ({"name": "good", "operations": [1]}, "operations[0]"),
        ({"name": "good"}, ""),
        ({"name": "good", "operations": ["Keys:Read"], "isImmutable": True}, ""),
        ({"name": "good", "operations": ["Keys:Read"], "status": "Active"}, ""),
    ],
)
def test_z10_what_is_no_permission_is_refused(admin: Caller, body: dict[str, Any], path: str) -> None:
    refused = admin.signed("POST", "/permissions", body)
    assert code(refused) == (400, "VALIDATION")
    assert refused.json()["error"]["details"]["issues"][0]["path"] == path


def test_an_update_says_something(staff: Staff, admin: Caller) -> None:
    path = f"/permissions/{staff.permission()['id']}"
    for body in ({}, {"operations": []}, {"name": ""}, {"operations": ["Nothing"]}, {"isArchived": True}):
        assert code(admin.signed("PUT", path, body)) == (400, "VALIDATION")


# The managed ones


def test_the_administrators_permission_is_immutable_and_lists_the_whole_catalogue(staff: Staff, admin: Caller) -> None:
    path = f"/permissions/{staff.full_access}"
    # Whatever was written when the organisation was made.
    staff.tenants.execute("UPDATE permissions SET operations = '[]' WHERE permission_id = ?", staff.full_access)
    shown = admin.send("GET", path).json()
    assert (shown["name"], shown["isImmutable"]) == (catalogue.FULL_ADMIN, True)
    assert shown["operations"] == list(catalogue.OPERATIONS)
    for body in ({"name": new_name()}, {"operations": ["Keys:Read"]}):
        assert code(admin.signed("PUT", path, body)) == (412, "PERMISSION_IMMUTABLE")
    assert code(admin.signed("PUT", f"{path}/archive", {"isArchived": True})) == (412, "PERMISSION_IMMUTABLE")
    assert admin.send("GET", path).json() == shown


def test_the_end_users_permission_may_change_what_it_grants_and_nothing_else(shared_sandbox: Any, staff: Staff) -> None:
    with Caller(shared_sandbox.admin) as admin:
        items = admin.send("GET", "/permissions?limit=100").json()["items"]
        managed = next(item for item in items if item["name"] == catalogue.DEFAULT_END_USER)
        assert managed["isImmutable"] is False
        assert managed["operations"] == list(catalogue.DEFAULT_END_USER_OPERATIONS)
        path = f"/permissions/{managed['id']}"
        assert code(admin.signed("PUT", path, {"name": new_name()})) == (412, "PERMISSION_IMMUTABLE")
        assert code(admin.signed("PUT", f"{path}/archive", {"isArchived": True})) == (412, "PERMISSION_IMMUTABLE")
        assert admin.signed("PUT", path, {"operations": ["Keys:Read"]}).json()["operations"] == ["Keys:Read"]
        person = admin.signed("POST", "/auth/users", {"email": new_name(), "kind": "EndUser"}).json()
        assert person["permissions"] == ["Keys:Read"]
        assignment = person["permissionAssignments"][0]["assignmentId"]
        assert admin.signed("DELETE", f"{path}/assignments/{assignment}").status_code == 204
        assert admin.send("GET", f"/auth/users/{person['userId']}").json()["permissions"] == []


# What an archived one does


def test_an_archived_permission_grants_nothing_and_grants_again_when_it_is_restored(staff: Staff) -> None:
    permission = staff.permission("Auth:ServiceAccounts:Update")["id"]
    account = staff.tenants.service_account(staff.org_id)
    staff.assigned(permission, account.user_id)
    archive = f"/permissions/{permission}/archive"
    path = f"/auth/service-accounts/{account.user_id}"
    with Caller(account.connection) as caller:
        for is_archived in (False, True, False):
            staff.admin.signed("PUT", archive, {"isArchived": is_archived})
            answer = caller.signed("PUT", path, {"externalId": new_name()})
            assert code(answer) == ((403, "FORBIDDEN") if is_archived else (200, None))
    assert len(staff.assignments(permission)) == 1


def test_an_archived_permission_is_restored_before_anything_else(staff: Staff, admin: Caller) -> None:
    permission = staff.permission()["id"]
    path = f"/permissions/{permission}"
    admin.signed("PUT", f"{path}/archive", {"isArchived": True})
    assert code(admin.signed("PUT", path, {"name": new_name()})) == (422, "PERMISSION_ARCHIVED")
    assert code(staff.assign(permission, staff.holding()[1].user_id)) == (422, "PERMISSION_ARCHIVED")


@pytest.mark.parametrize("kind", ["Pat", "ServiceAccount"])
def test_z5_a_token_held_to_an_archived_permission_does_not_get_all_that_its_owner_may(staff: Staff, kind: str) -> None:
    if kind == "Pat":
        owner = staff.tenants.session(staff.org_id, everything=True)
        token = staff.tenants.personal_access_token(owner, staff.tenants.permission(staff.org_id, ["Keys:Read"]))
        own = staff.tenants.execute(
            "SELECT permission_id FROM permission_assignments WHERE identity_id = ?", token.token_id
        )[0][0]
    else:
        token = staff.tenants.service_account(staff.org_id, everything=True)
        own = staff.permission("Keys:Read")["id"]
        staff.assigned(own, token.token_id)
    with Caller(token.connection) as caller:
        assert caller.send("GET", "/keys").status_code == 200
        assert caller.send("GET", "/auth/users").status_code == 403
        staff.admin.signed("PUT", f"/permissions/{own}/archive", {"isArchived": True})
        # Told from a mutation, which never remembers.
        assert (
            code(caller.signed("POST", "/auth/users", {"email": "a@b.example", "kind": "CustomerEmployee"}))[0] == 403
        )
        assert code(caller.signed("POST", "/permissions", {"name": new_name(), "operations": ["Keys:Read"]}))[0] == 403


# Who may hold one


def test_people_accounts_tokens_and_applications_hold_permissions(staff: Staff, admin: Caller) -> None:
    person = staff.tenants.session(staff.org_id)
    program = staff.tenants.personal_access_token(person)
    account = staff.tenants.service_account(staff.org_id)
    app = admin.signed("POST", "/auth/apps", {"name": new_name(), "kind": "ClientSideApplication"}).json()["appId"]
    for identity in (person.user_id, program.token_id, account.user_id, account.token_id, app):
        permission = staff.permission()["id"]
        made = staff.assign(permission, identity).json()
        assert (made["permissionId"], made["identityId"], made["isImmutable"]) == (permission, identity, False)
        assert staff.assignments(permission) == [made]


def test_others_hold_none(staff: Staff, admin: Caller) -> None:
    permission = staff.permission()["id"]
    person = staff.tenants.session(staff.org_id)
    for nobody in (person.token_id, person.credential_uuid, permission, "us-00000-00000-0000000000000000", "me"):
        refused = staff.assign(permission, nobody)
        assert code(refused) == (404, "NOT_FOUND")
        assert refused.json()["message"] == "identity not found"
    admin.signed("PUT", f"/auth/users/{person.user_id}/deactivate", {})
    assert code(staff.assign(permission, person.user_id)) == (422, "IDENTITY_NOT_ACTIVE")
    admin.signed("DELETE", f"/auth/users/{person.user_id}")
    assert code(staff.assign(permission, person.user_id)) == (404, "NOT_FOUND")
    assert code(admin.signed("POST", f"/permissions/{permission}/assignments", {"identityId": ""}))[0] == 400
    assert code(staff.assign(UNKNOWN, person.user_id)) == (404, "NOT_FOUND")
    assert staff.assignments(permission) == []


def test_an_assignment_is_made_once_and_deleted_for_good(staff: Staff, admin: Caller) -> None:
    permission, person = staff.permission()["id"], staff.tenants.session(staff.org_id)
    first = staff.assigned(permission, person.user_id)
    again = staff.assign(permission, person.user_id)
    assert code(again) == (409, "CONFLICT")
    assert again.json()["error"]["details"]["duplicate"] == {"id": first}
    path = f"/permissions/{permission}/assignments/{first}"
    gone = admin.signed("DELETE", path)
    assert (gone.status_code, gone.content) == (204, b"")
    assert code(admin.signed("DELETE", path)) == (404, "NOT_FOUND")
    assert staff.assignments(permission) == []
    assert staff.assigned(permission, person.user_id) != first


@pytest.mark.parametrize("query", ["force=true", "force=True", "force=TRUE", "force=false", "force=False"])
def test_force_is_written_in_any_way(staff: Staff, admin: Caller, query: str) -> None:
    permission, person = staff.permission()["id"], staff.tenants.session(staff.org_id)
    path = f"/permissions/{permission}/assignments/{staff.assigned(permission, person.user_id)}?{query}"
    assert admin.signed("DELETE", path).status_code == 204


@pytest.mark.parametrize("query", ["force=1", "force=yes", "force=", "Force=true", "force=true&force=false"])
def test_force_is_true_or_false_and_nothing_else(staff: Staff, admin: Caller, query: str) -> None:
    permission, person = staff.permission()["id"], staff.tenants.session(staff.org_id)
    path = f"/permissions/{permission}/assignments/{staff.assigned(permission, person.user_id)}?{query}"
    assert admin.signed("DELETE", path).status_code == 400
    assert len(staff.assignments(permission)) == 1


def test_end_users_have_nothing_to_do_with_permissions_whatever_they_hold(staff: Staff) -> None:
    permission = staff.permission()["id"]
    end_user = staff.tenants.end_user(staff.org_id, everything=True)
    with Caller(end_user.connection) as caller:
        for path in ("/permissions", f"/permissions/{permission}", f"/permissions/{permission}/assignments"):
            assert code(caller.send("GET", path)) == (403, "CALLER_KIND_REFUSED")
        assert code(staff.assign(permission, end_user.user_id, by=caller)) == (403, "CALLER_KIND_REFUSED")


def test_the_audit_log_names_what_changed(staff: Staff, admin: Caller) -> None:
    permission, person = staff.permission()["id"], staff.tenants.session(staff.org_id)
    assignment = staff.assigned(permission, person.user_id)
    admin.signed("DELETE", f"/permissions/{permission}/assignments/{assignment}?force=true")
    entries = staff.tenants.execute(
        "SELECT entry FROM audit_entries WHERE org_id = ? ORDER BY performed_at DESC, entry_id DESC LIMIT 2",
        staff.org_id,
    )
    revoked, assigned = (entry[0] for entry in entries)
    for entry in (revoked, assigned):
        assert all(f'"{each}"' in entry for each in (permission, assignment, person.user_id))
    assert '"status":204' in revoked
    assert "?force=true" in revoked


def test_the_guide_holds_the_catalogue() -> None:
    page = (Path(__file__).parents[2] / "docs" / "permissions.md").read_text(encoding="utf-8")
    assert page.endswith(catalogue.reference()), "write its end anew: countersign admin permissions catalogue"
