"""Users and personal access tokens: who is admitted, what nobody can take or give, and when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from countersign.access import keyring
from tests.support.caller import Caller
from tests.support.inprocess import InProcess
from tests.support.new_keys import new_public_key
from tests.support.second_server import second_server
from tests.support.server import Sandbox
from tests.support.tenants import Identity, Tenants

USER = "/auth/users/us-00000-00000-0000000000000000"
PATS = "/auth/pats"
PAT = "/auth/pats/to-00000-00000-0000000000000000"

#: Who is admitted where. E: employee with a session, U: end user with a session, P: personal access token of an
#: employee, Q: of an end user, S: service account. Whoever is admitted gets as far as the body or the unknown id.
ADMITTED = [
    ("GET", "/auth/users", None, "EPS"),
    ("GET", USER, None, "EPS"),
    ("POST", "/auth/users", {}, "ES"),
    ("PUT", USER, {"isSSORequired": True}, "ES"),
    ("PUT", f"{USER}/activate", None, "ES"),
    ("PUT", f"{USER}/deactivate", None, "ES"),
    ("DELETE", USER, None, "ES"),
    ("GET", "/auth/pats", None, "EUPQS"),
    ("GET", PAT, None, "EUPQS"),
    ("POST", "/auth/pats", {}, "EU"),
    ("PUT", PAT, {"name": "a"}, "EUS"),
    ("PUT", f"{PAT}/activate", None, "EUS"),
    ("PUT", f"{PAT}/deactivate", None, "EUPQS"),
    ("DELETE", PAT, None, "EUPQS"),
    ("GET", "/auth/service-accounts", None, "EPS"),
    ("POST", "/auth/service-accounts", {}, "E"),
    ("GET", "/auth/action/logs?startTime=2026-01-01T00:00:00Z&endTime=2026-01-01T00:00:00Z", None, "EPS"),
    ("DELETE", "/keys/key-00000-00000-0000000000000000", None, "EPS"),
]


def code(answer: httpx.Response) -> str | None:
    """The error code, ``None`` for a success."""
    return None if answer.status_code == 200 else answer.json()["error"]["code"]


@pytest.fixture(scope="module")
def org_id(shared_sandbox: Sandbox) -> str:
    return shared_sandbox.values["orgId"]


@pytest.fixture(scope="module")
def everyone(shared_tenants: Tenants, org_id: str) -> Iterator[dict[str, Caller]]:
    """One caller of each kind, each with every right."""
    employee = shared_tenants.session(org_id, everything=True)
    end_user = shared_tenants.end_user(org_id, everything=True)
    identities = {
        "E": employee,
        "U": end_user,
        "P": shared_tenants.personal_access_token(employee),
        "Q": shared_tenants.personal_access_token(end_user),
        "S": shared_tenants.service_account(org_id, everything=True),
    }
    shared_tenants.introduce(*identities.values())
    callers = {kind: Caller(identity.connection) for kind, identity in identities.items()}
    yield callers
    for caller in callers.values():
        caller.close()


@pytest.fixture(scope="module")
def admin(shared_sandbox: Sandbox) -> Iterator[Caller]:
    with Caller(shared_sandbox.admin) as caller:
        yield caller


def perform(caller: Caller, method: str, path: str, body: Any = None) -> httpx.Response:
    return caller.send(method, path) if method == "GET" else caller.signed(method, path, body)


@pytest.mark.parametrize("kind", "EUPQS")
def test_each_kind_of_caller_is_admitted_where_it_belongs_and_nowhere_else(
    everyone: dict[str, Caller], kind: str
) -> None:
    refused = {
        (method, path): code(perform(everyone[kind], method, path, body)) == "CALLER_KIND_REFUSED"
        for method, path, body, _ in ADMITTED
    }
    assert refused == {(method, path): kind not in admitted for method, path, _, admitted in ADMITTED}


def test_an_end_user_sees_no_key_that_is_not_delegated_to_it_whatever_it_holds(
    everyone: dict[str, Caller], admin: Caller
) -> None:
    key = admin.create_key()
    signature = admin.signed("POST", f"/keys/{key}/signatures", {"kind": "Message", "message": "0x00"}).json()["id"]
    own: list[str] = []
    for kind in "UQ":
        caller = everyone[kind]
        assert sorted(item["id"] for item in caller.send("GET", "/keys").json()["items"]) == sorted(own)
        for method, path, body in (
            ("GET", f"/keys/{key}", None),
            ("GET", f"/keys/{key}/signatures", None),
            ("GET", f"/keys/{key}/signatures/{signature}", None),
            ("PUT", f"/keys/{key}", {"name": "mine"}),
            ("POST", f"/keys/{key}/signatures", {"kind": "Message", "message": "0x00"}),
        ):
            answer = perform(caller, method, path, body)
            assert (code(answer), answer.json()["error"]["message"]) == ("NOT_FOUND", "key not found"), path
        # A key that an end user makes is delegated to it from the start.
        own.append(caller.create_key())
        assert caller.send("GET", f"/keys/{own[-1]}").json()["custodial"] is False
    assert admin.send("GET", f"/keys/{key}").json().get("name") is None


# Deactivation


def connected(of: Identity) -> Caller:
    return Caller(of.connection)


def test_a11_and_threat_18_a_deactivated_user_is_refused_in_every_process(
    sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Mutations at once; reads, which remember for a moment, are covered with a clock to move below."""
    tenants = Tenants(
        sandbox.database or f"sqlite://{sandbox.directory / 'countersign.db'}",
        sandbox.directory / "server.secret",
        sandbox.values["baseUrl"],
        tmp_path_factory.mktemp("tenants"),
    )
    person = tenants.session(sandbox.values["orgId"], everything=True)
    token = tenants.personal_access_token(person)
    with second_server(sandbox) as url, Caller(sandbox.admin) as admin:
        callers = [
            Caller({**identity.connection, "baseUrl": base_url})
            for identity in (person, token)
            for base_url in (sandbox.values["baseUrl"], url)
        ]
        path = f"{PAT}/deactivate"
        actions = [caller.action_token("PUT", path) for caller in callers]
        assert admin.signed("PUT", f"/auth/users/{person.user_id}/deactivate", {}).status_code == 200
        for caller, action in zip(callers, actions, strict=True):
            assert code(caller.send("PUT", path, action=action)) == "UNAUTHENTICATED"
        assert admin.signed("PUT", f"/auth/users/{person.user_id}/activate").status_code == 200
        # What was signed before stays void.
        for caller, action in zip(callers, actions, strict=True):
            assert caller.send("PUT", path, action=action).status_code in (401, 403)
        for caller in callers:
            caller.close()


@pytest.mark.parametrize("change", ["user deactivated", "user deleted", "token deactivated", "token deleted"])
def test_a11_whoever_is_shut_out_reads_nothing_after_a_second(
    in_process: InProcess, tenants: Tenants, change: str
) -> None:
    person = tenants.session(in_process.values["orgId"], everything=True)
    token = tenants.personal_access_token(person)
    who, how = change.split()
    with (
        in_process.caller(in_process.admin) as admin,
        in_process.caller(person.connection) as owner,
        in_process.caller(token.connection) as program,
    ):
        assert program.send("GET", PATS).status_code == 200
        actor, path = (admin, f"/auth/users/{person.user_id}") if who == "user" else (owner, f"{PATS}/{token.token_id}")
        method, target = ("DELETE", path) if how == "deleted" else ("PUT", f"{path}/deactivate")
        assert actor.signed(method, target).status_code == 200
        in_process.clock.move(seconds=1)
        assert code(program.send("GET", PATS)) == "UNAUTHENTICATED"
        assert owner.send("GET", PATS).status_code == (401 if who == "user" else 200)
        # Sessions end, tokens rest: they work again with their owner, unless they are gone for good.
        again = actor.signed("PUT", f"{path}/activate")
        in_process.clock.move(seconds=1)
        assert again.status_code == (404 if how == "deleted" else 200)
        assert program.send("GET", PATS).status_code == (401 if how == "deleted" else 200)
        assert owner.send("GET", PATS).status_code == (401 if who == "user" else 200)


def test_a11_a_deactivated_token_acts_no_more_and_what_it_signed_is_void(shared_tenants: Tenants, org_id: str) -> None:
    person = shared_tenants.session(org_id, everything=True)
    token = shared_tenants.personal_access_token(person)
    path = f"/auth/pats/{token.token_id}"
    with connected(person) as owner, connected(token) as program:
        action = program.action_token("DELETE", path)
        challenge = program.challenge("DELETE", path)
        assert owner.signed("PUT", f"{path}/deactivate").json()["isActive"] is False
        assert code(program.send("DELETE", path, action=action)) == "UNAUTHENTICATED"
        assert owner.signed("PUT", f"{path}/activate").json()["isActive"] is True
        assert program.send("DELETE", path, action=action).status_code in (401, 403)
        assert program.answer(challenge).status_code in (400, 401)


def test_threat_18_an_administrator_deactivated_meanwhile_does_not_act(
    shared_tenants: Tenants, org_id: str, admin: Caller
) -> None:
    leaving = shared_tenants.session(org_id, everything=True)
    victim = shared_tenants.session(org_id)
    with connected(leaving) as caller:
        action = caller.action_token("DELETE", f"/auth/users/{victim.user_id}")
        assert admin.signed("PUT", f"/auth/users/{leaving.user_id}/deactivate", {}).status_code == 200
        assert caller.send("DELETE", f"/auth/users/{victim.user_id}", action=action).status_code == 401
    assert admin.send("GET", f"/auth/users/{victim.user_id}").json()["isActive"] is True


def test_a_token_ends_after_the_seconds_it_was_given(in_process: InProcess) -> None:
    with in_process.caller(in_process.admin) as admin:
        body = {"name": "short", "publicKey": new_public_key(), "daysValid": 730, "secondsValid": 60}
        made = admin.signed("POST", "/auth/pats", body).json()
        headers = {"Authorization": f"Bearer {made['accessToken']}"}
        assert admin.send("GET", "/auth/pats", headers=headers).status_code == 200
        in_process.clock.move(seconds=61)
        assert admin.send("GET", "/auth/pats", headers=headers).status_code == 401


# What nobody can take or give


def test_threat_13_an_action_signed_with_a_token_is_of_no_use_to_its_owner_or_another_token(
    shared_tenants: Tenants, org_id: str
) -> None:
    person = shared_tenants.session(org_id, everything=True)
    token, other = shared_tenants.personal_access_token(person), shared_tenants.personal_access_token(person)
    with connected(person) as owner, connected(token) as program, connected(other) as another:
        callers = [owner, program, another]
        path = f"/auth/pats/{other.token_id}/deactivate"
        for signer in callers:
            action = signer.action_token("PUT", path)
            for user in callers:
                if user is not signer:
                    assert code(user.send("PUT", path, action=action)) == "USER_ACTION_INVALID"


def test_threat_13_a_session_does_not_sign_with_a_tokens_key_nor_a_token_with_its_owners(
    shared_tenants: Tenants, org_id: str
) -> None:
    person = shared_tenants.session(org_id, everything=True)
    token = shared_tenants.personal_access_token(person)
    with connected(person) as owner, connected(token) as program:
        for caller, holder in ((owner, program), (program, owner)):
            challenge = caller.challenge("DELETE", PAT)
            allowed = [item["id"] for item in challenge["allowCredentials"]["key"]]
            assert allowed == [caller.credential_id]
            answer = caller.answer(challenge, firstFactor=holder.assertion(challenge["challenge"]))
            assert code(answer) == "NO_CREDENTIAL"


def test_threat_17_a_token_forged_with_the_servers_own_key_is_refused(shared_tenants: Tenants, org_id: str) -> None:
    person = shared_tenants.session(org_id, everything=True)
    token = shared_tenants.personal_access_token(person)
    ring = shared_tenants.ring
    for token_id in (token.token_id, shared_tenants.world.new_id("to")):
        forged, _ = keyring.mint(
            ring,
            org_id=org_id,
            user_id=person.user_id,
            username="forged",
            token_id=token_id,
            kind="Pat",
            lifetime=3600,
            now_ms=shared_tenants.world.now(),
        )
        with Caller({**token.connection, "authToken": forged}) as forger:
            assert code(forger.send("GET", "/auth/pats")) == "UNAUTHENTICATED"


def test_threat_14_users_and_tokens_of_another_organisation_are_unknown(
    shared_tenants: Tenants, admin: Caller, org_id: str
) -> None:
    stranger = shared_tenants.organisation()
    token = shared_tenants.personal_access_token(stranger)
    for thing, path, foreign in (
        ("user", USER, f"/auth/users/{stranger.user_id}"),
        ("personal access token", PAT, f"/auth/pats/{token.token_id}"),
    ):
        bodies = {"": {"isSSORequired": True} if thing == "user" else {"name": "a"}, "/activate": None}
        calls = [("GET", "", None), ("DELETE", "", None), ("PUT", "/deactivate", None)]
        calls += [("PUT", suffix, body) for suffix, body in bodies.items()]
        for method, suffix, body in calls:
            answers = [perform(admin, method, where + suffix, body) for where in (path, foreign)]
            errors = [{**answer.json()["error"], "id": ""} for answer in answers]
            assert errors[0] == errors[1]
            assert errors[0]["message"] == f"{thing} not found"
    assert stranger.user_id not in admin.send("GET", "/auth/users?limit=100").text


def test_threat_40_a_token_makes_no_user_no_account_and_no_token(everyone: dict[str, Caller]) -> None:
    program = everyone["P"]
    key = {"name": "escape", "publicKey": new_public_key()}
    for path, body in (
        ("/auth/users", {"email": "escape@example.com", "kind": "CustomerEmployee"}),
        ("/auth/service-accounts", key),
        ("/auth/pats", key),
    ):
        assert code(program.signed("POST", path, body)) == "CALLER_KIND_REFUSED"


def test_z5_and_threat_41_nobody_gives_a_token_more_than_they_hold(
    shared_tenants: Tenants, admin: Caller, org_id: str
) -> None:
    own = shared_tenants.permission(org_id, ["Auth:Pats:Create", "Keys:Read"])
    more = shared_tenants.permission(org_id, ["Keys:Read", "Keys:Delete"])
    less = shared_tenants.permission(org_id, ["Keys:Read"])
    everything = admin.send("GET", f"/auth/users/{_own_id(admin)}").json()["permissionAssignments"][0]["permissionId"]
    person = shared_tenants.session(org_id, own)
    with connected(person) as caller:
        for permission in (more, everything):
            body = {"name": "more", "publicKey": new_public_key(), "permissionId": permission}
            assert code(caller.signed("POST", "/auth/pats", body)) == "FORBIDDEN"
        assert caller.send("GET", "/auth/pats").json()["items"] == []
        body = {"name": "less", "publicKey": new_public_key(), "permissionId": less}
        made = caller.signed("POST", "/auth/pats", body).json()
        assert [held["permissionId"] for held in made["permissionAssignments"]] == [less]
        program = {"Authorization": f"Bearer {made['accessToken']}"}
        assert caller.send("GET", "/keys", headers=program).status_code == 200
        # The permission grows, the token does not grow beyond its owner.
        shared_tenants.grant(less, ["Keys:Read", "Auth:Users:Read"])
        assert code(caller.send("GET", "/auth/users", headers=program)) == "FORBIDDEN"


def _own_id(caller: Caller) -> str:
    made = caller.signed("POST", "/auth/pats", {"name": f"of {new_public_key()[40:60]}", "publicKey": new_public_key()})
    user_id: str = made.json()["linkedUserId"]
    return user_id


def test_z5_the_right_to_make_users_gives_nobody_any_right(shared_tenants: Tenants, org_id: str, admin: Caller) -> None:
    person = shared_tenants.session(org_id, shared_tenants.permission(org_id, ["Auth:Users:Create"]))
    with connected(person) as caller:
        made = caller.signed("POST", "/auth/users", {"email": "z5@example.com", "kind": "CustomerEmployee"}).json()
    assert (made["permissions"], made["permissionAssignments"], made["isRegistered"]) == ([], [], False)


def test_threat_55_a_permission_that_was_taken_away_is_missed_at_once(
    shared_tenants: Tenants, org_id: str, admin: Caller
) -> None:
    permission = shared_tenants.permission(org_id, ["Auth:Users:Create"])
    person = shared_tenants.session(org_id, permission)
    body = {"email": "threat55@example.com", "kind": "CustomerEmployee"}
    with connected(person) as caller:
        action = caller.action_token("POST", "/auth/users", body)
        shared_tenants.grant(permission, ["Auth:Users:Read"])
        assert code(caller.send("POST", "/auth/users", body, action=action)) == "FORBIDDEN"
    assert body["email"] not in admin.send("GET", "/auth/users?limit=100").text


# What a body may hold

BODIES = [
    ("POST", "/auth/users", {"email": "z10@example.com", "kind": "CustomerEmployee"}),
    ("PUT", USER, {"isSSORequired": True}),
    ("PUT", f"{USER}/activate", {}),
    ("PUT", f"{USER}/deactivate", {}),
    ("DELETE", USER, {}),
    ("POST", "/auth/pats", {"name": "z10"}),
    ("PUT", PAT, {"name": "z10"}),
    ("PUT", f"{PAT}/activate", {}),
    ("PUT", f"{PAT}/deactivate", {}),
    ("DELETE", PAT, {}),
]
EXTRA = [
    {"isActive": True},
    {"isRegistered": True},
    {"isServiceAccount": True},
    {"permissions": ["Keys:Create"]},
    {"permissionAssignments": []},
    {"orgId": "or-00000-00000-0000000000000000"},
    {"userId": "us-00000-00000-0000000000000000"},
    {"linkedUserId": "us-00000-00000-0000000000000000"},
    {"tokenId": "to-00000-00000-0000000000000000"},
    {"tenantId": "te-00000-00000-0000000000000000"},
    {"__proto__": {}},
    {"is_sso_required": True},
]


@pytest.mark.parametrize(("method", "path", "body"), BODIES)
def test_z10_and_threat_59_members_that_an_operation_does_not_have_are_refused(
    admin: Caller, method: str, path: str, body: dict[str, Any]
) -> None:
    if path == "/auth/pats":
        body = {**body, "publicKey": new_public_key()}
    for extra in EXTRA:
        answer = admin.signed(method, path, {**body, **extra})
        assert code(answer) == "VALIDATION", extra
    assert "z10" not in admin.send("GET", "/auth/users?limit=100").text
    assert "z10" not in admin.send("GET", "/auth/pats").text


@pytest.mark.parametrize(
    "body",
    [
        {"email": "staff@example.com", "kind": "DfnsStaff"},
        {"email": "tenant@example.com", "kind": "TenantUser"},
        {"email": "no mail address", "kind": "CustomerEmployee"},
        {"email": "", "kind": "EndUser"},
        {"email": "holder", "kind": "EndUser", "registration": "Direct"},
        {"email": "holder", "kind": "EndUser", "externalId": ""},
        {"email": "holder", "kind": "EndUser", "externalId": "x" * 257},
        {"email": "holder", "kind": "EndUser", "isSSORequired": "true"},
        {"kind": "EndUser"},
    ],
)
def test_a_user_that_cannot_be_is_refused(admin: Caller, body: dict[str, Any]) -> None:
    assert code(admin.signed("POST", "/auth/users", body)) == "VALIDATION"


@pytest.mark.parametrize(
    "members",
    [
        {"daysValid": 0},
        {"daysValid": 731},
        {"daysValid": -1},
        {"daysValid": 1.5},
        {"secondsValid": 0},
        {"secondsValid": 730 * 86_400 + 1},
        {"secondsValid": True},
        {"name": ""},
        {"name": "a\u200bb"},
        {"name": "x" * 255},
    ],
)
def test_a_token_that_cannot_be_is_refused(admin: Caller, members: dict[str, Any]) -> None:
    body = {"name": "cannot be", "publicKey": new_public_key(), **members}
    assert code(admin.signed("POST", "/auth/pats", body)) == "VALIDATION"


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=-1", "limit=x", "kind=Nobody", "paginationToken=x", "what=1", "kind="]
)
def test_a_list_query_that_means_nothing_is_refused(admin: Caller, query: str) -> None:
    assert code(admin.send("GET", f"/auth/users?{query}")) == "VALIDATION"


def test_the_last_administrator_of_an_organisation_stays(shared_tenants: Tenants) -> None:
    founder = shared_tenants.organisation()
    path = f"/auth/users/{founder.user_id}"
    with connected(founder) as caller:
        for method, where in (("PUT", f"{path}/deactivate"), ("DELETE", path)):
            answer = caller.signed(method, where)
            assert (answer.status_code, code(answer)) == (412, "LAST_ADMINISTRATOR")
        shared_tenants.session(founder.org_id, everything=True)
        assert caller.signed("PUT", f"{path}/deactivate").json()["isActive"] is False
        assert caller.send("DELETE", path).status_code in (401, 403)
