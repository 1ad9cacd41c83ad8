"""Z2, Z3, Z4: organisations see nothing of each other; names and paths do not collide; lists keep to their bounds."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from countersign.api import Operation
from countersign.encoding import base64url
from countersign.server.table import operations
from tests.checks.requests_of_operations import ALL_TIMES, DERIVE, NEW_POLICY, Stock, new_account, new_pem, new_user
from tests.support.caller import Caller
from tests.support.moving_keys import Receiver
from tests.support.rawhttp import Raw
from tests.support.server import Sandbox
from tests.support.tenants import Tenants

UNKNOWN = {
    "keyId": "key-00000-00000-0000000000000000",
    "signatureId": "sig-00000-00000-0000000000000000",
    "serviceAccountId": "us-00000-00000-0000000000000000",
    "userId": "us-00000-00000-0000000000000000",
    "tokenId": "to-00000-00000-0000000000000000",
    "appId": "ap-00000-00000-0000000000000000",
    "policyId": "plc-00000-00000-0000000000000000",
    "approvalId": "ap-00000-00000-0000000000000000",
    "credentialUuid": "cr-00000-00000-0000000000000000",
    "permissionId": "pm-00000-00000-0000000000000000",
    "assignmentId": "as-00000-00000-0000000000000000",
    "id": "uj-00000-00000-0000000000000000",
    "webhookId": "wh-00000-00000-0000000000000000",
    "webhookEventId": "whe-00000-00000-0000000000000001",
    "sessionId": "uj-00000-00000-0000000000000000",
}

#: A good body for operations on one object, where they need one.
BODIES: dict[str, Any] = {
    "updateKey": {"name": "taken over"},
    "delegateKey": {"delegateTo": "us-00000-00000-0000000000000000"},
    "deriveKey": DERIVE,
    "destroyKey": {"publicKey": "00" * 32},
    "generateSignature": {"kind": "Message", "message": "0x00"},
    "exportKey": Receiver().body(),
    "approveExport": Receiver().body(),
    "endorseCredential": {"publicKey": "SHA256:" + "A" * 43},
    "updatePolicy": {**NEW_POLICY, "name": "taken over"},
    "createApprovalDecision": {"value": "Approved"},
    "updateServiceAccount": {"name": "taken over"},
    "deactivateServiceAccount": {},
    "updateUser": {"isSSORequired": True},
    "deactivateUser": {},
    "updatePersonalAccessToken": {"name": "taken over"},
    "updatePermission": {"name": "taken over"},
    "archivePermission": {"isArchived": True},
    "assignPermission": {"identityId": "us-00000-00000-0000000000000000"},
    "updateApplication": {"name": "taken over"},
    "updateApplicationByPost": {"name": "taken over"},
    "updateWebhook": {"description": "taken over"},
}


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Two organisations, each with an administrator; ids of what the second one has, by parameter name."""

    here: Caller
    there: Caller
    foreign: dict[str, str]
    stock: Stock


@pytest.fixture(scope="module")
def neighbours(shared_sandbox: Sandbox, shared_tenants: Tenants) -> Neighbours:
    identity = shared_tenants.organisation()
    session = shared_tenants.session(shared_sandbox.values["orgId"], everything=True)
    shared_tenants.introduce(identity, session)
    there = Caller(identity.connection)
    stock = Stock(there, shared_tenants)
    key, signature = stock.signature()
    permission, assignment = stock.assignment()
    webhook, webhook_event = stock.webhook_event()
    foreign = {
        "webhookId": webhook,
        "webhookEventId": webhook_event,
        "keyId": key,
        "signatureId": signature,
        "policyId": stock.policy(),
        "approvalId": stock.approval(),
        "serviceAccountId": stock.account(),
        "userId": stock.user(),
        "tokenId": there.signed("POST", "/auth/pats", new_account()).json()["tokenId"],
        "appId": stock.application(),
        "sessionId": there.send("GET", "/auth/sessions").json()["items"][0]["sessionId"],
        "credentialUuid": identity.credential_uuid,
        "permissionId": permission,
        "assignmentId": assignment,
        "id": stock.log(),
    }
    here = Caller(session.connection)
    return Neighbours(here, there, foreign, Stock(here, shared_tenants))


def taking_ids() -> list[Operation]:
    """Every operation whose path names an object of an organisation."""
    return [operation for operation in operations() if "{" in operation.path and not operation.public]


def called(caller: Caller, operation: Operation, ids: dict[str, str]) -> httpx.Response:
    path = operation.path.format(**ids)
    body = BODIES.get(operation.id)
    if operation.signed:
        return caller.signed(operation.method, path, body)
    return caller.send(operation.method, path, body)


def without_id(answer: httpx.Response) -> dict[str, Any]:
    """An error body but for the id of the request."""
    body: dict[str, Any] = answer.json()
    del body["error"]["id"]
    return body


@pytest.mark.parametrize("operation", taking_ids(), ids=lambda operation: operation.id)
def test_z2_an_id_of_another_organisation_is_an_unknown_id(neighbours: Neighbours, operation: Operation) -> None:
    foreign = called(neighbours.here, operation, neighbours.foreign)
    unknown = called(neighbours.here, operation, UNKNOWN)
    assert (foreign.status_code, unknown.status_code) == (404, 404), foreign.text
    assert without_id(foreign) == without_id(unknown)
    assert {name: value for name, value in foreign.headers.items() if name != "content-length"} == {
        name: value for name, value in unknown.headers.items() if name != "content-length"
    }
    assert "requests" not in foreign.text


def test_z2_a_foreign_object_below_an_own_one_is_unknown_too(neighbours: Neighbours) -> None:
    own_key, own_signature = neighbours.stock.signature()
    signature = neighbours.foreign["signatureId"]
    foreign = neighbours.here.send("GET", f"/keys/{own_key}/signatures/{signature}")
    unknown = neighbours.here.send("GET", f"/keys/{own_key}/signatures/{UNKNOWN['signatureId']}")
    assert without_id(foreign) == without_id(unknown)
    # Nor is an own one found below another key.
    assert neighbours.here.send("GET", f"/keys/{own_key}/signatures/{own_signature}").status_code == 200
    elsewhere = neighbours.here.send("GET", f"/keys/{neighbours.stock.key()}/signatures/{own_signature}")
    assert without_id(elsewhere) == without_id(unknown)


def test_z2_an_own_permission_is_not_given_to_others_nor_a_foreign_assignment_taken_by_it(
    neighbours: Neighbours,
) -> None:
    here, foreign = neighbours.here, neighbours.foreign
    own = neighbours.stock.permission()
    for kind in ("userId", "serviceAccountId", "tokenId", "appId"):
        given = [
            here.signed("POST", f"/permissions/{own}/assignments", {"identityId": each[kind]})
            for each in (foreign, UNKNOWN)
        ]
        assert [answer.status_code for answer in given] == [404, 404]
        assert without_id(given[0]) == without_id(given[1])
    paths = [f"/permissions/{own}/assignments/{each['assignmentId']}" for each in (foreign, UNKNOWN)]
    taken = [here.signed("DELETE", path) for path in paths]
    assert without_id(taken[0]) == without_id(taken[1])
    # Nor is an own assignment found below another permission.
    _, assignment = neighbours.stock.assignment()
    assert here.signed("DELETE", f"/permissions/{own}/assignments/{assignment}").status_code == 404


def test_z2_nothing_of_another_organisation_is_simulated(neighbours: Neighbours) -> None:
    here = neighbours.here
    activity = {"kind": "Wallets:Sign", "body": {"kind": "Message", "message": "0x00"}}
    for members in (
        [{"activity": {**activity, "keyId": ids["keyId"]}} for ids in (neighbours.foreign, UNKNOWN)],
        [{"requestId": ids["signatureId"]} for ids in (neighbours.foreign, UNKNOWN)],
    ):
        foreign, unknown = (here.send("POST", "/policies/simulate", each) for each in members)
        assert (foreign.status_code, unknown.status_code) == (404, 404)
        assert without_id(foreign) == without_id(unknown)
    users = [neighbours.foreign["userId"], UNKNOWN["userId"]]
    groups = [[{"quorum": 1, "approvers": {"userId": {"in": [user]}}}] for user in users]
    drafts = [{**NEW_POLICY, "action": {"kind": "RequestApproval", "approvalGroups": each}} for each in groups]
    asked = {"activity": {**activity, "keyId": neighbours.stock.key()}}
    answers = [here.send("POST", "/policies/simulate", {**asked, "policies": [each]}) for each in drafts]
    assert [answer.status_code for answer in answers] == [400, 400]


def test_z2_what_the_other_organisation_tried_changed_nothing(neighbours: Neighbours) -> None:
    for operation in taking_ids():
        called(neighbours.here, operation, neighbours.foreign)
    there, foreign = neighbours.there, neighbours.foreign
    key = there.send("GET", f"/keys/{foreign['keyId']}").json()
    assert (key["status"], key.get("name")) == ("Active", None)
    assert len(there.send("GET", f"/keys/{foreign['keyId']}/signatures").json()["items"]) == 1
    account = there.send("GET", f"/auth/service-accounts/{foreign['serviceAccountId']}").json()["userInfo"]
    assert account["isActive"]
    assert account["name"] != "taken over"
    policy = there.send("GET", f"/v2/policies/{foreign['policyId']}").json()
    assert (policy["status"], policy["name"]) == ("Active", "p")
    approval = there.send("GET", f"/v2/policy-approvals/{foreign['approvalId']}").json()
    assert (approval["status"], approval["decisions"]) == ("Pending", [])
    assert there.send("GET", f"/auth/users/{foreign['userId']}").json()["isActive"]
    assert there.send("GET", f"/auth/pats/{foreign['tokenId']}").json()["isActive"]
    assert there.send("GET", f"/auth/apps/{foreign['appId']}").json()["isActive"]
    permission = there.send("GET", f"/permissions/{foreign['permissionId']}").json()
    assert not permission["isArchived"]
    assert permission["name"] != "taken over"
    held = there.send("GET", f"/permissions/{foreign['permissionId']}/assignments").json()["items"]
    assert [each["id"] for each in held] == [foreign["assignmentId"]]
    assert there.send("GET", "/auth/credentials").json()["items"][0]["isActive"]
    webhook = there.send("GET", f"/webhooks/{foreign['webhookId']}").json()
    assert (webhook["status"], webhook.get("description")) == ("Enabled", None)


def test_z2_lists_show_nothing_of_another_organisation(neighbours: Neighbours, shared_tenants: Tenants) -> None:
    org_id = neighbours.there.connection["orgId"]
    with Caller(shared_tenants.organisation("A third one").connection) as bystander:
        for operation in operations():
            if operation.method == "GET" and "{" not in operation.path and not operation.public:
                query = f"?{ALL_TIMES}" if operation.id == "listAuditLogs" else ""
                shown = bystander.send("GET", operation.path + query)
                assert shown.status_code == 200, shown.text
                for value in (org_id, *neighbours.foreign.values()):
                    assert value not in shown.text, f"{operation.id} shows {value}"


def test_z2_filters_find_nothing_of_another_organisation(neighbours: Neighbours) -> None:
    foreign, unknown = (
        neighbours.here.send("GET", f"/auth/action/logs?{ALL_TIMES}&userId={user_id}").json()
        for user_id in (neighbours.foreign["userId"], UNKNOWN["userId"])
    )
    assert foreign == unknown
    assert neighbours.here.send("GET", f"/keys?owner={neighbours.foreign['userId']}").json() == {"items": []}


def test_z2_a_foreign_permission_is_unknown(neighbours: Neighbours, shared_tenants: Tenants) -> None:
    foreign = shared_tenants.permission(neighbours.there.connection["orgId"], ["Keys:Read"])
    for path in ("/auth/service-accounts", "/auth/pats"):
        answers = [
            neighbours.here.signed("POST", path, {**new_account(), "permissionId": permission})
            for permission in (foreign, "pm-00000-00000-0000000000000000")
        ]
        assert answers[0].status_code == 404
        assert without_id(answers[0]) == without_id(answers[1])


def test_z2_names_keys_and_external_ids_of_one_organisation_are_free_in_another(neighbours: Neighbours) -> None:
    """A conflict would tell what the neighbour has."""
    body = {"name": "the same", "publicKey": new_pem(), "externalId": "the same"}
    made = [caller.signed("POST", "/auth/service-accounts", body) for caller in (neighbours.here, neighbours.there)]
    assert [answer.status_code for answer in made] == [200, 200]
    assert made[0].json()["userInfo"]["userId"] != made[1].json()["userInfo"]["userId"]
    people = {**new_user(), "email": "same@example.org"}
    assert [
        caller.signed("POST", "/auth/users", people).status_code for caller in (neighbours.here, neighbours.there)
    ] == [200, 200]
    signing = {"kind": "Message", "message": "0x00", "externalId": "the same"}
    ids = set()
    for caller in (neighbours.here, neighbours.there):
        made_by = caller.signed("POST", f"/keys/{caller.create_key()}/signatures", signing)
        ids.add(made_by.json()["id"])
    assert len(ids) == 2


def account(caller: Caller, name: str) -> httpx.Response:
    return caller.signed("POST", "/auth/service-accounts", {"name": name, "publicKey": new_pem()})


_NAMES = itertools.count(1)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param("ADA {}", id="case"),
        pytest.param("ada {} ", id="trailing space"),
        pytest.param(" ada {}", id="leading space"),
        pytest.param("ada {}\u00a0", id="no-break space"),
        pytest.param("ａｄａ {}", id="full width"),
        pytest.param("\u1d2c\u1d30\u1d2c {}", id="superscript capitals"),
    ],
)
def test_z3_names_that_look_the_same_are_the_same(neighbours: Neighbours, other: str) -> None:
    number = next(_NAMES)
    name = f"ada {number}"
    first = account(neighbours.here, name)
    assert first.status_code == 200
    second = account(neighbours.here, other.format(number))
    assert (second.status_code, second.json()["error"]["code"]) == (409, "CONFLICT")
    third = account(neighbours.here, f"somebody else {number}").json()["userInfo"]["userId"]
    renamed = neighbours.here.signed("PUT", f"/auth/service-accounts/{third}", {"name": other.format(number)})
    assert renamed.status_code == 409
    person = {"email": f"ada{number}@example.org", "kind": "CustomerEmployee"}
    assert neighbours.here.signed("POST", "/auth/users", person).status_code == 200
    again = {**person, "email": person["email"].upper()}
    assert neighbours.here.signed("POST", "/auth/users", again).status_code in (401, 409)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "\u200b",
        "root\u200b",
        "\u202eroot",
        "ro\u00adot",
        "root\u0000",
        "ro\not",
        "\ufeffroot",
        "\ue000",
        "\u0378",
    ],
)
def test_z3_invisible_characters_make_no_names(neighbours: Neighbours, name: str) -> None:
    refused = account(neighbours.here, name)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "VALIDATION")


def test_z3_precomposed_and_decomposed_letters_are_one_name(neighbours: Neighbours) -> None:
    number = next(_NAMES)
    assert account(neighbours.here, f"Ren\u00e9e {number}").status_code == 200
    assert account(neighbours.here, f"Rene\u0301e {number}").status_code == 409
    assert account(neighbours.here, f"Renee {number}").status_code == 200


#: Ways to write a path that some proxy, cache or framework takes for /auth/service-accounts.
DETOURS = [
    "/auth/service-accounts/",
    "/auth//service-accounts",
    "//auth/service-accounts",
    "/auth/./service-accounts",
    "/auth/../auth/service-accounts",
    "/keys/../auth/service-accounts",
    "/keys/%2e%2e/auth/service-accounts",
    "/keys/%2E%2E/auth/service-accounts",
    "/keys/..%2fauth/service-accounts",
    "/keys%2f..%2fauth%2fservice-accounts",
    "/keys/%252e%252e/auth/service-accounts",
    "/keys/..;/auth/service-accounts",
    "/keys;/../auth/service-accounts",
    "/keys/.%00./auth/service-accounts",
    "/keys/%c0%ae%c0%ae/auth/service-accounts",
    "/keys\\..\\auth\\service-accounts",
    "/AUTH/service-accounts",
    "/auth/Service-Accounts",
    "/auth/service-accounts%20",
    "/auth/service-accounts%00",
    "/auth/service-accounts%0a",
    "/auth/service-accounts;a=b",
    "/auth/service-accounts.json",
    "/auth/service-accounts%2f",
    "/auth/service-accounts%3f",
    "/auth/service-accounts#",
    "/auth/%ef%bd%93ervice-accounts",
    "/%61uth/service-accounts",
    "/auth/service%2Daccounts",
    "auth/service-accounts",
    "*",
    "http://127.0.0.1/auth/service-accounts",
    "http://127.0.0.1@example.org/auth/service-accounts",
    "/keys?/../auth/service-accounts",
    "/keys?..%2fauth%2fservice-accounts",
]


@pytest.mark.parametrize("target", DETOURS)
def test_z3_no_spelling_of_a_path_leads_around_its_permission(
    shared_sandbox: Sandbox, shared_tenants: Tenants, target: str
) -> None:
    org_id = shared_sandbox.values["orgId"]
    reader = shared_tenants.service_account(org_id, shared_tenants.permission(org_id, ["Keys:Read"]))
    headers = [("Authorization", f"Bearer {reader.connection['authToken']}")]
    with Raw(shared_sandbox.values["baseUrl"]) as connection:
        answer = connection.request("GET", target, headers)
        assert answer.status in (400, 403, 404), answer
        assert answer.code in ("BAD_PATH", "NOT_FOUND", "FORBIDDEN", "VALIDATION", "BAD_HEADER")


def test_z3_ids_are_compared_character_by_character(neighbours: Neighbours) -> None:
    key = neighbours.here.create_key()
    with Raw(neighbours.here.connection["baseUrl"]) as connection:
        for other in (key.upper(), key + "%20", "%20" + key, key + "%09", key[:-1] + "%ef%bd%81", key + ".", key + ";"):
            headers = [("Authorization", f"Bearer {neighbours.here.token}")]
            answer = connection.request("GET", f"/keys/{other}", headers)
            assert answer.status in (400, 404), other
        # The one other spelling that is the same path.
        spelled = "".join(f"%{ord(character):02x}" for character in key)
        assert connection.request("GET", f"/keys/{spelled}", headers).json["id"] == key


LISTS: list[Callable[[Neighbours], str]] = [
    lambda neighbours: "/keys",
    lambda neighbours: "/auth/users",
    lambda neighbours: f"/keys/{neighbours.stock.signature()[0]}/signatures",
]


@pytest.mark.parametrize("path", LISTS, ids=["keys", "users", "signatures"])
@pytest.mark.parametrize(
    "limit",
    [
        "0",
        "-1",
        "00",
        "1.0",
        "1e1",
        "ten",
        "",
        "%20",
        "+5",
        "0x10",
        "%D9%A3",
        "1,2",
        "NaN",
        "null",
        "true",
        "1%00",
        "5%0a",
    ],
)
def test_z4_a_limit_is_a_positive_number(neighbours: Neighbours, path: Callable[[Neighbours], str], limit: str) -> None:
    answer = neighbours.here.send("GET", f"{path(neighbours)}?limit={limit}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "VALIDATION")
    assert "limit" in answer.json()["message"]


@pytest.mark.parametrize("limit", ["101", "1000000", "9" * 18, "9" * 19, "9" * 400])
def test_z4_a_huge_limit_is_clamped(neighbours: Neighbours, limit: str) -> None:
    for path in ("/keys", "/auth/users"):
        answer = neighbours.here.send("GET", f"{path}?limit={limit}")
        assert answer.status_code == 200
        assert len(answer.json()["items"]) <= 100


def token(scope: str, last: str) -> str:
    return base64url.encode(json.dumps([scope, last]).encode())


def test_z4_a_token_continues_its_own_list_only(neighbours: Neighbours) -> None:
    here, there = neighbours.here, neighbours.there
    for caller in (here, there):
        for _ in range(3):
            caller.create_key()
    own = here.send("GET", "/keys?limit=1").json()["nextPageToken"]
    foreign = there.send("GET", "/keys?limit=1").json()["nextPageToken"]
    key = here.create_key()
    for _ in range(2):
        here.signed("POST", f"/keys/{key}/signatures", {"kind": "Message", "message": "0x00"})
    of_signatures = here.send("GET", f"/keys/{key}/signatures?limit=1").json()["nextPageToken"]
    assert here.send("GET", f"/keys?paginationToken={own}").status_code == 200
    org_id = here.connection["orgId"]
    bad = [
        ("/keys", foreign),
        ("/keys", of_signatures),
        (f"/keys/{key}/signatures", own),
        (f"/keys/{here.create_key()}/signatures", of_signatures),
        ("/auth/users", own),
        ("/keys", own + "="),
        ("/keys", own[:-2]),
        ("/keys", "rubbish"),
        ("/keys", ""),
        ("/keys", base64url.encode(b"\x00\xff")),
        ("/keys", base64url.encode(b"[]")),
        ("/keys", base64url.encode(b"{}")),
        ("/keys", token(f"{org_id}/keys", "' OR 1=1 --")),
        ("/keys", token(f"{org_id}/keys", "\x00")),
        ("/keys", token(f"{org_id}/keys", "")),
        ("/keys", token(f"{org_id}/keys", "z" * 10_000)),
        ("/keys", token(f"{there.connection['orgId']}/keys", "zzzz")),
    ]
    for path, value in bad:
        answer = here.send("GET", f"{path}?paginationToken={value}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "VALIDATION"), (path, value)
        assert "paginationToken" in answer.json()["message"]


def test_z4_unknown_and_doubled_members_of_a_query_are_refused(neighbours: Neighbours) -> None:
    for query in ("limit=1&limit=2", "Limit=1", "offset=1", "limit=1&=", "limit", "&&", "a=1&b=2", "limit=%ff", "=1"):
        answer = neighbours.here.send("GET", f"/keys?{query}")
        assert answer.status_code == 400, query
        assert answer.json()["error"]["code"] in ("VALIDATION", "BAD_PATH"), query
