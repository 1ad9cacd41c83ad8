"""A3, A4: an action token is good for the request that was signed, in whatever spelling, and for no other."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from countersign.server.table import operations
from tests.checks.ecdsa import EcdsaCaller
from tests.support.caller import Caller
from tests.support.inprocess import InProcess
from tests.support.rawhttp import Raw, RawAnswer
from tests.support.server import Sandbox
from tests.support.tenants import Tenants
from tests.support.vectors import auth_vectors, named

KEY = "/keys/key-00000-00000-0000000000000000"
MISMATCH = ("USER_ACTION_INVALID", "QUERY_NOT_SIGNED")


def _pem() -> str:
    key = Ed25519PrivateKey.generate().public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


#: Ids for the paths: nobody has them, so that the request is made out before it finds that out.
IDS = {
    "keyId": "key-00000-00000-0000000000000000",
    "serviceAccountId": "us-00000-00000-0000000000000000",
    "userId": "us-00000-00000-0000000000000000",
    "tokenId": "to-00000-00000-0000000000000000",
    "appId": "ap-00000-00000-0000000000000000",
    "credentialUuid": "cr-00000-00000-0000000000000000",
    "permissionId": "pm-00000-00000-0000000000000000",
    "assignmentId": "as-00000-00000-0000000000000000",
    "webhookId": "wh-00000-00000-0000000000000000",
    "webhookEventId": "whe-00000-00000-0000000000000000",
    "policyId": "plc-00000-00000-0000000000000000",
    "approvalId": "ap-00000-00000-0000000000000000",
}

_POLICY = {
    "name": "n",
    "activityKind": "Wallets:Sign",
    "rule": {"kind": "TransactionCountVelocity", "configuration": {"limit": 1, "timeframe": 60}},
    "filters": {"walletTags": {"hasAny": ["t"]}},
    "action": {"kind": "RequestApproval", "approvalGroups": [{"quorum": 1, "approvers": {}}]},
}

#: Bodies of the signed operations that take one, with every member that matters; of some more than one.
BODIES: dict[str, list[dict[str, Any]]] = {
    "createKey": [
        {"scheme": "EdDSA", "curve": "ed25519", "name": "n", "masterKey": False, "delayDelegation": True},
        {"scheme": "ECDSA", "curve": "secp256k1", "deriveFrom": {"keyId": IDS["keyId"], "path": "m/0"}},
        {"scheme": "ECDSA", "curve": "secp256k1", "storeId": "ks-1", "delegateTo": IDS["userId"]},
    ],
    "updateKey": [{"name": "n"}],
    "delegateKey": [{"delegateTo": IDS["userId"]}],
    "deriveKey": [{"domain": "0x01", "seed": "0x00"}],
    "destroyKey": [{"publicKey": "00" * 32}],
    "exportKey": [{"encryptionKey": "AAAA", "supportedSchemes": [{"protocol": "FROST", "curve": "ed25519"}]}],
    "approveExport": [{"encryptionKey": "AAAA", "supportedSchemes": [{"protocol": "FROST", "curve": "ed25519"}]}],
    "importKey": [
        {
            "curve": "ed25519",
            "protocol": "FROST",
            "minSigners": 3,
            "encryptedKeyShares": [{"signerId": "AAAA", "encryptedKeyShare": "AAAA"}],
            "name": "n",
            "masterKey": False,
        }
    ],
    "generateSignature": [
        {"kind": "Hash", "hash": "0x" + "00" * 32, "externalId": "e"},
        {"kind": "Message", "message": "0x00"},
    ],
    "delegatedLogin": [{"username": "n"}],
    "createDelegatedRegistrationChallenge": [{"email": "n@example.org", "kind": "EndUser", "externalId": "e"}],
    "createDelegatedRecoveryChallenge": [{"username": "n", "credentialId": "AAAA"}],
    "restartDelegatedRegistration": [{"email": "n@example.org", "kind": "EndUser", "externalId": "e"}],
    "createPermission": [{"name": "n", "operations": ["Keys:Read"]}],
    "updatePermission": [{"name": "n", "operations": ["Keys:Read"]}],
    "archivePermission": [{"isArchived": True}],
    "assignPermission": [{"identityId": IDS["userId"]}],
    "createWebhook": [
        {"url": "http://127.0.0.1:9/", "events": ["key.created"], "status": "Enabled", "description": "d"}
    ],
    "updateWebhook": [{"description": "d"}],
    "createPolicy": [_POLICY],
    "updatePolicy": [_POLICY],
    "createApprovalDecision": [{"value": "Approved", "reason": "r"}],
    "createServiceAccount": [{"name": "n", "publicKey": _pem(), "daysValid": 1, "externalId": "e"}],
    "updateServiceAccount": [{"name": "n", "externalId": "e"}],
    "deactivateServiceAccount": [{"force": True}],
    "createUser": [{"email": "n@example.org", "kind": "CustomerEmployee", "isSSORequired": False, "externalId": "e"}],
    "updateUser": [{"isSSORequired": True}],
    "deactivateUser": [{"force": True}],
    "createPersonalAccessToken": [{"name": "n", "publicKey": _pem(), "daysValid": 1, "externalId": "e"}],
    "updatePersonalAccessToken": [{"name": "n", "externalId": "e"}],
    "createApplication": [{"name": "n", "kind": "ClientSideApplication", "externalId": "e"}],
    "updateApplication": [{"name": "n", "externalId": "e"}],
    "updateApplicationByPost": [{"name": "n", "externalId": "e"}],
    "createCredential": [{"challengeIdentifier": "c", "credentialName": "n", "credentialKind": "Key"}],
    "createCredentialCode": [{"expiration": 60}],
    "activateCredential": [{"credentialUuid": IDS["credentialUuid"]}],
    "endorseCredential": [{"publicKey": "SHA256:" + "A" * 43}],
    "deactivateCredential": [{"credentialUuid": IDS["credentialUuid"]}],
}


def signed_requests() -> list[tuple[str, str, dict[str, Any] | None]]:
    """Requests of every signed operation of the table, each with and without a query where it takes one."""
    found: list[tuple[str, str, dict[str, Any] | None]] = []
    for operation in operations():
        if operation.signed:
            path = operation.path.format(**IDS)
            for body in BODIES.get(operation.id, [None]):
                found.append((operation.method, path, body))
                if operation.query is not None:
                    found.append((operation.method, f"{path}?force=true", body))
    return found


def test_a3_every_signed_operation_with_a_body_has_one_here() -> None:
    with_body = {operation.id for operation in operations() if operation.signed and operation.body is not None}
    assert with_body == set(BODIES)


def changed_values(value: Any) -> list[Any]:
    """Values that are near and not equal."""
    if isinstance(value, bool):
        return [not value, int(value), str(value).lower(), None]
    if isinstance(value, list):
        return [[], value * 2, *([other, *value[1:]] for other in changed_values(value[0]))]
    if isinstance(value, dict):
        return [{**value, name: other} for name, item in value.items() for other in changed_values(item)]
    if isinstance(value, int):
        return [value + 1, -value, str(value), bool(value), None, value + 0.5]
    return [value + " ", value.swapcase(), "", value + "\u0301", [value], {"": value}, None, 0, value[:-1]]


def changed_bodies(body: dict[str, Any] | None) -> Iterator[Any]:
    """Every body that differs in one member."""
    whole = body or {}
    yield {**whole, "extra": None}
    for name, value in whole.items():
        rest = {other: item for other, item in whole.items() if other != name}
        yield rest
        yield {**rest, name.swapcase(): value}
        yield from [
            {**whole, name: other}
            for other in changed_values(value)
            if other != value or type(other) is not type(value)
        ]


def changed_paths(path: str) -> list[str]:
    """Every path that differs in one segment or in the query."""
    plain, _, query = path.partition("?")
    segments = plain.split("/")[1:]
    found = []
    for position, segment in enumerate(segments):
        other = segment[:-1] + ("1" if segment[-1] != "1" else "2")
        for new in (other, segment + "1", segment.upper()):
            found.append("/" + "/".join([*segments[:position], new, *segments[position + 1 :]]))
    found += [f"{plain}/signatures", f"{plain}/activate"]
    if query:
        found += [plain, plain + "?", f"{plain}?force=false", f"{plain}?force=True", f"{plain}?force=true&force=true"]
    else:
        found += [f"{plain}?force=true", f"{plain}?a"]
    return [new for new in found if new != path]


@pytest.fixture
def strict_queries(runner: asyncio.Runner, tmp_path: Path, database_url: str) -> Iterator[InProcess]:
    """A server that refuses unsigned queries, as production does."""
    with InProcess(runner, tmp_path / "data", database_url, background=False, allow_unsigned_query=False) as server:
        yield server


def test_a3_no_request_that_differs_in_one_field_is_the_signed_one(strict_queries: InProcess) -> None:
    """Generated: each method, each segment, the query, each member of each body."""
    tried = 0
    with strict_queries.caller(strict_queries.service) as caller:
        for method, path, body in signed_requests():
            token = caller.action_token(method, path, body)
            changes: list[tuple[str, str, Any]] = [
                (other, path, body) for other in ("POST", "PUT", "DELETE", "GET", "PATCH") if other != method
            ]
            changes += [(method, other, body) for other in changed_paths(path)]
            changes += [(method, path, other) for other in changed_bodies(body)]
            for change in changes:
                answer = caller.send(*change, action=token)
                tried += 1
                if change[0] == "GET":
                    # A read needs no action: one that is sent along is not looked at and not spent.
                    assert answer.status_code in (200, 400, 404, 405), (change, answer.text)
                elif answer.status_code in (404, 405):
                    assert answer.json()["message"] in ("route not found", "Method Not Allowed"), (change, answer.text)
                else:
                    assert answer.json()["error"]["code"] in MISMATCH, (method, path, body, change, answer.text)
            used = caller.send(method, path, body, action=token)
            assert used.json().get("error", {}).get("code") not in (*MISMATCH, "USER_ACTION_REUSED"), used.text
    assert tried > 200


def test_a3_an_action_does_not_hold_in_another_installation(
    runner: asyncio.Runner, tmp_path: Path, database_url: str
) -> None:
    """A clone with the same keys, users and data is another installation: what was signed for one is void there."""
    with InProcess(runner, tmp_path / "data", database_url, issuer="the.same") as server:
        with server.caller(server.service) as caller:
            token = caller.action_token("PUT", KEY, {"name": "n"})
            challenge = caller.challenge("PUT", KEY, {"name": "n"})
        tenants = Tenants(database_url, server.files.server_secret, server.values["baseUrl"], tmp_path / "keys")
        clone = "UPDATE installation SET value = ? WHERE name = 'installation_id'"
        tenants.execute(clone, server.world.new_id("in"))
        server.restart()
        with server.caller(server.service) as caller:
            for action in (token, caller.answer(challenge).json()["userAction"]):
                answer = caller.send("PUT", KEY, {"name": "n"}, action=action)
                assert answer.json()["error"]["code"] == "USER_ACTION_INVALID"
            assert caller.signed("PUT", KEY, {"name": "n"}).json()["error"]["code"] == "NOT_FOUND"


def test_a3_an_action_signed_through_one_application_is_not_used_through_another(
    in_process: InProcess, tenants: Tenants
) -> None:
    org_id = in_process.values["orgId"]
    session = tenants.session(org_id, everything=True)
    other = tenants.another_session(session)
    tenants.execute("UPDATE tokens SET app_id = ? WHERE token_id = ?", in_process.world.new_id("ap"), other.token_id)
    with in_process.caller(session.connection) as first, in_process.caller(other.connection) as second:
        token = first.action_token("PUT", KEY, {"name": "n"})
        assert second.send("PUT", KEY, {"name": "n"}, action=token).json()["error"]["code"] == "USER_ACTION_INVALID"
        answer = second.answer(first.challenge("PUT", KEY, {"name": "n"}))
        assert answer.json()["error"]["code"] == "CHALLENGE_INVALID"


def test_a3_a_get_neither_needs_nor_spends_an_action(shared_sandbox: Sandbox) -> None:
    with Caller(shared_sandbox.service) as caller:
        key = caller.create_key()
        token = caller.action_token("PUT", f"/keys/{key}", {"name": "n"})
        assert caller.send("GET", f"/keys/{key}", action=token).status_code == 200
        assert caller.send("GET", f"/keys/{key}", action="rubbish").status_code == 200
        assert caller.send("PUT", f"/keys/{key}", {"name": "n"}, action=token).status_code == 200


@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-Method-Override", "X-Original-URL", "X-Rewrite-URL"])
def test_a3_override_headers_change_nothing(shared_sandbox: Sandbox, header: str) -> None:
    with Caller(shared_sandbox.service) as caller:
        key, victim = caller.create_key(), caller.create_key()
        value = f"/keys/{victim}" if "URL" in header else "DELETE"
        token = caller.action_token("PUT", f"/keys/{key}", {"name": "n"})
        answer = caller.send("PUT", f"/keys/{key}", {"name": "n"}, action=token, headers={header: value})
        assert (answer.status_code, answer.json()["id"], answer.json()["status"]) == (200, key, "Active")
        assert "name" not in caller.send("GET", f"/keys/{victim}").json()


def verdict(caller: Caller, payload: str, body: bytes) -> str:
    """Sign ``payload``, send ``body``: how the server compares them."""
    members = {"userActionPayload": payload, "userActionHttpMethod": "PUT", "userActionHttpPath": KEY}
    challenge = caller.send("POST", "/auth/action/init", content=json.dumps(members).encode())
    if challenge.status_code != 200:
        assert challenge.json()["error"]["code"] == "BAD_JSON", challenge.text
        return "reject"
    token = caller.answer(challenge.json()).json()["userAction"]
    answer = caller.send("PUT", KEY, action=token, content=body)
    if answer.json()["error"]["code"] == "BAD_JSON":
        return "reject"
    return "mismatch" if answer.json()["error"]["code"] == "USER_ACTION_INVALID" else "match"


@pytest.mark.parametrize("case", **named(auth_vectors()["body_comparison"]))
def test_a4_bodies_are_compared_as_values(shared_sandbox: Sandbox, case: dict[str, Any]) -> None:
    with Caller(shared_sandbox.service) as caller:
        body = base64.b64decode(case["request_body_b64"])
        assert verdict(caller, case["userActionPayload"], body) == case["result"].partition(":")[0]


def nested(depth: int) -> str:
    return '{"a":' * (depth - 1) + "{}" + "}" * (depth - 1)


@pytest.mark.parametrize(
    ("payload", "body", "expected"),
    [
        pytest.param('{"a":1}', b' \t\r\n{ "a" : 1 }\n', "match", id="spaces everywhere"),
        pytest.param('{"a":1e2}', b'{"a":100.00}', "match", id="100 in two notations"),
        pytest.param('{"a":-0}', b'{"a":0.0}', "match", id="no negative zero"),
        pytest.param('{"a":0.1}', b'{"a":1e-1}', "match", id="a tenth"),
        pytest.param(
            '{"a":0.1}',
            b'{"a":0.1000000000000000055511151231257827}',
            "mismatch",
            id="what a binary float would take it for",
        ),
        pytest.param(r'{"a":"\/\u0041"}', b'{"a":"/A"}', "match", id="needless escapes"),
        pytest.param(r'{"a":"\ud83d\ude00"}', '{"a":"😀"}'.encode(), "match", id="surrogate pair"),
        pytest.param(r'{"\u0061":1}', b'{"a":1}', "match", id="escaped name"),
        pytest.param('{"a":1}', rb'{"a":1,"\u0061":1}', "reject", id="twice, once escaped"),
        pytest.param('{"a":{"b":1}}', b'{"a":{"b":1,"b":1}}', "reject", id="twice further down"),
        pytest.param('{"a":[{"b":1}]}', b'{"a":[{"b":1,"b":1}]}', "reject", id="twice in an array"),
        pytest.param('{"a":1}', b'{"a":Infinity}', "reject", id="Infinity"),
        pytest.param('{"a":1}', b'{"a":-Infinity}', "reject", id="-Infinity"),
        pytest.param('{"a":1}', b'{"a":01}', "reject", id="leading zero"),
        pytest.param('{"a":1}', b'{"a":+1}', "reject", id="plus sign"),
        pytest.param('{"a":1}', b'{"a":.5}', "reject", id="no integer part"),
        pytest.param('{"a":1}', b'{"a":0x10}', "reject", id="hexadecimal"),
        pytest.param('{"a":1}', b"{'a':1}", "reject", id="single quotes"),
        pytest.param('{"a":1}', b'{"a":1,}', "reject", id="trailing comma"),
        pytest.param('{"a":1}', b'{"a":1}//', "reject", id="comment"),
        pytest.param('{"a":1}', b'{"a":1}\x00', "reject", id="trailing NUL"),
        pytest.param('{"a":1}', b'{"a":"\n"}', "reject", id="raw line feed in a string"),
        pytest.param('{"a":1}', b'{"a":"\xed\xa0\xbd"}', "reject", id="surrogate in UTF-8"),
        pytest.param('{"a":1}', b'{"a":"\xc0\xaf"}', "reject", id="overlong UTF-8"),
        pytest.param('{"a":1}', '{"a":1}'.encode("utf-16"), "reject", id="UTF-16"),
        pytest.param('{"a":1}', rb'{"a":"\udc00\ud800"}', "reject", id="pair the wrong way round"),
        pytest.param('{"a":1}', rb'{"\ud800":1}', "reject", id="lone surrogate in a name"),
        pytest.param(nested(64), nested(64).encode(), "match", id="64 levels"),
        pytest.param(nested(65), nested(65).encode(), "reject", id="65 levels"),
        pytest.param('{"a":1}', b'{"a":' + b"[" * 64 + b"]" * 64 + b"}", "reject", id="65 levels of arrays"),
        pytest.param('{"a":1}', b"[" * 500_000 + b"]" * 500_000, "reject", id="half a million levels"),
        pytest.param('{"a":1}', b'{"a":' * 150_000, "reject", id="never closed"),
        pytest.param('{"a":1}', b'{"a":' + b"9" * 65 + b"}", "reject", id="65 digits"),
        pytest.param('{"a":1}', b'{"a":1e999999999}', "reject", id="huge exponent"),
        pytest.param('{"a":1}', b'{"a":1E-65}', "reject", id="exponent beyond 64"),
        pytest.param('{"a":1}', b"null", "reject", id="null"),
        pytest.param('{"a":1}', b'"{}"', "reject", id="text"),
        pytest.param('{"a":1}', b" ", "reject", id="white space alone"),
        pytest.param('{"a":"K"}', '{"a":"\u212a"}'.encode(), "mismatch", id="compatibility form"),
        pytest.param('{"a":1}', b'{"A":1}', "mismatch", id="case of a name"),
        pytest.param('{"a":null}', b"{}", "mismatch", id="null or absent"),
        pytest.param('{"a":false}', b'{"a":null}', "mismatch", id="false or null"),
        pytest.param('{"a":true}', b'{"a":"true"}', "mismatch", id="true or its name"),
        pytest.param('{"a":[]}', b'{"a":{}}', "mismatch", id="array or object"),
        pytest.param('{"a":[1]}', b'{"a":[1,null]}', "mismatch", id="longer array"),
        pytest.param(
            '{"__proto__":1}', b'{"constructor":1}', "mismatch", id="names that some languages treat specially"
        ),
    ],
)
def test_a4_every_spelling_has_one_meaning(shared_sandbox: Sandbox, payload: str, body: bytes, expected: str) -> None:
    with Caller(shared_sandbox.service) as caller:
        assert verdict(caller, payload, body) == expected


def _mapped(text: str) -> str:
    """The published vectors speak of wallets; the comparison is the same for keys."""
    return (
        text.replace("allets", "eys")
        .replace("/W", "/K")
        .replace("/w", "/k")
        .replace("kkeys", "keys")
        .replace("transfers", "signatures")
        .replace("/x/", "/keys/")
    )


def _method(target: str) -> str:
    if "service-accounts" in target:
        return "DELETE"
    depth = len(target.partition("?")[0].strip("/").split("/"))
    return "PUT" if depth == 2 else "POST"


def path_verdict(caller: Caller, base_url: str, signed: str, target: str) -> str:
    """Sign one path, send another: whether the server lets the request through to its operation."""
    method = _method(target)
    members = {"userActionHttpMethod": method, "userActionHttpPath": signed}
    challenge = caller.send("POST", "/auth/action/init", members)
    if challenge.status_code != 200:
        code = challenge.json()["error"]["code"]
        return {"BAD_PATH": "reject", "NOT_FOUND": "mismatch"}[code]
    token = caller.answer(challenge.json()).json()["userAction"]
    headers = [("Authorization", f"Bearer {caller.token}"), ("X-DFNS-USERACTION", token)]
    with Raw(base_url) as connection:
        answer: RawAnswer = connection.request(method, target, headers, b"")
    if answer.code == "BAD_PATH":
        return "reject"
    refused = answer.code in MISMATCH or answer.json["message"] == "route not found"
    return "mismatch" if refused else "match"


@pytest.mark.parametrize("case", **named(auth_vectors()["path_comparison"]))
def test_a3_paths_are_compared_by_decoded_segments(shared_sandbox: Sandbox, case: dict[str, Any]) -> None:
    with Caller(shared_sandbox.service) as caller:
        signed, target = _mapped(case["userActionHttpPath"]), _mapped(case["request_target"])
        found = path_verdict(caller, shared_sandbox.values["baseUrl"], signed, target)
        assert found == case["sandbox"].partition(":")[0]


def test_a7_a_malleated_signature_is_no_second_consent(shared_sandbox: Sandbox, shared_tenants: Tenants) -> None:
    """Whoever turns s into n - s has another signature that holds, and still nothing to spend it on."""
    identity = shared_tenants.session(shared_sandbox.values["orgId"], everything=True)
    for curve in ("secp256k1", "p256"):
        with EcdsaCaller(identity, shared_tenants, curve) as caller, Caller(shared_sandbox.service) as owner:
            key = owner.create_key()
            challenge = caller.challenge("PUT", f"/keys/{key}", {"name": "n"})
            low, high = caller.both_assertions(challenge["challenge"])
            first, second = (caller.answer(challenge, firstFactor=factor) for factor in (high, low))
            assert (first.status_code, second.status_code) == (200, 200)
            tokens = [answer.json()["userAction"] for answer in (first, second)]
            assert tokens[0] != tokens[1]
            answers: list[httpx.Response] = [
                caller.send("PUT", f"/keys/{key}", {"name": "n"}, action=token) for token in tokens
            ]
            assert answers[0].status_code == 200
            assert answers[1].json()["error"]["code"] == "USER_ACTION_REUSED"
