"""Every operation on users and personal access tokens with the official Python SDK, on both engines."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from dfns_sdk import DfnsClient
from dfns_sdk.types import DfnsError

from tests.clients.connection import Connection
from tests.clients.sdk_python import python_client
from tests.support.new_keys import new_public_key
from tests.support.server import Sandbox

_NUMBER = itertools.count(1)


@pytest.fixture(scope="module")
def dfns(shared_sandbox: Sandbox) -> Iterator[DfnsClient]:
    """The administrator's client."""
    with python_client(shared_sandbox.admin) as client:
        yield client


def mail() -> str:
    """A mail address that nobody has yet."""
    return f"person{next(_NUMBER)}@example.com"


def test_a_user_is_created_read_listed_updated_deactivated_activated_and_deleted(dfns: DfnsClient) -> None:
    address = mail()
    made = dfns.auth.create_user({"email": address, "kind": "CustomerEmployee"})
    assert made["username"] == made["name"] == address
    assert (made["isActive"], made["isRegistered"], made["isSSORequired"]) == (True, False, False)
    assert made["credentialUuid"] == ""
    assert made["permissionAssignments"] == []
    user_id = made["userId"]
    assert dfns.auth.get_user(user_id) == made
    assert made in dfns.auth.list_users()["items"]
    assert dfns.auth.update_user(user_id, {"isSSORequired": True}) == {**made, "isSSORequired": True}
    assert dfns.auth.deactivate_user(user_id, {})["isActive"] is False
    assert dfns.auth.deactivate_user(user_id, {"force": True})["isActive"] is False
    assert dfns.auth.activate_user(user_id)["isActive"] is True
    assert dfns.auth.delete_user(user_id)["isActive"] is False
    with pytest.raises(DfnsError) as unknown:
        dfns.auth.get_user(user_id)
    assert unknown.value.status_code == 404
    assert user_id not in [user["userId"] for user in dfns.auth.list_users()["items"]]


def test_an_end_user_holds_the_managed_default_permission(dfns: DfnsClient) -> None:
    made = dfns.auth.create_user({"email": f"wallet holder {next(_NUMBER)}", "kind": "EndUser"})
    assert [held["permissionName"] for held in made["permissionAssignments"]] == ["ManagedDefaultEndUserAccess"]
    assert "Keys:Read" in made["permissions"]


def test_users_are_listed_by_pages_and_kinds_as_this_sdk_writes_them(dfns: DfnsClient) -> None:
    people = [dfns.auth.create_user({"email": mail(), "kind": "CustomerEmployee"})["userId"] for _ in range(3)]
    holders = [
        dfns.auth.create_user({"email": f"wallet holder {next(_NUMBER)}", "kind": "EndUser"})["userId"]
        for _ in range(3)
    ]
    assert listed(dfns, limit=2)[:6] == [*reversed(holders), *reversed(people)]
    assert listed(dfns, limit=2, kind="EndUser")[:3] == holders[::-1]
    assert listed(dfns, limit=100, kind=["EndUser"])[:3] == holders[::-1]
    both = ["CustomerEmployee", "EndUser"]
    assert listed(dfns, limit=3, kind=both) == listed(dfns)
    assert listed(dfns, kind=["TenantUser"]) == []
    assert set(listed(dfns, kind="CustomerEmployee")).isdisjoint(holders)


def listed(dfns: DfnsClient, **query: object) -> list[str]:
    """Ids of every page."""
    found: list[str] = []
    page = dfns.auth.list_users(query)
    found += [user["userId"] for user in page["items"]]
    while "nextPageToken" in page:
        page = dfns.auth.list_users({**query, "paginationToken": page["nextPageToken"]})
        found += [user["userId"] for user in page["items"]]
    return found


def test_a_personal_access_token_goes_through_its_life(dfns: DfnsClient) -> None:
    number = next(_NUMBER)
    body = {"name": f"token {number}", "publicKey": new_public_key(), "daysValid": 30, "externalId": f"pat-{number}"}
    made = dfns.auth.create_personal_access_token(body)
    without_secret = {member: value for member, value in made.items() if member != "accessToken"}
    assert (made["kind"], made["isActive"], made["linkedAppId"]) == ("Pat", True, "")
    assert made["publicKey"].startswith("SHA256:")
    token_id = made["tokenId"]
    assert dfns.auth.create_personal_access_token(body) == {**without_secret, "accessToken": ""}
    assert dfns.auth.get_personal_access_token(token_id) == without_secret
    assert without_secret in dfns.auth.list_personal_access_tokens()["items"]
    renamed = dfns.auth.update_personal_access_token(token_id, {"name": f"other {number}", "externalId": "x"})
    assert renamed == {**without_secret, "name": f"other {number}"}
    assert dfns.auth.deactivate_personal_access_token(token_id)["isActive"] is False
    assert dfns.auth.activate_personal_access_token(token_id)["isActive"] is True
    assert dfns.auth.delete_personal_access_token(token_id)["isActive"] is False
    with pytest.raises(DfnsError) as unknown:
        dfns.auth.get_personal_access_token(token_id)
    assert unknown.value.status_code == 404


def test_a_personal_access_token_signs_with_its_own_key_and_is_named_as_requester(
    dfns: DfnsClient, shared_sandbox: Sandbox, tmp_path: Path
) -> None:
    everything = dfns.auth.list_users({"limit": 100})["items"][-1]["permissionAssignments"][0]["permissionId"]
    path = tmp_path / "key.pem"
    made = dfns.auth.create_personal_access_token(
        {"name": "that signs", "publicKey": new_public_key(path), "permissionId": everything, "secondsValid": 60}
    )
    connection: Connection = {
        **shared_sandbox.admin,
        "authToken": made["accessToken"],
        "credentialId": made["credId"],
        "privateKeyPath": str(path),
    }
    with python_client(connection) as program:
        key = program.keys.create_key({"scheme": "EdDSA", "curve": "ed25519"})
        signature = program.keys.generate_signature(key["id"], {"kind": "Message", "message": "0x01"})
        assert signature["status"] == "Signed"
        assert signature["requester"] == {"userId": made["linkedUserId"], "tokenId": made["tokenId"]}
        assert [item["credentialId"] for item in program.auth.list_credentials()["items"]] == [made["credId"]]
        assert program.auth.deactivate_personal_access_token(made["tokenId"])["isActive"] is False
        with pytest.raises(DfnsError) as refused:
            program.keys.update_key(key["id"], {"name": "a"})
        assert refused.value.status_code == 401
