"""Delegation: keys of end users, seen and used by them alone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.clients.signatures import check_eddsa
from tests.support.answers import refusal
from tests.support.caller import Caller
from tests.support.server import Sandbox
from tests.support.tenants import Identity, Tenants, beside

MESSAGE = {"kind": "Message", "message": "0x0102"}
USES = ("Keys:Create", "Keys:Read", "Keys:Update", "Keys:Signatures:Create", "Keys:Signatures:Read", "Keys:Vrf:Derive")


@pytest.fixture(scope="module")
def tenants(shared_sandbox: Sandbox) -> Tenants:
    return beside(shared_sandbox.directory, shared_sandbox.database, shared_sandbox.values["baseUrl"])


@pytest.fixture
def caller(shared_sandbox: Sandbox) -> Iterator[Caller]:
    with Caller(shared_sandbox.service) as caller:
        yield caller


@pytest.fixture
def person(shared_sandbox: Sandbox, tenants: Tenants) -> Identity:
    """An end user who may use keys, and create them and their children."""
    org_id = shared_sandbox.values["orgId"]
    made = tenants.end_user(org_id, tenants.permission(org_id, [*USES, "Keys:ChildKeys:Create"]))
    tenants.introduce(made)
    return made


def delegate(caller: Caller, key_id: str, user_id: str) -> httpx.Response:
    return caller.signed("POST", f"/keys/{key_id}/delegate", {"delegateTo": user_id})


def sign(caller: Caller, key_id: str) -> httpx.Response:
    return caller.signed("POST", f"/keys/{key_id}/signatures", MESSAGE)


def test_a_delegated_key_is_used_by_its_end_user_alone(caller: Caller, person: Identity) -> None:
    key_id = caller.create_key(delayDelegation=True)
    assert sign(caller, key_id).status_code == 200
    with Caller(person.connection) as owner:
        assert refusal(sign(owner, key_id)) == (404, "NOT_FOUND")
        answer = delegate(caller, key_id, person.user_id)
        assert (answer.status_code, answer.json()) == (200, {"keyId": key_id, "status": "Delegated"})
        key = owner.send("GET", f"/keys/{key_id}").json()
        assert key["custodial"] is False
        signed = sign(owner, key_id)
        check_eddsa(key["publicKey"], b"\1\2", signed.json()["signature"])
        assert refusal(sign(caller, key_id)) == (403, "KEY_DELEGATED")
        # The organisation still sees it, and what it signed.
        assert caller.send("GET", f"/keys/{key_id}").json() == key
        assert len(caller.send("GET", f"/keys/{key_id}/signatures").json()["items"]) == 2
        path = f"/keys/{key_id}/signatures/{signed.json()['id']}"
        assert owner.send("GET", path).json() == caller.send("GET", path).json()


def test_only_a_custodial_key_that_was_made_for_it_goes_to_an_active_end_user(
    caller: Caller, person: Identity, tenants: Tenants, shared_sandbox: Sandbox
) -> None:
    org_id = shared_sandbox.values["orgId"]
    assert refusal(delegate(caller, caller.create_key(), person.user_id)) == (400, "KEY_NOT_DELEGABLE")
    key_id = caller.create_key(delayDelegation=True)
    inactive = tenants.end_user(org_id)
    tenants.execute("UPDATE users SET state = 'Inactive' WHERE user_id = ?", inactive.user_id)
    employee, elsewhere = tenants.session(org_id), tenants.organisation()
    foreign = tenants.end_user(elsewhere.org_id)
    unknown = "us-00000-00000-0000000000000000"
    refusals = [
        delegate(caller, key_id, user_id).json()
        for user_id in (inactive.user_id, employee.user_id, foreign.user_id, unknown)
    ]
    for told in refusals:
        assert told["error"].pop("id")
        assert told["error"]["code"] == "NOT_AN_END_USER"
    # Someone of another organisation is as unknown as nobody.
    assert all(told == refusals[0] for told in refusals)
    assert refusal(delegate(caller, key_id, "")) == (400, "VALIDATION")
    caller.signed("DELETE", f"/keys/{key_id}")
    assert refusal(delegate(caller, key_id, person.user_id)) == (400, "KEY_ARCHIVED")


def test_a_key_is_delegated_once_also_at_once(
    caller: Caller, shared_sandbox: Sandbox, tenants: Tenants, person: Identity
) -> None:
    other = tenants.end_user(shared_sandbox.values["orgId"])
    key_id = caller.create_key(delayDelegation=True)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda user: delegate(caller, key_id, user), [person.user_id, other.user_id] * 3))
    winners = [answer for answer in answers if answer.status_code == 200]
    assert len(winners) == 1
    assert {refusal(answer) for answer in answers if answer not in winners} <= {
        (403, "KEY_DELEGATED"),
        (400, "KEY_NOT_DELEGABLE"),
    }
    assert refusal(delegate(caller, key_id, person.user_id)) == (403, "KEY_DELEGATED")
    owner = tenants.execute("SELECT delegated_to FROM keys WHERE key_id = ?", key_id)[0][0]
    assert owner in winners[0].request.content.decode()


def test_a_key_belongs_to_an_end_user_from_the_start(caller: Caller, person: Identity) -> None:
    given = caller.signed("POST", "/keys", {"scheme": "EdDSA", "curve": "ed25519", "delegateTo": person.user_id}).json()
    assert given["custodial"] is False
    assert refusal(sign(caller, given["id"])) == (403, "KEY_DELEGATED")
    with Caller(person.connection) as owner:
        own = owner.signed("POST", "/keys", {"scheme": "EdDSA", "curve": "ed25519"}).json()
        assert own["custodial"] is False
        for key in (given, own):
            assert sign(owner, key["id"]).status_code == 200
        named = {"scheme": "EdDSA", "curve": "ed25519", "delegateTo": person.user_id}
        assert owner.signed("POST", "/keys", named).status_code == 200
    unknown = {"scheme": "EdDSA", "curve": "ed25519", "delegateTo": "us-00000-00000-0000000000000000"}
    assert refusal(caller.signed("POST", "/keys", unknown)) == (400, "NOT_AN_END_USER")


def test_end_users_make_keys_for_themselves_only(person: Identity, tenants: Tenants) -> None:
    other = tenants.end_user(person.org_id)
    with Caller(person.connection) as owner:
        for members in ({"delegateTo": other.user_id}, {"delayDelegation": True}):
            answer = owner.signed("POST", "/keys", {"scheme": "EdDSA", "curve": "ed25519", **members})
            assert refusal(answer) == (400, "VALIDATION")
            assert next(iter(members)) in answer.json()["message"]


def test_end_users_see_their_own_keys_and_no_others(
    caller: Caller, person: Identity, tenants: Tenants, shared_sandbox: Sandbox
) -> None:
    other = tenants.end_user(shared_sandbox.values["orgId"])
    custodial, foreign = caller.create_key(), caller.create_key(delegateTo=other.user_id)
    mine = [caller.create_key(delegateTo=person.user_id) for _ in range(3)]
    with Caller(person.connection) as owner:
        first = owner.send("GET", "/keys?limit=2").json()
        rest = owner.send("GET", f"/keys?limit=2&paginationToken={first['nextPageToken']}").json()
        assert [key["id"] for key in (*first["items"], *rest["items"])] == mine[::-1]
        unknown = owner.send("GET", "/keys/key-00000-00000-0000000000000000").json()
        for key_id in (custodial, foreign):
            for method, path, body in (
                ("GET", "", None),
                ("GET", "/signatures", None),
                ("GET", "/signatures/sig-00000-00000-0000000000000000", None),
                ("PUT", "", {"name": "mine"}),
                ("POST", "/signatures", MESSAGE),
                ("POST", "/derive", {"domain": "01", "seed": "00"}),
            ):
                target = f"/keys/{key_id}{path}"
                answer = owner.send(method, target) if method == "GET" else owner.signed(method, target, body)
                assert (answer.status_code, answer.json()["message"]) == (404, unknown["message"]), target
        for query in (f"owner={other.user_id}", "owner=nobody"):
            assert owner.send("GET", f"/keys?{query}").json() == {"items": []}
        assert len(owner.send("GET", f"/keys?owner={person.user_id}").json()["items"]) == 3
    name = tenants.execute("SELECT username FROM users WHERE user_id = ?", person.user_id)[0][0]
    for owner_named in (person.user_id, name, name.upper()):
        found = caller.send("GET", f"/keys?owner={owner_named}").json()["items"]
        assert [key["id"] for key in found] == mine[::-1]
    assert caller.send("GET", f"/keys?owner={person.user_id}x").json() == {"items": []}


def test_children_of_a_delegated_master_belong_to_its_end_user(caller: Caller, person: Identity) -> None:
    body: dict[str, Any] = {"scheme": "ECDSA", "curve": "secp256k1"}
    master = caller.signed("POST", "/keys", {**body, "masterKey": True, "delayDelegation": True}).json()["id"]
    before = caller.signed("POST", "/keys", {**body, "deriveFrom": {"keyId": master}}).json()
    assert delegate(caller, master, person.user_id).status_code == 200
    assert refusal(caller.signed("POST", "/keys", {**body, "deriveFrom": {"keyId": master}})) == (403, "KEY_DELEGATED")
    with Caller(person.connection) as owner:
        child = owner.signed("POST", "/keys", {**body, "deriveFrom": {"keyId": master}}).json()
        assert (child["custodial"], child["derivedFrom"]["path"]) == (False, "m/1")
        assert refusal(owner.send("GET", f"/keys/{before['id']}")) == (404, "NOT_FOUND")
    assert caller.send("GET", f"/keys/{before['id']}").json()["custodial"] is True


def test_a_delegation_is_in_the_log_with_whom_it_went_to(caller: Caller, person: Identity, tenants: Tenants) -> None:
    key_id = caller.create_key(delayDelegation=True)
    delegate(caller, key_id, person.user_id)
    entries = tenants.execute(
        "SELECT entry FROM audit_entries WHERE org_id = ? AND entry LIKE ?", person.org_id, f"%/keys/{key_id}/delegate%"
    )
    assert len(entries) == 1
    assert person.user_id in entries[0][0]
