"""Applications with every official client: read with those of today, changed with the TypeScript SDK 0.6.12.

The latter names an application and sends a nonce, so it is also the client of a server that demands both.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from dfns_sdk.types import DfnsError

from tests.clients.sdk_node import NodeClient, NodeSdkError
from tests.clients.sdk_python import python_client
from tests.support.new_keys import new_public_key
from tests.support.server import Sandbox

_NUMBER = itertools.count(1)
STRICT = {"COUNTERSIGN_REQUIRE_APPLICATION_ID": "true", "COUNTERSIGN_REQUIRE_NONCE": "true"}


@pytest.fixture(scope="module")
def strict(start_sandbox: Callable[[Mapping[str, str]], Sandbox]) -> Sandbox:
    """A server that demands an application and a nonce with every request."""
    return start_sandbox(STRICT)


@pytest.fixture(scope="module")
def old(strict: Sandbox) -> Iterator[NodeClient]:
    """The administrator's client of 2024."""
    with NodeClient(strict.admin, app_id=strict.values["appId"]) as client:
        yield client


def new_application(dfns: NodeClient, **members: Any) -> Any:
    body = {"kind": "ClientSideApplication", "name": f"application {next(_NUMBER)}", **members}
    return dfns.call("auth.createApplication", body=body)


def test_a_whole_ceremony_passes_the_strict_headers(old: NodeClient) -> None:
    key = old.call("keys.createKey", body={"scheme": "EdDSA", "curve": "ed25519"})
    for sent in old.headers_sent:
        assert {"x-dfns-appid", "x-dfns-nonce"} <= set(sent)
    made = old.call("keys.generateSignature", keyId=key["id"], body={"kind": "Message", "message": "0x01"})
    assert made["status"] == "Signed"
    assert [item["id"] for item in old.call("keys.listKeys", query={})["items"]] == [key["id"]]


def test_clients_that_name_no_application_are_refused(strict: Sandbox) -> None:
    with NodeClient(strict.admin) as today, pytest.raises(NodeSdkError) as refused:
        today.call("keys.listKeys")
    assert (refused.value.status, refused.value.body["error"]["code"]) == (403, "APPLICATION_REFUSED")
    with python_client(strict.admin) as today, pytest.raises(DfnsError) as python:
        today.keys.list_keys()
    assert python.value.status_code == 403


def test_an_application_is_created_read_listed_updated_deactivated_activated_and_archived(old: NodeClient) -> None:
    pair = {"relyingPartyId": "example.org", "origin": "https://app.example.org/"}
    made = new_application(old, **pair, externalId="app-1")
    app_id = made["appId"]
    assert (made["expectedRpId"], made["expectedOrigin"]) == ("example.org", "https://app.example.org")
    assert (made["kind"], made["isActive"], made["accessTokens"]) == ("ClientSideApplication", True, [])
    assert [item["permissionName"] for item in made["permissionAssignments"]] == ["ManagedFullAdminAccess"]
    assert old.call("auth.getApplication", appId=app_id) == made
    assert made in old.call("auth.listApplications")["items"]
    renamed = old.call("auth.updateApplication", appId=app_id, body={"name": "Renamed"})
    assert renamed == {**made, "name": "Renamed"}
    assert old.call("auth.deactivateApplication", appId=app_id)["isActive"] is False
    assert old.call("auth.activateApplication", appId=app_id)["isActive"] is True
    assert old.call("auth.archiveApplication", appId=app_id)["isActive"] is False
    with pytest.raises(NodeSdkError) as unknown:
        old.call("auth.getApplication", appId=app_id)
    assert (unknown.value.status, unknown.value.message) == (404, "application not found")


def test_a_server_signed_application_shows_its_token_once(old: NodeClient) -> None:
    made = new_application(old, kind="ServerSideApplication", publicKey=new_public_key(), daysValid=1)
    (token,) = made["accessTokens"]
    assert (token["kind"], token["linkedAppId"], token["linkedUserId"]) == ("Application", made["appId"], "")
    assert token["publicKey"].startswith("SHA256:")
    kept = {member: value for member, value in token.items() if member != "accessToken"}
    assert token["accessToken"].count(".") == 2
    assert old.call("auth.getApplication", appId=made["appId"])["accessTokens"] == [kept]


def test_an_application_cannot_end_itself(old: NodeClient, strict: Sandbox) -> None:
    for operation in ("auth.deactivateApplication", "auth.archiveApplication"):
        with pytest.raises(NodeSdkError) as refused:
            old.call(operation, appId=strict.values["appId"])
        assert (refused.value.status, refused.value.body["error"]["code"]) == (400, "APP_SELF_STATE")


def test_the_challenge_names_the_relying_party_of_the_application(old: NodeClient, strict: Sandbox) -> None:
    own = new_application(old, relyingPartyId="example.net", origin="https://example.net", name="Own party")
    with NodeClient(strict.admin, app_id=own["appId"], delegated=True) as client:
        challenge = client.call("auth.activateApplicationInit", appId=own["appId"])
    assert challenge["rp"] == {"id": "example.net", "name": "Own party"}


@pytest.mark.filterwarnings("ignore:This endpoint is deprecated:DeprecationWarning")
def test_today_s_clients_read_applications(shared_sandbox: Sandbox) -> None:
    app_id = shared_sandbox.values["appId"]
    with NodeClient(shared_sandbox.service) as typescript:
        shown = typescript.call("auth.getApplication", appId=app_id)
        assert typescript.call("auth.listApplications")["items"] == [shown]
    assert (shown["name"], shown["expectedRpId"], shown["isActive"]) == ("Default", "localhost", True)
    with python_client(shared_sandbox.service) as python:
        assert python.auth.get_application(app_id) == shown
        assert python.auth.list_applications()["items"] == [shown]
