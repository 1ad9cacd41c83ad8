"""Z5 and A11 of permissions: nobody gives or keeps what they do not hold, and somebody always holds everything."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.permissions.staff import Staff, code, new_name
from tests.support.caller import Caller
from tests.support.inprocess import InProcess
from tests.support.new_keys import new_public_key
from tests.support.second_server import second_server
from tests.support.server import Sandbox
from tests.support.tenants import Identity, Tenants, beside

_ALL = ("Permissions:Create", "Permissions:Update", "Permissions:Assign", "Permissions:Delete", "Permissions:Revoke")


def test_z5_nobody_creates_a_permission_with_more_than_they_hold(staff: Staff) -> None:
    caller, _ = staff.holding(*_ALL, "Keys:Signatures:Create")
    for operations, held in (
        (["Keys:Signatures:Create"], True),
        (["Wallets:GenerateSignature"], True),
        (["Keys:Signatures:Create", "Permissions:Create"], True),
        (["Keys:Signatures:Create", "Keys:Read"], False),
        (["Wallets:ReadSignature"], False),
        (["Auth:Action:Sign"], False),
    ):
        answer = caller.signed("POST", "/permissions", {"name": new_name(), "operations": operations})
        assert code(answer) == ((200, None) if held else (403, "FORBIDDEN")), operations
    assert "missing" in answer.json()["error"]["details"]


def test_z5_nobody_updates_a_permission_to_more_than_they_hold_their_own_least_of_all(staff: Staff) -> None:
    caller, identity = staff.holding(*_ALL, "Keys:Read")
    own = staff.tenants.execute(
        "SELECT permission_id FROM permission_assignments WHERE identity_id = ?", identity.user_id
    )[0][0]
    path = f"/permissions/{own}"
    assert code(caller.signed("PUT", path, {"operations": [*_ALL, "Keys:Read", "Keys:Export"]})) == (403, "FORBIDDEN")
    assert code(caller.signed("PUT", path, {"operations": list(_ALL)})) == (200, None)
    # What was given up does not come back.
    assert code(caller.signed("PUT", path, {"operations": [*_ALL, "Keys:Read"]})) == (403, "FORBIDDEN")


def test_z5_nobody_renames_or_restores_what_grants_more_than_they_hold_but_may_take_it_away(staff: Staff) -> None:
    caller, _ = staff.holding(*_ALL)
    more = staff.permission("Keys:Export")["id"]
    path = f"/permissions/{more}"
    assert code(caller.signed("PUT", path, {"name": new_name()})) == (403, "FORBIDDEN")
    assert code(caller.signed("PUT", f"{path}/archive", {"isArchived": True})) == (200, None)
    assert code(caller.signed("PUT", f"{path}/archive", {"isArchived": False})) == (403, "FORBIDDEN")
    assert code(staff.admin.signed("PUT", f"{path}/archive", {"isArchived": False})) == (200, None)


def test_z5_nobody_assigns_more_than_they_hold_to_themselves_or_anyone(staff: Staff) -> None:
    caller, identity = staff.holding(*_ALL, "Keys:Read")
    accomplice = staff.tenants.service_account(staff.org_id)
    more, less = staff.permission("Keys:Read", "Keys:Export")["id"], staff.permission("Keys:Read")["id"]
    for whom in (identity.user_id, accomplice.user_id, accomplice.token_id):
        assert code(staff.assign(more, whom, by=caller)) == (403, "FORBIDDEN")
        assert code(staff.assign(staff.full_access, whom, by=caller)) == (403, "FORBIDDEN")
        assert code(staff.assign(less, whom, by=caller)) == (200, None)
    assert staff.assignments(more) == []


def test_z5_every_operation_of_today_is_not_full_access(staff: Staff) -> None:
    everything = staff.admin.send("GET", f"/permissions/{staff.full_access}").json()["operations"]
    caller, identity = staff.holding(*everything)
    assert code(staff.assign(staff.full_access, identity.user_id, by=caller)) == (403, "FORBIDDEN")


def test_z5_a_token_with_less_than_its_owner_gives_no_more_than_it_has(staff: Staff) -> None:
    owner = staff.tenants.session(staff.org_id, everything=True)
    token = staff.tenants.personal_access_token(
        owner, staff.tenants.permission(staff.org_id, ["Permissions:Assign", "Permissions:Create"])
    )
    more = staff.permission("Keys:Read")["id"]
    with Caller(token.connection) as caller:
        for whom in (token.token_id, owner.user_id):
            assert code(staff.assign(more, whom, by=caller)) == (403, "FORBIDDEN")
        refused = caller.signed("POST", "/permissions", {"name": new_name(), "operations": ["Keys:Read"]})
        assert code(refused) == (403, "FORBIDDEN")


def test_z5_what_is_assigned_to_a_token_grants_it_nothing_that_its_owner_lacks(staff: Staff) -> None:
    owner = staff.tenants.session(staff.org_id, staff.tenants.permission(staff.org_id, ["Keys:Read"]))
    made = staff.tenants.personal_access_token(owner, staff.tenants.permission(staff.org_id, ["Auth:Users:Read"]))
    staff.assigned(staff.permission("Keys:Read")["id"], made.token_id)
    with Caller(made.connection) as caller:
        assert caller.send("GET", "/keys").status_code == 200
        assert code(caller.send("GET", "/auth/users")) == (403, "FORBIDDEN")


def test_z5_an_application_that_lacks_the_right_gives_nothing_through_itself(staff: Staff) -> None:
    less = staff.permission("Permissions:Assign", "Permissions:Create")["id"]
    body = {"name": new_name(), "kind": "ClientSideApplication", "permissionId": less}
    app = staff.admin.signed("POST", "/auth/apps", body).json()["appId"]
    through = staff.caller(staff.founder)
    through.http.headers["X-DFNS-APPID"] = app
    for operations, expected in ((["Keys:Read"], (403, "FORBIDDEN")), (["Permissions:Assign"], (200, None))):
        wanted = {"name": new_name(), "operations": operations}
        assert code(through.signed("POST", "/permissions", wanted)) == expected


def test_z5_rights_that_were_lost_meanwhile_give_nothing(staff: Staff) -> None:
    caller, identity = staff.holding(*_ALL)
    held = staff.permission("Keys:Read")["id"]
    assignment = staff.assigned(held, identity.user_id)
    wanted = {"name": new_name(), "operations": ["Keys:Read"]}
    action = caller.action_token("POST", "/permissions", wanted)
    staff.admin.signed("DELETE", f"/permissions/{held}/assignments/{assignment}")
    assert code(caller.send("POST", "/permissions", wanted, action=action)) == (403, "FORBIDDEN")


# The last administrator


def test_the_last_person_with_full_access_keeps_it(firm: Staff) -> None:
    own = firm.assignments(firm.full_access)[0]
    path = f"/permissions/{firm.full_access}/assignments/{own['id']}"
    # An account with every right is no person who could sign in.
    firm.tenants.service_account(firm.org_id, everything=True)
    invited = firm.admin.signed("POST", "/auth/users", {"email": "new@example.org", "kind": "CustomerEmployee"}).json()
    firm.assigned(firm.full_access, invited["userId"])
    for query in ("", "?force=true"):
        assert code(firm.admin.signed("DELETE", path + query)) == (412, "LAST_ADMINISTRATOR")
    user = f"/auth/users/{firm.founder.user_id}"
    assert code(firm.admin.signed("PUT", f"{user}/deactivate", {})) == (412, "LAST_ADMINISTRATOR")
    assert code(firm.admin.signed("DELETE", user)) == (412, "LAST_ADMINISTRATOR")
    _, other = firm.another_administrator()
    assert other.user_id in {item["identityId"] for item in firm.assignments(firm.full_access)}
    assert firm.admin.signed("DELETE", path).status_code == 204
    assert code(firm.admin.signed("POST", "/permissions", {"name": new_name(), "operations": ["Keys:Read"]}))[0] == 403


def test_two_administrators_who_revoke_each_other_at_once_do_not_both_succeed(firm: Staff) -> None:
    for _ in range(3):
        mine, _ = firm.another_administrator()
        theirs, _ = firm.another_administrator()
        held = firm.assignments(firm.full_access)
        others = list(held[2:])
        for item in others:
            mine.signed("DELETE", f"/permissions/{firm.full_access}/assignments/{item['id']}")
        paths = [f"/permissions/{firm.full_access}/assignments/{item['id']}" for item in held[:2]]
        # The newest is that of ``theirs``.
        pairs = [(mine, paths[0]), (theirs, paths[1])]
        actions = [caller.action_token("DELETE", path) for caller, path in pairs]
        with ThreadPoolExecutor(2) as pool:
            answers = list(
                pool.map(
                    lambda each: each[0][0].send("DELETE", each[0][1], action=each[1]), zip(pairs, actions, strict=True)
                )
            )
        assert sorted(answer.status_code for answer in answers)[0] == 204
        assert {answer.status_code for answer in answers} - {204} <= {403, 412}
        left = firm.tenants.execute(
            "SELECT COUNT(*) FROM permission_assignments WHERE org_id = ? AND permission_id = ?",
            firm.org_id,
            firm.full_access,
        )
        assert left[0][0] == 1
        # The next round begins with whoever is left.
        survivor = mine if answers[0].status_code == 204 else theirs
        firm.admin = survivor


# At once, everywhere


def test_a11_an_assignment_that_is_taken_away_is_missed_at_once_in_every_process(
    sandbox: Sandbox,
) -> None:
    tenants = beside(sandbox.directory, sandbox.database, sandbox.values["baseUrl"])
    account = tenants.service_account(sandbox.values["orgId"])
    with second_server(sandbox) as url, Caller(sandbox.admin) as admin:
        body = {"name": new_name(), "operations": ["Auth:ServiceAccounts:Update"]}
        permission = admin.signed("POST", "/permissions", body).json()["id"]
        path = f"/permissions/{permission}"
        callers = [Caller({**account.connection, "baseUrl": each}) for each in (sandbox.values["baseUrl"], url)]

        def statuses() -> list[int]:
            mine = f"/auth/service-accounts/{account.user_id}"
            return [caller.signed("PUT", mine, {"externalId": new_name()}).status_code for caller in callers]

        assert statuses() == [403, 403]
        given = admin.signed("POST", f"{path}/assignments", {"identityId": account.user_id}).json()["id"]
        assert statuses() == [200, 200]
        admin.signed("PUT", path, {"operations": ["Keys:Read"]})
        assert statuses() == [403, 403]
        admin.signed("PUT", path, {"operations": ["Auth:ServiceAccounts:Update"]})
        assert statuses() == [200, 200]
        actions = [
            caller.action_token("PUT", f"/auth/service-accounts/{account.user_id}", {"externalId": "x"})
            for caller in callers
        ]
        assert admin.signed("DELETE", f"{path}/assignments/{given}").status_code == 204
        for caller, action in zip(callers, actions, strict=True):
            mine = f"/auth/service-accounts/{account.user_id}"
            assert caller.send("PUT", mine, {"externalId": "x"}, action=action).status_code == 403
        for caller in callers:
            caller.close()


def test_a11_readers_of_the_process_that_changed_a_right_know_it_at_once(firm: Staff) -> None:
    reader = firm.tenants.service_account(firm.org_id)
    permission = firm.permission("Auth:Users:Read")["id"]
    with Caller(reader.connection) as caller:
        for _ in range(3):
            assert caller.send("GET", "/auth/users").status_code == 403
            given = firm.assigned(permission, reader.user_id)
            assert caller.send("GET", "/auth/users").status_code == 200
            firm.admin.signed("DELETE", f"/permissions/{permission}/assignments/{given}")


@pytest.mark.parametrize("kind", ["session", "personal access token", "service account", "its token"])
def test_a11_a_right_that_is_given_or_taken_is_known_to_readers_after_a_second(
    in_process: InProcess, database_url: str, kind: str
) -> None:
    tenants = beside(in_process.files.directory, database_url, in_process.values["baseUrl"])
    reader, holder = _reader(tenants, in_process.values["orgId"], kind)
    with in_process.caller(in_process.admin) as admin, in_process.caller(reader.connection) as caller:
        body = {"name": new_name(), "operations": ["Auth:Users:Read"]}
        permission = admin.signed("POST", "/permissions", body).json()["id"]
        expected = kind == "its token"
        assert (caller.send("GET", "/auth/users").status_code == 200) == expected
        given = admin.signed("POST", f"/permissions/{permission}/assignments", {"identityId": holder}).json()["id"]
        in_process.clock.move(seconds=1)
        assert caller.send("GET", "/auth/users").status_code == 200
        admin.signed("DELETE", f"/permissions/{permission}/assignments/{given}")
        in_process.clock.move(seconds=1)
        assert (caller.send("GET", "/auth/users").status_code == 200) == expected


def _reader(tenants: Tenants, org_id: str, kind: str) -> tuple[Identity, str]:
    """Who reads, and the identity that gets the right for it."""
    if kind == "session":
        person = tenants.session(org_id)
        return person, person.user_id
    if kind == "service account":
        account = tenants.service_account(org_id)
        return account, account.user_id
    if kind == "its token":
        account = tenants.service_account(org_id, tenants.permission(org_id, ["Auth:Users:Read"]))
        return account, account.token_id
    owner = tenants.session(org_id, everything=True)
    token = tenants.personal_access_token(owner, tenants.permission(org_id, ["Keys:Read"]))
    return token, token.token_id


def test_a_person_without_rights_gets_them_with_the_first_assignment(staff: Staff) -> None:
    person = staff.admin.signed(
        "POST", "/auth/users", {"email": "first@example.org", "kind": "CustomerEmployee"}
    ).json()
    permission = staff.permission("Keys:Read", "Wallets:Read")["id"]
    assignment = staff.assigned(permission, person["userId"])
    shown = staff.admin.send("GET", f"/auth/users/{person['userId']}").json()
    assert shown["permissions"] == ["Keys:Read", "Wallets:Read"]
    assert [held["assignmentId"] for held in shown["permissionAssignments"]] == [assignment]
    made = staff.account(permissionId=permission, publicKey=new_public_key()).json()
    assert made["userInfo"]["permissions"] == ["Keys:Read", "Wallets:Read"]
