"""Bad input gets its documented 4xx with a message that says what to do; never a 500, never HTML, never nothing."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from countersign.api import CATALOGUE
from countersign.encoding import base64url
from tests.checks.requests_of_operations import new_account, new_pem
from tests.support.caller import Caller, compact
from tests.support.server import Sandbox

KEY = "/keys/key-00000-00000-0000000000000000"


@pytest.fixture
def caller(shared_sandbox: Sandbox) -> Iterator[Caller]:
    with Caller(shared_sandbox.admin) as caller:
        yield caller


def check(answer: httpx.Response, status: int, code: str) -> None:
    """The envelope, the code, and that it tells the caller what to do."""
    body = answer.json()
    assert (answer.status_code, body["error"]["code"]) == (status, code), answer.text
    assert set(body) == {"error", "message"}
    error = body["error"]
    assert error["id"].startswith("rq-")
    assert error["status"] == status
    assert error["message"] == body["message"] != ""
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    if status not in (404, 500):
        # Either what to do in general, or exactly which member is wrong.
        assert error["details"].get("hint") or error["details"].get("issues") or error["details"].get("duplicate")
        for issue in error["details"].get("issues", []):
            assert issue["message"]


def test_every_code_of_the_catalogue_says_what_to_do() -> None:
    for code, kind in CATALOGUE.items():
        assert kind.message, code
        assert kind.remedy.endswith("."), code


@pytest.mark.parametrize(
    "value", ["x", "Bearer", "Bearer x", "Bearer x.y.z", "Bearer \u00e9", "Basic YTpi", "Bearer " + "a" * 9000]
)
def test_a_malformed_token(caller: Caller, value: str) -> None:
    headers = [("Authorization", value.encode("latin-1"))]
    answer = caller.http.request("GET", "/auth/credentials", headers=headers)
    check(answer, 401, "UNAUTHENTICATED")


@pytest.mark.parametrize("value", ["x", "a.b.c", "e30.e30.e30", "a" * 9000])
def test_a_malformed_user_action(caller: Caller, value: str) -> None:
    check(caller.send("PUT", KEY, {"name": "a"}, action=value), 403, "USER_ACTION_INVALID")
    check(caller.send("PUT", KEY, {"name": "a"}), 403, "USER_ACTION_INVALID")


def fresh_nonce(identifier: str) -> str:
    date = datetime.fromtimestamp(time.time(), UTC).isoformat()
    return base64url.encode(compact({"uuid": identifier, "date": date}).encode())


@pytest.mark.parametrize("value", ["x", "{}", "e30", "{", "a" * 600, "W10", base64url.encode(b'{"uuid":"a"}')])
def test_a_malformed_nonce(caller: Caller, value: str) -> None:
    check(caller.send("GET", "/auth/credentials", headers={"X-DFNS-NONCE": value}), 400, "NONCE_INVALID")


def test_a_nonce_is_good_once(caller: Caller) -> None:
    headers = {"X-DFNS-NONCE": fresh_nonce(f"once-{time.time_ns()}")}
    assert caller.send("GET", "/auth/credentials", headers=headers).status_code == 200
    check(caller.send("GET", "/auth/credentials", headers=headers), 400, "NONCE_REUSED")
    # A stranger's request does not use one up.
    other = {"X-DFNS-NONCE": fresh_nonce(f"other-{time.time_ns()}")}
    check(
        caller.send("GET", "/auth/credentials", headers={**other, "Authorization": "Bearer x"}), 401, "UNAUTHENTICATED"
    )
    assert caller.send("GET", "/auth/credentials", headers=other).status_code == 200


def test_a_server_that_demands_nonces_says_so(tmp_path: Path) -> None:
    with (
        Sandbox(tmp_path / "data", environment={"COUNTERSIGN_REQUIRE_NONCE": "true"}) as server,
        Caller(server.service) as caller,
    ):
        check(caller.send("GET", "/auth/credentials"), 400, "NONCE_INVALID")
        raw = compact({"uuid": "a" * 13, "date": datetime.now(UTC).isoformat()})
        check(caller.send("GET", "/auth/credentials", headers={"X-DFNS-NONCE": raw}), 400, "NONCE_INVALID")
        headers = {"X-DFNS-NONCE": fresh_nonce("a" * 13)}
        assert caller.send("GET", "/auth/credentials", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b"null", b'{"a":1,"a":1}', b'{"a":NaN}', b"\xff", b"{}x", b"\xef\xbb\xbf{}"]
)
def test_a_malformed_json_body(caller: Caller, content: bytes) -> None:
    check(caller.send("POST", "/auth/action/init", content=content), 400, "BAD_JSON")


INIT = {"userActionPayload": "{}", "userActionHttpMethod": "PUT", "userActionHttpPath": KEY}


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"userActionPayload": "{"}, 400, "BAD_JSON"),
        ({"userActionPayload": "[]"}, 400, "BAD_JSON"),
        ({"userActionPayload": '{"a":1,"a":2}'}, 400, "BAD_JSON"),
        ({"userActionPayload": {}}, 400, "VALIDATION"),
        ({"userActionPayload": None}, 400, "VALIDATION"),
        ({"userActionHttpMethod": "put"}, 400, "VALIDATION"),
        ({"userActionHttpMethod": "PATCH"}, 400, "VALIDATION"),
        ({"userActionHttpMethod": ""}, 400, "VALIDATION"),
        ({"userActionHttpPath": ""}, 400, "VALIDATION"),
        ({"userActionHttpPath": "/" + "a" * 2048}, 400, "VALIDATION"),
        # Letters that are twelve characters each on the wire: no token could carry them.
        ({"userActionHttpPath": "/keys/" + "\U0001f511" * 1000}, 400, "VALIDATION"),
        ({"userActionHttpPath": "/keys/" + "\u00e9" * 400}, 400, "VALIDATION"),
        ({"userActionHttpPath": "keys"}, 400, "BAD_PATH"),
        ({"userActionHttpPath": "//keys"}, 400, "BAD_PATH"),
        ({"userActionHttpPath": "/keys/"}, 400, "BAD_PATH"),
        ({"userActionHttpPath": "/keys/.."}, 400, "BAD_PATH"),
        ({"userActionHttpPath": "/keys/%zz"}, 400, "BAD_PATH"),
        ({"userActionHttpPath": "/keys/a%2Fb"}, 400, "BAD_PATH"),
        ({"userActionHttpPath": "/keys/\u0001"}, 400, "BAD_PATH"),
        ({"userActionHttpPath": "/keys/a?b=\u00e9"}, 400, "BAD_PATH"),
        ({"userActionHttpPath": "/nothing"}, 404, "NOT_FOUND"),
        ({"userActionHttpMethod": "POST"}, 404, "NOT_FOUND"),
        ({"userActionServerKind": "Staff"}, 400, "VALIDATION"),
        ({"tenantId": "x"}, 400, "VALIDATION"),
    ],
)
def test_a_malformed_request_for_a_challenge(caller: Caller, changes: dict[str, Any], status: int, code: str) -> None:
    check(caller.send("POST", "/auth/action/init", {**INIT, **changes}), status, code)


def _assertion(caller: Caller, challenge: dict[str, Any], **changes: Any) -> dict[str, Any]:
    good = caller.assertion(challenge["challenge"])
    return {**good, "credentialAssertion": {**good["credentialAssertion"], **changes}}


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"credId": ""}, 400, "VALIDATION"),
        ({"credId": "unknown"}, 401, "NO_CREDENTIAL"),
        ({"credId": "\u0000"}, 400, "VALIDATION"),
        ({"credId": "a" * 10_000}, 400, "VALIDATION"),
        ({"credId": 1}, 400, "VALIDATION"),
        ({"clientData": ""}, 400, "VALIDATION"),
        ({"clientData": "\u00e9"}, 400, "VALIDATION"),
        ({"clientData": "e30"}, 401, "ASSERTION_INVALID"),
        ({"clientData": base64url.encode(b"[]")}, 401, "ASSERTION_INVALID"),
        ({"clientData": base64url.encode(b"\xff")}, 401, "ASSERTION_INVALID"),
        ({"clientData": base64url.encode(b'{"type":"key.get","challenge":1}')}, 401, "ASSERTION_INVALID"),
        ({"clientData": "a" * 5000}, 401, "ASSERTION_INVALID"),
        ({"signature": ""}, 400, "VALIDATION"),
        ({"signature": "***"}, 400, "VALIDATION"),
        ({"signature": "AAAA"}, 401, "ASSERTION_INVALID"),
        ({"signature": "A" * 20_000}, 401, "ASSERTION_INVALID"),
        ({"signature": None}, 400, "VALIDATION"),
        ({"algorithm": "none"}, 401, "ASSERTION_INVALID"),
        ({"algorithm": "a" * 1000}, 401, "ASSERTION_INVALID"),
        ({"extra": 1}, 400, "VALIDATION"),
    ],
)
def test_a_malformed_credential_or_signature(caller: Caller, changes: dict[str, Any], status: int, code: str) -> None:
    challenge = caller.challenge("PUT", KEY, {"name": "a"})
    check(caller.answer(challenge, firstFactor=_assertion(caller, challenge, **changes)), status, code)


@pytest.mark.parametrize(
    ("members", "status", "code"),
    [
        ({"challengeIdentifier": "x"}, 400, "CHALLENGE_INVALID"),
        ({"challengeIdentifier": "a.b.c"}, 400, "CHALLENGE_INVALID"),
        ({"challengeIdentifier": "\u0001\u00e9"}, 400, "CHALLENGE_INVALID"),
        ({"challengeIdentifier": ""}, 400, "VALIDATION"),
        ({"challengeIdentifier": None}, 400, "VALIDATION"),
        ({"firstFactor": None}, 400, "VALIDATION"),
        ({"firstFactor": {}}, 400, "VALIDATION"),
        ({"firstFactor": {"kind": "Key"}}, 400, "VALIDATION"),
        ({"firstFactor": {"kind": "Nothing", "credentialAssertion": {}}}, 400, "VALIDATION"),
        ({"firstFactor": {"kind": ["Key"], "credentialAssertion": {}}}, 400, "VALIDATION"),
        ({"secondFactor": {}}, 400, "VALIDATION"),
    ],
)
def test_a_malformed_answer_to_a_challenge(caller: Caller, members: dict[str, Any], status: int, code: str) -> None:
    check(caller.answer(caller.challenge("PUT", KEY, {"name": "a"}), **members), status, code)


@pytest.mark.parametrize(
    "key_id",
    [
        "x",
        "key-1",
        "key-00000-00000-000000000000000",
        KEY[6:].upper(),
        "%F0%9F%98%80",
        "a" * 2000,
        "'",
        "-",
        "~",
        "%20",
    ],
)
def test_a_malformed_key_id_is_an_unknown_one(caller: Caller, key_id: str) -> None:
    check(caller.send("GET", f"/keys/{key_id}"), 404, "NOT_FOUND")
    check(caller.send("GET", f"/keys/{key_id}/signatures"), 404, "NOT_FOUND")
    check(caller.send("GET", f"/keys/{key_id}/signatures/{key_id}"), 404, "NOT_FOUND")
    check(caller.signed("PUT", f"/keys/{key_id}", {"name": "a"}), 404, "NOT_FOUND")
    check(caller.send("GET", f"/auth/service-accounts/{key_id}"), 404, "NOT_FOUND")
    check(caller.send("GET", f"/auth/action/logs/{key_id}"), 404, "NOT_FOUND")


NUL = "a\u0000b"
HASH = "0x" + "00" * 32

#: Bodies that their operation refuses, after a good signature over exactly that body.
BODIES: list[tuple[str, str, Any, int, str]] = [
    ("POST", "/keys", {}, 400, "VALIDATION"),
    ("POST", "/keys", {"scheme": "EdDSA"}, 400, "VALIDATION"),
    ("POST", "/keys", {"scheme": "RSA", "curve": "ed25519"}, 400, "VALIDATION"),
    ("POST", "/keys", {"scheme": "ECDSA", "curve": "ed25519"}, 400, "KEY_UNSUPPORTED"),
    ("POST", "/keys", {"scheme": "DH", "curve": "secp256k1", "masterKey": True}, 400, "VALIDATION"),
    ("POST", "/keys", {"scheme": "EdDSA", "curve": "ed25519", "name": "a" * 101}, 400, "VALIDATION"),
    ("POST", "/keys", {"scheme": "EdDSA", "curve": "ed25519", "storeId": "ks-unknown"}, 404, "NOT_FOUND"),
    ("POST", "/keys", {"scheme": "EdDSA", "curve": "ed25519", "store_id": "a"}, 400, "VALIDATION"),
    ("PUT", "KEY", {}, 400, "VALIDATION"),
    ("PUT", "KEY", {"name": 1}, 400, "VALIDATION"),
    ("PUT", "KEY", {"name": ["a"]}, 400, "VALIDATION"),
    ("PUT", "KEY", {"name": "a", "status": "Archived"}, 400, "VALIDATION"),
    ("DELETE", "KEY", {"force": True}, 400, "VALIDATION"),
    ("POST", "KEY/signatures", {}, 400, "VALIDATION"),
    ("POST", "KEY/signatures", {"kind": "Transaction", "transaction": "0x"}, 400, "VALIDATION"),
    ("POST", "KEY/signatures", {"kind": "Hash"}, 400, "VALIDATION"),
    ("POST", "KEY/signatures", {"kind": "Hash", "hash": "0x00"}, 400, "VALIDATION"),
    ("POST", "KEY/signatures", {"kind": "Hash", "hash": HASH + "\n"}, 400, "VALIDATION"),
    ("POST", "KEY/signatures", {"kind": "Hash", "hash": HASH.upper()}, 400, "VALIDATION"),
    ("POST", "KEY/signatures", {"kind": "Hash", "hash": "0x" + "\u0660" * 64}, 400, "VALIDATION"),
    (
        "POST",
        "KEY/signatures",
        {"kind": "Hash", "hash": HASH, "taprootMerkleRoot": ""},
        400,
        "SIGNATURE_KIND_UNSUPPORTED",
    ),
    ("POST", "KEY/signatures", {"kind": "Message", "message": "0x0"}, 400, "VALIDATION"),
    ("POST", "KEY/signatures", {"kind": "Message", "message": "hello"}, 400, "VALIDATION"),
    (
        "POST",
        "KEY/signatures",
        {"kind": "Message", "message": "0x00", "network": "x"},
        400,
        "SIGNATURE_KIND_UNSUPPORTED",
    ),
    ("POST", "KEY/signatures", {"kind": "Message", "message": "0x00", "externalId": ""}, 400, "VALIDATION"),
    ("POST", "KEY/signatures", {"kind": "Message", "message": "0x00", "externalId": "a" * 51}, 400, "VALIDATION"),
    ("POST", "/auth/service-accounts", {"name": "a"}, 400, "VALIDATION"),
    ("POST", "/auth/service-accounts", {"name": "a", "publicKey": "x"}, 400, "PUBLIC_KEY_REFUSED"),
    ("POST", "/auth/service-accounts", {"name": "a", "publicKey": NUL}, 400, "VALIDATION"),
    ("POST", "/auth/service-accounts", {"name": "a", "publicKey": "\u00e9" * 100}, 400, "PUBLIC_KEY_REFUSED"),
    ("POST", "/auth/service-accounts", {**new_account(), "daysValid": 0}, 400, "VALIDATION"),
    ("POST", "/auth/service-accounts", {**new_account(), "daysValid": 731}, 400, "VALIDATION"),
    ("POST", "/auth/service-accounts", {**new_account(), "daysValid": 1.5}, 400, "VALIDATION"),
    ("POST", "/auth/service-accounts", {**new_account(), "daysValid": 10**40}, 400, "VALIDATION"),
    ("POST", "/auth/service-accounts", {**new_account(), "permissionId": "x"}, 404, "NOT_FOUND"),
    ("PUT", "/auth/service-accounts/x", {}, 400, "VALIDATION"),
    ("PUT", "/auth/service-accounts/x/deactivate", {"force": "yes"}, 400, "VALIDATION"),
    ("DELETE", "/auth/service-accounts/x?force=maybe", None, 400, "VALIDATION"),
    ("DELETE", "/auth/service-accounts/x?a=b", None, 400, "VALIDATION"),
    # Text with NUL: PostgreSQL stores none, and no name needs one.
    ("POST", "/keys", {"scheme": "EdDSA", "curve": "ed25519", "name": NUL}, 400, "VALIDATION"),
    ("PUT", "KEY", {"name": NUL}, 400, "VALIDATION"),
    ("POST", "KEY/signatures", {"kind": "Message", "message": "0x00", "externalId": NUL}, 400, "VALIDATION"),
    ("POST", "/auth/service-accounts", {**new_account(), "externalId": NUL}, 400, "VALIDATION"),
    ("POST", "/auth/service-accounts", {**new_account(), "permissionId": NUL}, 400, "VALIDATION"),
    ("PUT", "/auth/service-accounts/x", {"externalId": NUL}, 400, "VALIDATION"),
]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"), BODIES, ids=[compact(row[2])[:60] + row[1] for row in BODIES]
)
def test_a_body_that_the_operation_does_not_take(
    caller: Caller, method: str, path: str, body: Any, status: int, code: str
) -> None:
    target = path.replace("KEY", f"/keys/{caller.create_key()}") if "KEY" in path else path
    check(caller.signed(method, target, body), status, code)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "startTime=2026-01-01T00:00:00Z",
        "startTime=x&endTime=y",
        "startTime=2026-01-02T00:00:00Z&endTime=2026-01-01T00:00:00Z",
        "startTime=0000-00-00T00:00:00Z&endTime=2026-01-01T00:00:00Z",
        "startTime=2026-01-01T00:00:00Z&endTime=99999-01-01T00:00:00Z",
        "startTime=2026-01-01T00:00:00Z&endTime=2026-01-02T00:00:00Z&userId=",
        "startTime=2026-01-01T00:00:00Z&endTime=2026-01-02T00:00:00Z&userId=a%00b",
    ],
)
def test_a_query_that_the_operation_does_not_take(caller: Caller, query: str) -> None:
    check(caller.send("GET", f"/auth/action/logs?{query}"), 400, "VALIDATION")


def test_a_malformed_path(caller: Caller) -> None:
    for path in ("/keys/%zz", "/keys/%ff", "/keys/%00", "/keys/a%2fb", "/keys/%5c"):
        check(caller.send("GET", path), 400, "BAD_PATH")


def test_a_body_where_none_belongs(caller: Caller) -> None:
    check(caller.send("GET", "/keys", {"a": 1}), 400, "VALIDATION")
    assert caller.send("GET", "/keys", {}).status_code == 200


def test_a_conflict_names_what_stands_in_the_way(caller: Caller) -> None:
    key = caller.create_key()
    body = {"kind": "Message", "message": "0x00", "externalId": f"conflict-{key}"}
    first = caller.signed("POST", f"/keys/{key}/signatures", body).json()["id"]
    again = caller.signed("POST", f"/keys/{key}/signatures", {**body, "message": "0x01"})
    check(again, 409, "CONFLICT")
    assert again.json()["error"]["details"]["duplicate"] == {"id": first, "externalId": body["externalId"]}


def test_an_archived_key(caller: Caller) -> None:
    key = caller.create_key()
    assert caller.signed("DELETE", f"/keys/{key}").status_code == 200
    body = {"kind": "Message", "message": "0x00"}
    check(caller.signed("POST", f"/keys/{key}/signatures", body), 400, "KEY_ARCHIVED")
    check(caller.signed("PUT", f"/keys/{key}", {"name": "a"}), 404, "NOT_FOUND")


def test_a_host_that_is_not_ours(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {"COUNTERSIGN_PUBLIC_HOSTS": f"127.0.0.1:{port},api.example.org"}
    with Sandbox(tmp_path / "data", environment=environment, arguments=("--port", str(port))) as server:
        good = httpx.get(f"{server.values['baseUrl']}/healthz", headers={"Host": "API.example.org"})
        assert good.status_code == 200
        for host in ("example.org", "api.example.org.evil.test", "api.example.org:1", f"localhost:{port}"):
            answer = httpx.get(f"{server.values['baseUrl']}/healthz", headers={"Host": host})
            check(answer, 400, "BAD_HEADER")


def test_a14_no_refusal_carries_a_token_or_leaves_an_identity_behind(caller: Caller) -> None:
    before = caller.send("GET", "/auth/service-accounts").json()["items"]
    name = before[0]["userInfo"]["name"]
    attempts: list[dict[str, Any]] = [
        {"name": name, "publicKey": new_pem()},
        {**new_account(), "permissionId": "pm-00000-00000-0000000000000000"},
        {"name": "a\u200b", "publicKey": new_pem()},
        {**new_account(), "publicKey": "x"},
    ]
    for body in attempts:
        refused = caller.signed("POST", "/auth/service-accounts", body)
        assert refused.status_code >= 400
        assert "accessToken" not in refused.text
        assert "eyJ" not in refused.text
    assert caller.send("GET", "/auth/service-accounts").json()["items"] == before
    # A failed effect is rolled back whole: the name that was refused a permission is free.
    free = {name: value for name, value in attempts[1].items() if name != "permissionId"}
    assert caller.signed("POST", "/auth/service-accounts", free).status_code == 200


def test_nothing_of_all_this_was_a_fault(shared_sandbox: Sandbox) -> None:
    """Runs last in this file: the server's log holds no fault."""
    events = [json.loads(line) for line in shared_sandbox.log().splitlines() if line.startswith("{")]
    assert [event for event in events if event.get("event") == "fault"] == []
