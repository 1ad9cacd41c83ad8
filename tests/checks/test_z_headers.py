"""What a request names and carries: applications, nonces and API signatures, against a real server on both engines."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from countersign.access.api_signature import SignedRequest, signing_payload
from countersign.cli.main import main
from countersign.encoding import base64url
from tests.support.caller import Caller, compact
from tests.support.rawhttp import Raw
from tests.support.server import Sandbox
from tests.support.tenants import Tenants

_NUMBER = itertools.count(1)
Start = Callable[[Mapping[str, str]], Sandbox]


def nonce(identifier: str | None = None) -> str:
    date = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return base64url.encode(json.dumps({"uuid": identifier or str(uuid.uuid4()), "date": date}).encode())


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, "" if answer.status_code == 200 else answer.json()["error"]["code"]


@pytest.fixture
def caller(shared_sandbox: Sandbox) -> Iterator[Caller]:
    with Caller(shared_sandbox.service) as caller:
        yield caller


def create(caller: Caller, **members: Any) -> dict[str, Any]:
    """A new application."""
    body = {"kind": "ClientSideApplication", "name": f"application {next(_NUMBER)}", **members}
    made = caller.signed("POST", "/auth/apps", body)
    assert made.status_code == 200, made.text
    application: dict[str, Any] = made.json()
    return application


def through(caller: Caller, app_id: str, method: str = "GET", path: str = "/keys") -> tuple[int, str]:
    """What comes of a request that names the application."""
    return code(caller.send(method, path, headers={"X-DFNS-APPID": app_id}))


# Applications


def test_a_known_application_is_enforced_and_an_unknown_one_ignored(caller: Caller) -> None:
    made = create(caller)
    assert through(caller, made["appId"]) == (200, "")
    caller.signed("PUT", f"/auth/apps/{made['appId']}/deactivate", {})
    assert eventually(lambda: through(caller, made["appId"]), (403, "APPLICATION_REFUSED"))
    assert through(caller, "ap-00000-00000-0000000000000000") == (200, "")
    assert through(caller, "nonsense") == (200, "")


def eventually(probe: Callable[[], Any], expected: Any) -> bool:
    """Reads may be a second late, so the answer is asked for until it is there."""
    deadline = datetime.now(UTC).timestamp() + 5
    while (found := probe()) != expected and datetime.now(UTC).timestamp() < deadline:
        continue
    return bool(found == expected)


def test_z1_an_application_holds_requests_to_what_is_assigned_to_it(
    caller: Caller, shared_tenants: Tenants, shared_sandbox: Sandbox
) -> None:
    permission = shared_tenants.permission(shared_sandbox.values["orgId"], ["Keys:Create", "Auth:Apps:Read"])
    app_id = create(caller, permissionId=permission)["appId"]
    assert through(caller, app_id, path="/auth/apps") == (200, "")
    assert through(caller, app_id) == (403, "APPLICATION_REFUSED")
    headers = {"X-DFNS-APPID": app_id}
    body = {"scheme": "EdDSA", "curve": "ed25519"}
    bound = {"userActionPayload": compact(body), "userActionHttpMethod": "POST", "userActionHttpPath": "/keys"}
    challenge = caller.send("POST", "/auth/action/init", bound, headers=headers).json()
    answer = {
        "challengeIdentifier": challenge["challengeIdentifier"],
        "firstFactor": caller.assertion(challenge["challenge"]),
    }
    token = caller.send("POST", "/auth/action", answer, headers=headers).json()["userAction"]
    shared_tenants.grant(permission, ["Auth:Apps:Read"])
    refused = caller.send("POST", "/keys", body, action=token, headers=headers)
    assert code(refused) == (403, "APPLICATION_REFUSED")
    shared_tenants.grant(permission, ["Keys:Create"])
    assert code(caller.send("POST", "/keys", body, action=token, headers=headers)) in [
        (200, ""),
        (403, "APPLICATION_REFUSED"),  # a read may be a second late in granting; never in refusing
    ]


def test_threat_18_an_application_deactivated_meanwhile_lets_nothing_through(
    caller: Caller, shared_tenants: Tenants
) -> None:
    app_id = create(caller)["appId"]
    key = caller.create_key()
    headers = {"X-DFNS-APPID": app_id}
    bound = {"userActionPayload": "{}", "userActionHttpMethod": "DELETE", "userActionHttpPath": f"/keys/{key}"}
    challenge = caller.send("POST", "/auth/action/init", bound, headers=headers).json()
    answer = {
        "challengeIdentifier": challenge["challengeIdentifier"],
        "firstFactor": caller.assertion(challenge["challenge"]),
    }
    token = caller.send("POST", "/auth/action", answer, headers=headers).json()["userAction"]
    shared_tenants.execute(
        "UPDATE applications SET state = 'Inactive', epoch = epoch + 1 WHERE app_id = ? RETURNING app_id", app_id
    )
    refused = caller.send("DELETE", f"/keys/{key}", {}, action=token, headers=headers)
    assert code(refused) == (403, "APPLICATION_REFUSED")
    assert caller.send("GET", f"/keys/{key}").json()["status"] == "Active"


def test_threat_14_an_application_of_another_organisation_is_refused(
    shared_sandbox: Sandbox, shared_tenants: Tenants
) -> None:
    other = shared_tenants.organisation()
    app_id = shared_sandbox.values["appId"]
    with Caller(other.connection) as stranger:
        assert through(stranger, app_id) == (403, "APPLICATION_REFUSED")
        assert code(stranger.send("GET", f"/auth/apps/{app_id}")) == (404, "NOT_FOUND")
        for method, path in (
            ("PUT", f"/auth/apps/{app_id}/deactivate"),
            ("DELETE", f"/auth/apps/{app_id}"),
            ("PUT", f"/auth/apps/{app_id}/activate"),
        ):
            assert code(stranger.signed(method, path, {})) == (404, "NOT_FOUND")
        for method in ("PUT", "POST"):
            assert code(stranger.signed(method, f"/auth/apps/{app_id}", {"name": "x"})) == (404, "NOT_FOUND")
        assert stranger.send("GET", "/auth/apps").json() == {"items": []}


def test_threat_41_nobody_makes_an_application_that_may_do_more_than_they(
    shared_sandbox: Sandbox, shared_tenants: Tenants
) -> None:
    org_id = shared_sandbox.values["orgId"]
    few = shared_tenants.permission(org_id, ["Auth:Apps:Create", "Permissions:Assign"])
    more = shared_tenants.permission(org_id, ["Auth:Apps:Create", "Keys:Create"])
    with Caller(shared_tenants.session(org_id, few).connection) as person:
        body = {"kind": "ClientSideApplication", "name": f"application {next(_NUMBER)}", "permissionId": more}
        assert code(person.signed("POST", "/auth/apps", body)) == (403, "FORBIDDEN")
        copied = create(person)
    assert [item["permissionId"] for item in copied["permissionAssignments"]] == [few]
    unable = shared_tenants.permission(org_id, ["Auth:Apps:Create"])
    with Caller(shared_tenants.session(org_id, unable).connection) as person:
        body = {"kind": "ClientSideApplication", "name": f"application {next(_NUMBER)}", "permissionId": unable}
        assert code(person.signed("POST", "/auth/apps", body)) == (403, "FORBIDDEN")


@pytest.mark.parametrize(
    "pair",
    [
        {"relyingPartyId": "https://app.example.org", "origin": "example.org"},
        {"relyingPartyId": "example.org"},
        {"origin": "https://example.org"},
        {"relyingPartyId": "example.org", "origin": "https://example.com"},
        {"relyingPartyId": "example.org", "origin": "http://example.org"},
        {"relyingPartyId": "10.0.0.1", "origin": "https://10.0.0.1"},
    ],
)
def test_threat_27_a_relying_party_and_an_origin_that_do_not_fit_are_refused(
    caller: Caller, pair: dict[str, str]
) -> None:
    body = {"kind": "ClientSideApplication", "name": "Swapped", **pair}
    assert code(caller.signed("POST", "/auth/apps", body)) == (400, "VALIDATION")


def test_an_application_s_name_is_taken_once_and_free_again_when_it_is_archived(caller: Caller) -> None:
    body = {"kind": "ClientSideApplication", "name": "Taken"}
    made = caller.signed("POST", "/auth/apps", body).json()
    taken = caller.signed("POST", "/auth/apps", body)
    assert (code(taken), taken.json()["error"]["details"]) == (
        (409, "CONFLICT"),
        {"duplicate": {"id": made["appId"]}},
    )
    caller.signed("DELETE", f"/auth/apps/{made['appId']}", {})
    assert code(caller.signed("POST", "/auth/apps", body)) == (200, "")


def test_the_same_external_id_is_the_same_application_without_its_token(caller: Caller) -> None:
    _, pem = new_key()
    body = {"kind": "ServerSideApplication", "name": "Once", "publicKey": pem, "externalId": "once"}
    made = caller.signed("POST", "/auth/apps", body).json()
    again = caller.signed("POST", "/auth/apps", body).json()
    assert again["appId"] == made["appId"]
    assert "accessToken" in made["accessTokens"][0]
    assert "accessToken" not in again["accessTokens"][0]
    other = caller.signed("POST", "/auth/apps", {**body, "name": "Other"})
    assert (code(other), other.json()["error"]["details"]["duplicate"]["id"]) == ((409, "CONFLICT"), made["appId"])


def test_threat_16_the_token_of_an_application_is_no_one_s_session(caller: Caller, shared_sandbox: Sandbox) -> None:
    _, pem = new_key()
    made = create(caller, kind="ServerSideApplication", publicKey=pem)
    secret = made["accessTokens"][0]["accessToken"]
    answer = httpx.get(f"{shared_sandbox.values['baseUrl']}/keys", headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 401


# Nonces


def test_threat_1_a_nonce_is_good_once(caller: Caller) -> None:
    headers = {"X-DFNS-NONCE": nonce()}
    assert code(caller.send("GET", "/keys", headers=headers)) == (200, "")
    assert code(caller.send("GET", "/keys", headers=headers)) == (400, "NONCE_REUSED")


def test_threat_48_a_nonce_is_not_burnt_by_whoever_is_not_known(caller: Caller, shared_sandbox: Sandbox) -> None:
    fresh = nonce()
    stranger = {"Authorization": "Bearer a.b.c", "X-DFNS-NONCE": fresh}
    assert httpx.get(f"{shared_sandbox.values['baseUrl']}/keys", headers=stranger).status_code == 401
    assert code(caller.send("GET", "/keys", headers={"X-DFNS-NONCE": fresh})) == (200, "")


def test_a_nonce_that_is_sent_is_checked_although_none_is_demanded(caller: Caller) -> None:
    for bad in ("x", "{}", base64url.encode(b'{"uuid":"0123456789abcdef","date":"2020-01-01T00:00:00Z"}')):
        assert code(caller.send("GET", "/keys", headers={"X-DFNS-NONCE": bad})) == (400, "NONCE_INVALID")


def test_threat_43_a_security_header_sent_twice_is_refused(shared_sandbox: Sandbox) -> None:
    values = shared_sandbox.values
    good = {
        "Authorization": f"Bearer {values['authToken']}",
        "X-DFNS-APPID": values["appId"],
        "X-DFNS-NONCE": nonce(),
        "X-DFNS-APPSECRET": "a",
        "X-DFNS-APISIGNATURE": "a",
        "X-DFNS-USERACTION": "a",
    }
    for name in good:
        with Raw(values["baseUrl"]) as raw:
            twice = [*good.items(), (name.lower(), good[name])]
            assert raw.request("GET", "/keys", twice).code == "BAD_HEADER"


# Server-signed applications


def new_key() -> tuple[Ed25519PrivateKey, str]:
    private = Ed25519PrivateKey.generate()
    return private, private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


class Signing:
    """A server-signed application of the caller; ``send`` signs a GET, ``headers`` replace what is sent."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.key, pem = new_key()
        made = create(caller, kind="ServerSideApplication", publicKey=pem)
        self.app_id: str = made["appId"]
        self.secret: str = made["accessTokens"][0]["accessToken"]

    def send(self, path: str = "/keys", *, sent_path: str | None = None, **headers: str | None) -> tuple[int, str]:
        base = httpx.URL(self.caller.connection["baseUrl"])
        values = {
            "host": base.netloc.decode(),
            "accept": "application/json",
            "user-agent": "of a test",
            "authorization": f"Bearer {self.caller.token}",
            "x-dfns-appid": self.app_id,
            "x-dfns-appsecret": self.secret,
            "x-dfns-nonce": nonce(),
        }
        payload = signing_payload(SignedRequest("GET", path, values, b""), "http")
        signing_input = f"{base64url.encode(compact({'alg': 'EdDSA', 'typ': 'JWT'}).encode())}."
        signing_input += base64url.encode(compact(payload).encode())
        values["x-dfns-apisignature"] = base64url.encode(self.key.sign(signing_input.encode()))
        for name, value in headers.items():
            if value is None:
                del values[name.replace("_", "-")]
            else:
                values[name.replace("_", "-")] = value
        del values["host"]
        with Raw(self.caller.connection["baseUrl"]) as raw:
            answer = raw.request("GET", sent_path or path, values.items())
        return answer.status, "" if answer.status == 200 else answer.code


@pytest.fixture
def signing(caller: Caller) -> Signing:
    return Signing(caller)


def test_a_server_signed_application_signs_every_request(signing: Signing, caller: Caller) -> None:
    assert signing.send() == (200, "")
    assert signing.send("/keys?limit=1") == (200, "")
    assert through(caller, signing.app_id) == (400, "NONCE_INVALID")
    assert signing.send(x_dfns_nonce=None) == (400, "NONCE_INVALID")
    refused = (403, "APPLICATION_REFUSED")
    assert signing.send(x_dfns_apisignature=None) == refused
    assert signing.send(x_dfns_appsecret=None) == refused
    assert signing.send(x_dfns_nonce=nonce()) == refused
    assert signing.send("/keys?limit=1", sent_path="/keys?limit=2") == refused
    assert signing.send(accept="text/csv") == refused
    assert signing.send(x_dfns_apisignature=base64url.encode(bytes(64))) == refused


def test_threat_54_only_the_live_secret_of_the_same_application_is_one(signing: Signing, caller: Caller) -> None:
    other = Signing(caller)
    kept, signing.secret = signing.secret, other.secret
    assert signing.send() == (403, "APPLICATION_REFUSED")
    signing.secret = caller.token
    assert signing.send() == (403, "APPLICATION_REFUSED")
    signing.secret = kept[:-4] + ("AAAA" if kept[-4:] != "AAAA" else "BBBB")
    assert signing.send() == (403, "APPLICATION_REFUSED")
    signing.secret = kept
    assert signing.send() == (200, "")


def test_a_rotated_token_takes_the_place_of_the_old_one(signing: Signing, shared_sandbox: Sandbox) -> None:
    assert signing.send() == (200, "")
    old, signing.secret = signing.secret, command(shared_sandbox, "rotate-token", signing.app_id).strip()
    assert eventually(signing.send, (200, ""))
    signing.secret = old
    assert signing.send() == (403, "APPLICATION_REFUSED")


def command(sandbox: Sandbox, name: str, *arguments: str) -> str:
    """What ``countersign applications`` prints, run beside the server."""
    done = CliRunner().invoke(main, ["applications", name, *arguments, "--data", str(sandbox.directory)])
    assert done.exit_code == 0, done.output
    return done.output


def test_what_an_application_demands_holds_for_those_who_name_it(caller: Caller, shared_sandbox: Sandbox) -> None:
    app_id = create(caller)["appId"]
    command(shared_sandbox, "demand", app_id, "--nonce")
    assert eventually(lambda: through(caller, app_id), (400, "NONCE_INVALID"))
    assert through(caller, shared_sandbox.values["appId"]) == (200, "")
    headers = {"X-DFNS-APPID": app_id, "X-DFNS-NONCE": nonce()}
    assert code(caller.send("GET", "/keys", headers=headers)) == (200, "")
    listed = json.loads(command(shared_sandbox, "list", "--json"))
    assert {row["appId"]: row["requireNonce"] for row in listed}[app_id] is True


# What a server demands


def test_threat_57_an_application_binds_nobody_who_does_not_name_it_unless_the_server_demands_one(
    start_sandbox: Start,
) -> None:
    strict = start_sandbox({"COUNTERSIGN_REQUIRE_APPLICATION_ID": "true"})
    with Caller(strict.service) as bound:
        assert code(bound.send("GET", "/keys")) == (403, "APPLICATION_REFUSED")
        assert through(bound, "ap-00000-00000-0000000000000000") == (403, "APPLICATION_REFUSED")
        assert through(bound, "nonsense") == (403, "APPLICATION_REFUSED")
        assert through(bound, strict.values["appId"]) == (200, "")
    assert httpx.get(f"{strict.values['baseUrl']}/healthz").status_code == 200


def test_a_server_that_demands_api_signatures_takes_nothing_unsigned(start_sandbox: Start) -> None:
    environment = {"COUNTERSIGN_REQUIRE_API_SIGNATURE": "true"}
    server = start_sandbox({})
    with Caller(server.service) as caller:
        signing = Signing(caller)
        server.stop()
        server.environment = environment
        server.start()
        caller.connection["baseUrl"] = server.values["baseUrl"]
        caller.token = server.values["authToken"]
        assert signing.send() == (200, "")
        with Caller(server.service) as unsigned:
            assert code(unsigned.send("GET", "/keys")) == (403, "APPLICATION_REFUSED")
            named = {"X-DFNS-APPID": server.values["appId"], "X-DFNS-NONCE": nonce()}
            assert code(unsigned.send("GET", "/keys", headers=named)) == (403, "APPLICATION_REFUSED")


def test_rate_limits_of_an_organisation_and_of_strangers_say_when_to_come_back(start_sandbox: Start) -> None:
    server = start_sandbox(
        {"COUNTERSIGN_ORGANISATION_REQUESTS_PER_MINUTE": "5", "COUNTERSIGN_ADDRESS_REQUESTS_PER_MINUTE": "40"}
    )
    with Caller(server.service) as caller:
        limited = [answer for _ in range(20) if (answer := caller.send("GET", "/keys")).status_code != 200]
    limited += [
        answer for _ in range(60) if (answer := httpx.get(f"{server.values['baseUrl']}/keys")).status_code != 401
    ]
    # Time passes meanwhile, and some more are admitted.
    assert len(limited) > 20
    for answer in limited:
        assert code(answer) == (429, "RATE_LIMITED")
        assert int(answer.headers["retry-after"]) >= 1
