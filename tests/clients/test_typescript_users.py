"""Every operation on users and personal access tokens with the official TypeScript SDK, on both engines."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.sdk_node import NodeClient, NodeSdkError
from tests.support.new_keys import new_public_key
from tests.support.server import Sandbox

_NUMBER = itertools.count(1)


@pytest.fixture(scope="module")
def dfns(shared_sandbox: Sandbox) -> Iterator[NodeClient]:
    """The administrator's client."""
    with NodeClient(shared_sandbox.admin) as client:
        yield client


def new_user(dfns: NodeClient, kind: str = "CustomerEmployee") -> Any:
    """A user nobody knew."""
    return dfns.call("auth.createUser", body={"email": f"user{next(_NUMBER)}@example.com", "kind": kind})


def test_a_user_is_created_read_listed_updated_deactivated_activated_and_archived(dfns: NodeClient) -> None:
    made = new_user(dfns)
    user_id = made["userId"]
    assert dfns.call("auth.getUser", userId=user_id) == made
    assert made in dfns.call("auth.listUsers")["items"]
    updated = dfns.call("auth.updateUser", userId=user_id, body={"isSSORequired": True})
    assert updated == {**made, "isSSORequired": True}
    assert dfns.call("auth.deactivateUser", userId=user_id)["isActive"] is False
    assert dfns.call("auth.activateUser", userId=user_id)["isActive"] is True
    assert dfns.call("auth.archiveUser", userId=user_id)["isActive"] is False
    with pytest.raises(NodeSdkError) as unknown:
        dfns.call("auth.getUser", userId=user_id)
    assert unknown.value.status == 404


def test_users_are_listed_by_pages_and_kinds_as_this_sdk_writes_them(dfns: NodeClient) -> None:
    person, holder = new_user(dfns)["userId"], new_user(dfns, "EndUser")["userId"]
    for kind in ("EndUser", ["EndUser"]):
        items = dfns.call("auth.listUsers", query={"limit": 1, "kind": kind})["items"]
        assert [item["userId"] for item in items] == [holder]
    first = dfns.call("auth.listUsers", query={"limit": 1, "kind": ["EndUser", "CustomerEmployee"]})
    assert [item["userId"] for item in first["items"]] == [holder]
    query = {"limit": 1, "kind": ["CustomerEmployee", "EndUser"], "paginationToken": first["nextPageToken"]}
    assert [item["userId"] for item in dfns.call("auth.listUsers", query=query)["items"]] == [person]


def test_a_personal_access_token_goes_through_its_life(dfns: NodeClient) -> None:
    name = f"token {next(_NUMBER)}"
    made = dfns.call("auth.createPersonalAccessToken", body={"name": name, "publicKey": new_public_key()})
    token_id = made["tokenId"]
    without_secret = {member: value for member, value in made.items() if member != "accessToken"}
    assert dfns.call("auth.getPersonalAccessToken", tokenId=token_id) == without_secret
    assert without_secret in dfns.call("auth.listPersonalAccessTokens")["items"]
    renamed = dfns.call("auth.updatePersonalAccessToken", tokenId=token_id, body={"name": f"{name} b"})
    assert renamed["name"] == f"{name} b"
    assert dfns.call("auth.deactivatePersonalAccessToken", tokenId=token_id)["isActive"] is False
    assert dfns.call("auth.activatePersonalAccessToken", tokenId=token_id)["isActive"] is True
    assert dfns.call("auth.archivePersonalAccessToken", tokenId=token_id)["isActive"] is False
    with pytest.raises(NodeSdkError) as unknown:
        dfns.call("auth.getPersonalAccessToken", tokenId=token_id)
    assert unknown.value.status == 404
