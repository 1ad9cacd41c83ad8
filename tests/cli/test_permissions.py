"""``countersign admin permissions`` beside a running server, on both engines."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from countersign.access import catalogue
from tests.support.caller import Caller
from tests.support.commands import Done, countersign, refusal
from tests.support.new_keys import new_public_key
from tests.support.server import Sandbox
from tests.support.tenants import Tenants, beside

_NUMBER = itertools.count(1)


class Operator:
    """Runs ``admin permissions`` over a sandbox's data directory."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def run(self, *arguments: object) -> Done:
        env = {} if self.sandbox.database is None else {"COUNTERSIGN_DATABASE": self.sandbox.database}
        return countersign("admin", "permissions", *arguments, "--data", self.sandbox.directory, env=env)

    def output(self, *arguments: object) -> str:
        done = self.run(*arguments)
        assert done.status == 0, done.errors
        return done.output


@pytest.fixture(scope="module")
def operator(shared_sandbox: Sandbox) -> Operator:
    return Operator(shared_sandbox)


@pytest.fixture(scope="module")
def tenants(shared_sandbox: Sandbox) -> Tenants:
    return beside(shared_sandbox.directory, shared_sandbox.database, shared_sandbox.values["baseUrl"])


@pytest.fixture(scope="module")
def admin(shared_sandbox: Sandbox) -> Iterator[Caller]:
    with Caller(shared_sandbox.admin) as caller:
        yield caller


def permission(admin: Caller, *operations: str) -> dict[str, Any]:
    """A new permission."""
    body = {"name": f"by an operator {next(_NUMBER)}", "operations": list(operations)}
    answer: dict[str, Any] = admin.signed("POST", "/permissions", body).json()
    return answer


def last_events(tenants: Tenants, count: int) -> list[dict[str, Any]]:
    """The newest entries of the audit log that nobody asserted."""
    rows = tenants.execute("SELECT entry FROM audit_entries ORDER BY performed_at DESC, entry_id DESC LIMIT 50")
    entries = [json.loads(row[0]) for row in rows]
    return [entry for entry in entries if entry["kind"] == "System"][:count]


def test_permissions_are_listed_and_shown_with_who_holds_them(operator: Operator, admin: Caller) -> None:
    made, archived = permission(admin, "Keys:Read"), permission(admin, "Keys:Read")
    admin.signed("PUT", f"/permissions/{archived['id']}/archive", {"isArchived": True})
    account = admin.signed(
        "POST",
        "/auth/service-accounts",
        {"name": f"held {next(_NUMBER)}", "publicKey": new_public_key(), "permissionId": made["id"]},
    ).json()["userInfo"]
    listed = json.loads(operator.output("list", "--json"))
    assert {made["id"], archived["id"]} & {each["id"] for each in listed} == {made["id"]}
    assert archived["id"] in operator.output("list", "--archived")
    assert made["name"] in operator.output("list", "--org", admin.connection["orgId"])
    for named in (made["id"], made["name"]):
        shown = json.loads(operator.output("show", named, "--json"))
        assert (shown["name"], shown["operations"]) == (made["name"], ["Keys:Read"])
        assert [(each["identityId"], each["name"]) for each in shown["assignments"]] == [
            (account["userId"], account["username"])
        ]
    assert account["userId"] in operator.output("show", made["id"])
    everything = json.loads(operator.output("show", catalogue.FULL_ADMIN, "--org", admin.connection["orgId"], "--json"))
    assert everything["operations"] == list(catalogue.OPERATIONS)


def test_a_permission_is_given_and_taken_while_the_server_runs_and_both_are_audited(
    operator: Operator, admin: Caller, tenants: Tenants
) -> None:
    made = permission(admin, "Auth:Users:Read")
    account = tenants.service_account(admin.connection["orgId"])
    with Caller(account.connection) as caller:
        assert caller.send("GET", "/auth/users").status_code == 403
        assert operator.output("grant", made["name"], account.user_id) == f"{account.user_id} holds {made['name']}\n"
        assert caller.send("GET", "/auth/users").status_code == 200
        assert "no longer holds" in operator.output("revoke", made["id"], account.user_id)
        # Told from a mutation: what others read is a second late at most.
        body = {"externalId": "e"}
        assert caller.signed("PUT", f"/auth/service-accounts/{account.user_id}", body).status_code == 403
    revoked, granted = last_events(tenants, 2)
    assert (granted["event"], revoked["event"]) == ("PermissionGranted", "PermissionRevoked")
    for entry in (granted, revoked):
        assert {made["id"], account.user_id} <= set(entry["entityIds"])
        assert entry["userId"] == account.user_id
        assert entry["details"]["permission"] == made["name"]


def test_a_person_is_named_by_the_username_and_no_policy_is_asked(
    operator: Operator, admin: Caller, tenants: Tenants
) -> None:
    made, name = permission(admin, "Keys:Read"), f"op{next(_NUMBER)}@example.com"
    person = admin.signed("POST", "/auth/users", {"email": name, "kind": "CustomerEmployee"}).json()["userId"]
    policy = {
        "name": name,
        "activityKind": "Permissions:Assign",
        "rule": {"kind": "AlwaysTrigger"},
        "action": {"kind": "Block"},
        "filters": {"permissionId": {"in": [made["id"]]}},
    }
    assert admin.signed("POST", "/v2/policies", policy).status_code == 200
    operator.output("grant", made["id"], name.upper())
    assert admin.send("GET", f"/auth/users/{person}").json()["permissions"] == ["Keys:Read"]


def test_what_cannot_be_is_told_in_one_line(operator: Operator, admin: Caller, tenants: Tenants) -> None:
    made = permission(admin, "Keys:Read")
    account = tenants.service_account(admin.connection["orgId"])
    other = tenants.organisation()
    assert "there is no permission 'nothing'" in refusal(operator.run("show", "nothing"))
    assert "several organisations" in refusal(operator.run("show", catalogue.FULL_ADMIN))
    assert "there is no organisation 'or-1'" in refusal(operator.run("list", "--org", "or-1"))
    assert "there is no user 'nobody'" in refusal(operator.run("grant", made["id"], "nobody"))
    assert "there is no permission" in refusal(operator.run("grant", made["id"], other.user_id))
    assert "does not hold" in refusal(operator.run("revoke", made["id"], account.user_id))
    operator.output("grant", made["id"], account.user_id)
    assert "holds the permission already" in refusal(operator.run("grant", made["id"], account.user_id))
    last = refusal(operator.run("revoke", catalogue.FULL_ADMIN, other.user_id))
    assert "last administrator" in last.lower()


def test_the_catalogue_is_printed_as_the_guide_has_it() -> None:
    done = countersign("admin", "permissions", "catalogue")
    assert (done.status, done.output) == (0, catalogue.reference())
