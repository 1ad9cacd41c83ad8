"""Single sign-on of employees at a real provider: who comes in, how often, and what is refused."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from countersign.api import ApiError
from countersign.federation import Identity, IdentityProviders, authorisation_url, new_sign_in, state_digest
from countersign.identity import federated_logins, provider_administration, providers, sessions, users
from countersign.identity.federated_logins import Entered, Visit
from countersign.identity.new_credentials import Circumstances
from countersign.storage import Transaction
from tests.support.answers import refusal
from tests.support.caller import Caller
from tests.support.enrolment import NewKey
from tests.support.entering import identified, invited, letters, public, registered
from tests.support.identity_provider import BACK, OTHER_BACK, SECRET, SSO, SSO_POST, SSO_PUBLIC, query_of
from tests.support.interleaving import before_it_commits
from tests.support.trusting import Trusting

_NUMBER = itertools.count(1)


@pytest.fixture
def ada(trusting: Trusting) -> str:
    """Somebody who is invited, and whom the provider knows: the subject, and the name in the mail address."""
    name = f"ada{next(_NUMBER)}"
    invited(trusting.admin, f"{name}@example.com")
    known(trusting, name)
    return name


def known(trusting: Trusting, subject: str, mail: str | None = None, *, verified: Any = True) -> None:
    """Let the provider know this one."""
    claims = {"email": mail or f"{subject}@example.com", "email_verified": verified}
    trusting.provider.accounts({subject: claims})


def enter(trusting: Trusting, subject: str, flow: str = "sso", **members: Any) -> httpx.Response:
    """A whole sign-in."""
    code, state = trusting.sign_in(subject, flow, **members)
    return trusting.complete(code, state, flow)


def token_of(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["token"]
    return token


def user_of(trusting: Trusting, name: str) -> str:
    rows = trusting.tenants.execute("SELECT user_id FROM users WHERE username = ?", f"{name}@example.com")
    return str(rows[0][0])


def links(trusting: Trusting, user_id: str) -> list[tuple[str, str]]:
    rows = trusting.tenants.execute("SELECT issuer, subject FROM federated_identities WHERE user_id = ?", user_id)
    return [tuple(row) for row in rows]


@contextmanager
def later(trusting: Trusting, seconds: float) -> Iterator[None]:
    trusting.server.clock.move(seconds=seconds)
    try:
        yield
    finally:
        trusting.server.clock.move(seconds=-seconds)


@pytest.mark.parametrize("flow", ["sso", "oidc"])
def test_an_invited_employee_is_linked_once_and_known_by_issuer_and_subject_from_then_on(
    trusting: Trusting, ada: str, flow: str
) -> None:
    session = token_of(enter(trusting, ada, flow))
    assert trusting.who(session).json() == {"items": []}
    user_id = user_of(trusting, ada)
    assert links(trusting, user_id) == [(trusting.provider.issuer, ada)]
    known(trusting, ada, "somewhere@else.example", verified=False)
    again = token_of(enter(trusting, ada, flow))
    assert again != session
    sessions = trusting.tenants.execute("SELECT user_id FROM tokens WHERE user_id = ?", user_id)
    assert len(sessions) == 2
    told = [
        json.loads(row[0])["details"]
        for row in trusting.tenants.execute("SELECT entry FROM audit_entries WHERE org_id = ?", trusting.org_id)
        if json.loads(row[0]).get("event") == "IdentityLinked"
    ]
    assert [each["subject"] for each in told].count(ada) == 1
    written = [letter.kind for letter in letters(trusting.server, f"{ada}@example.com")]
    assert written == ["Invitation", "IdentityLinked"]


def test_threat_49_a_mail_address_that_changed_hands_opens_nothing(trusting: Trusting, ada: str) -> None:
    token_of(enter(trusting, ada))
    heir = f"heir of {ada}"
    known(trusting, heir, f"{ada}@example.com")
    assert refusal(enter(trusting, heir)) == (401, "USER_NOT_FOUND")


# The second is written with the sign of the unit Kelvin, the third in letters of full width: both fold to the address.
@pytest.mark.parametrize(
    "mail", ["{}@example.org", "\u212a{}@example.com", "{}@\uff45xample.com", "{}@example.com\u200b"]
)
def test_threat_49_another_address_is_not_the_one_that_was_invited(trusting: Trusting, mail: str) -> None:
    name = f"ada{next(_NUMBER)}"
    spelled = mail.format(name)
    invited(trusting.admin, f"{'k' if not spelled.startswith('ada') else ''}{name}@example.com")
    known(trusting, name, spelled)
    assert refusal(enter(trusting, name)) == (401, "USER_NOT_FOUND")


@pytest.mark.parametrize("verified", [False, None, "false", 1])
def test_threat_49_an_address_that_the_provider_did_not_verify_finds_nobody(
    trusting: Trusting, ada: str, verified: Any
) -> None:
    known(trusting, ada, verified=verified)
    assert refusal(enter(trusting, ada)) == (401, "USER_NOT_FOUND")


def test_the_case_of_an_address_and_a_flag_as_text_do_not_matter(trusting: Trusting, ada: str) -> None:
    known(trusting, ada, f"{ada.upper()}@Example.COM", verified="true")
    token_of(enter(trusting, ada))


def test_end_users_do_not_come_in_by_single_sign_on(trusting: Trusting) -> None:
    name = f"end{next(_NUMBER)}"
    invited(trusting.admin, f"{name}@example.com", kind="EndUser")
    known(trusting, name)
    assert refusal(enter(trusting, name)) == (401, "USER_NOT_FOUND")


def test_who_is_deactivated_or_archived_stays_out(trusting: Trusting, ada: str) -> None:
    session = token_of(enter(trusting, ada))
    path = f"/auth/users/{user_of(trusting, ada)}"
    assert trusting.admin.signed("PUT", f"{path}/deactivate", {}).status_code == 200
    assert trusting.who(session).status_code == 401
    assert refusal(enter(trusting, ada)) == (400, "USER_DEACTIVATED")
    assert trusting.admin.signed("DELETE", path).status_code == 200
    assert refusal(enter(trusting, ada)) == (401, "USER_NOT_FOUND")


def test_threat_50_a_state_is_good_once_for_its_flow_and_for_ten_minutes(trusting: Trusting, ada: str) -> None:
    code, state = trusting.sign_in(ada)
    for other in (state[:-1], state + "A", "A" * 43):
        assert refusal(trusting.complete(code, other)) == (400, "SIGN_IN_INVALID")
    assert refusal(trusting.complete(code, state, "oidc")) == (400, "SIGN_IN_INVALID")
    token_of(trusting.complete(code, state))
    assert refusal(trusting.complete(code, state)) == (400, "SIGN_IN_INVALID")
    code, state = trusting.sign_in(ada)
    with later(trusting, 601):
        assert refusal(trusting.complete(code, state)) == (400, "SIGN_IN_INVALID")


def test_threat_50_of_two_who_come_with_one_state_at_once_one_gets_it(trusting: Trusting, ada: str) -> None:
    services = trusting.server.runtime.services
    _, state = trusting.sign_in(ada)

    async def both() -> list[Any]:
        taking = (
            services.database.write(lambda: providers.take(services.ring, "sso", state, services.world.now()))
            for _ in range(8)
        )
        return await asyncio.gather(*taking)

    taken = trusting.server.runner.run(both())
    assert len([each for each in taken if each is not None]) == 1


def test_threat_50_the_code_of_another_sign_in_is_of_no_use(trusting: Trusting, ada: str) -> None:
    stolen, _ = trusting.sign_in(ada)
    code, state = trusting.sign_in(ada)
    assert refusal(trusting.complete(stolen, state)) == (401, "IDENTITY_REFUSED")
    assert refusal(trusting.complete(code, state)) == (400, "SIGN_IN_INVALID")


@pytest.mark.parametrize(
    "members",
    [
        {"redirectUri": OTHER_BACK},
        {"redirectUri": f"{BACK}/"},
        {"redirectUri": f"{BACK}?next=https://evil.example"},
        {"redirectUri": BACK.upper()},
        {"redirectUri": "https://app.example.evil.example/back"},
        {"clientId": "another"},
        {"orgId": "or-00000-00000-0000000000000000"},
    ],
)
def test_threat_50_only_what_is_on_the_list_begins_a_sign_in(trusting: Trusting, members: dict[str, str]) -> None:
    assert refusal(trusting.begin(**members)) == (403, "SSO_NOT_OFFERED")
    if "clientId" not in members:
        assert refusal(trusting.begin("oidc", **members)) == (403, "SSO_NOT_OFFERED")


def test_a10_whatever_is_wrong_with_the_beginning_of_a_sign_in_is_answered_alike(trusting: Trusting) -> None:
    answers = []
    for members in ({"redirectUri": OTHER_BACK}, {"clientId": "another"}, {"orgId": "or-00000-00000-0000000000000000"}):
        body = trusting.begin(**members).json()
        del body["error"]["id"]
        answers.append(body)
    assert answers[0] == answers[1] == answers[2]


def test_a12_an_organisation_that_is_not_active_lets_nobody_in_this_way(trusting: Trusting, ada: str) -> None:
    code, state = trusting.sign_in(ada)
    state_of = "UPDATE organisations SET is_active = ? WHERE org_id = ?"
    trusting.tenants.execute(state_of, 0, trusting.org_id)
    try:
        assert refusal(trusting.complete(code, state)) == (401, "IDENTITY_REFUSED")
        assert refusal(trusting.begin()) == (403, "SSO_NOT_OFFERED")
    finally:
        trusting.tenants.execute(state_of, 1, trusting.org_id)


def test_what_a_browser_is_sent_with(trusting: Trusting) -> None:
    first = query_of(trusting.begin().json()["ssoRedirectUrl"])
    second = query_of(trusting.begin("oidc", nonce="chosen-by-the-client").json()["redirectUrl"])
    assert first.keys() == second.keys()
    assert (first["response_type"], first["code_challenge_method"], first["redirect_uri"]) == ("code", "S256", BACK)
    assert second["nonce"] == "chosen-by-the-client"
    fresh = ("state", "nonce", "code_challenge")
    assert len({query[name] for query in (first, second) for name in fresh}) == 6
    assert len(first["state"]) == 43
    with_tenant = trusting.begin(tenantId="te-00000-00000-0000000000000000")
    assert refusal(with_tenant) == (400, "VALIDATION")


def test_nothing_of_a_sign_in_is_in_the_database_to_be_read(trusting: Trusting) -> None:
    sent = query_of(trusting.begin().json()["ssoRedirectUrl"])
    rows = trusting.tenants.execute("SELECT * FROM sign_ins")
    rows += trusting.tenants.execute("SELECT * FROM identity_providers")
    text = b"|".join(value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row)
    assert state_digest(sent["state"]).encode() in text
    for secret in (sent["state"], sent["nonce"], SECRET):
        assert secret.encode() not in text


def test_the_organisation_may_be_left_out_where_there_is_one(trusting: Trusting, ada: str) -> None:
    token_of(enter(trusting, ada, orgId=None))


def test_a_client_proves_itself_with_its_secret_if_it_has_one(trusting: Trusting, ada: str) -> None:
    ids = [trusting.trust("Sso", SSO_PUBLIC, OTHER_BACK), trusting.trust("Sso", SSO_POST, OTHER_BACK, secret="wrong")]
    token_of(enter(trusting, ada, clientId=SSO_PUBLIC, redirectUri=OTHER_BACK))
    code, state = trusting.sign_in(ada, clientId=SSO_POST, redirectUri=OTHER_BACK)
    assert refusal(trusting.complete(code, state)) == (401, "IDENTITY_REFUSED")
    services = trusting.server.runtime.services
    trusting.run(lambda: provider_administration.set_secret(ids[1], SECRET, services.ring, services.world))
    token_of(enter(trusting, ada, clientId=SSO_POST, redirectUri=OTHER_BACK))
    for each in ids:
        trusting.run(lambda provider_id=each: provider_administration.remove(provider_id, services.world))


def test_a_provider_that_is_trusted_no_longer_lets_nobody_in(trusting: Trusting, ada: str) -> None:
    services, world = trusting.server.runtime.services, trusting.server.world
    provider_id = trusting.trust("Sso", SSO_PUBLIC, OTHER_BACK)
    members = {"clientId": SSO_PUBLIC, "redirectUri": OTHER_BACK}
    provider = trusting.run(lambda: providers.for_sign_in(trusting.org_id, OTHER_BACK, SSO_PUBLIC))
    who = replace(visit(trusting, ada, None, f"{ada} too late"), provider=provider)
    entered = enter(trusting, ada, "oidc", redirectUri=OTHER_BACK).json()
    code, state = trusting.sign_in(ada, **members)
    trusting.run(lambda: provider_administration.remove(provider_id, world))
    assert refusal(trusting.complete(code, state)) == (400, "SIGN_IN_INVALID")
    assert refusal(trusting.begin(**members)) == (403, "SSO_NOT_OFFERED")
    # Nor who was on the way while it was removed; and what it said of people before counts for nothing either.
    with pytest.raises(ApiError, match="IDENTITY_REFUSED"):
        trusting.run(lambda: federated_logins.log_in_employee(who, services.ring, 60, None, world))
    registering = trusting.post("/auth/login/oidc/credentials", **credential(entered["credentialChallenge"], NewKey()))
    assert refusal(registering) == (400, "CHALLENGE_INVALID")
    with later(trusting, 1):
        assert trusting.who(entered["token"]).status_code == 401


def test_threat_50_a_redirect_uri_that_was_taken_off_the_list_ends_a_sign_in(trusting: Trusting, ada: str) -> None:
    world = trusting.server.world
    provider_id = trusting.trust("Sso", SSO_PUBLIC, BACK, OTHER_BACK)
    code, state = trusting.sign_in(ada, clientId=SSO_PUBLIC, redirectUri=OTHER_BACK)
    trusting.run(lambda: provider_administration.forbid_redirect(provider_id, OTHER_BACK, world))
    assert refusal(trusting.complete(code, state)) == (400, "SIGN_IN_INVALID")
    trusting.run(lambda: provider_administration.remove(provider_id, world))


def test_a_provider_that_is_down_is_told_as_such(trusting: Trusting) -> None:
    provider_id = trusting.trust("Sso", "down", OTHER_BACK, issuer="http://127.0.0.1:9")
    members = {"clientId": "down", "redirectUri": OTHER_BACK}
    assert refusal(trusting.begin(**members)) == (503, "IDENTITY_PROVIDER_UNAVAILABLE")
    trusting.run(lambda: provider_administration.remove(provider_id, trusting.server.world))


def test_a_provider_changes_its_keys(trusting: Trusting, ada: str) -> None:
    token_of(enter(trusting, ada))
    trusting.provider.rotate()
    with later(trusting, 11):
        token_of(enter(trusting, ada))


def visit(trusting: Trusting, subject: str, mail: str | None, digest: str) -> Visit:
    """Somebody whom the provider has vouched for."""
    provider = trusting.run(lambda: providers.for_sign_in(trusting.org_id, BACK, SSO))
    ends_at = trusting.server.world.now() // 1000 + 60
    identity = Identity(trusting.provider.issuer, subject, mail, digest, ends_at)
    return Visit(provider, identity, Circumstances("in-test", "of a test", "127.0.0.1"))


def test_two_first_sign_ins_at_once_make_one_link(trusting: Trusting, ada: str) -> None:
    services, mail = trusting.server.runtime.services, f"{ada}@example.com"

    def coming(subject: str, digest: str) -> Any:
        who = visit(trusting, subject, mail, digest)
        return lambda: federated_logins.log_in_employee(who, services.ring, 60, None, services.world)

    comers = [coming(ada, f"{ada}1"), coming(ada, f"{ada}2"), coming(f"other {ada}", f"{ada}3")]

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*(services.database.write(each) for each in comers), return_exceptions=True)

    came = trusting.server.runner.run(all_at_once())
    assert len(links(trusting, user_of(trusting, ada))) == 1
    entered = [each for each in came if isinstance(each, Entered)]
    refused = [each.code for each in came if isinstance(each, ApiError)]
    assert (len(entered), refused) in ((2, ["USER_NOT_FOUND"]), (1, ["USER_NOT_FOUND"] * 2))


@pytest.mark.parametrize(
    ("ending", "doing"),
    [
        ("remove", "comes in"),
        ("remove", "exchanges"),
        ("unlink", "comes in"),
        ("unlink", "exchanges"),
        ("deactivate", "comes in"),
    ],
)
def test_who_comes_in_as_the_trust_ends_has_a_session_that_ends(
    trusting: Trusting, ada: str, ending: str, doing: str
) -> None:
    if not trusting.tenants.url.startswith("postgresql"):
        pytest.skip("on SQLite one transaction follows the other")
    services, provider_id = trusting.server.runtime.services, trusting.trust("Sso", SSO_PUBLIC, OTHER_BACK)
    first = token_of(enter(trusting, ada, clientId=SSO_PUBLIC, redirectUri=OTHER_BACK))
    caller = identified(trusting.server, first)
    provider = trusting.run(lambda: providers.for_sign_in(trusting.org_id, OTHER_BACK, SSO_PUBLIC))
    who = replace(visit(trusting, ada, None, f"{ada} {ending} {doing}"), provider=provider)
    ends: dict[str, Callable[[], Transaction[Any]]] = {
        "remove": lambda: provider_administration.remove(provider_id, services.world),
        "unlink": lambda: provider_administration.unlink(f"{ada}@example.com", services.world),
        "deactivate": lambda: users.deactivate(trusting.org_id, caller.user_id),
    }
    does: dict[str, Callable[[], Transaction[Any]]] = {
        "comes in": lambda: federated_logins.log_in_employee(who, services.ring, 60, None, services.world),
        "exchanges": lambda: sessions.exchange(services.ring, caller, services.world),
    }
    trusting.server.runner.run(before_it_commits(services.database, trusting.tenants.url, does[doing], ends[ending]))
    states = trusting.tenants.execute("SELECT state FROM tokens WHERE user_id = ?", user_of(trusting, ada))
    assert [row[0] for row in states] == ["Archived", "Archived"]
    if ending != "remove":
        trusting.run(lambda: provider_administration.remove(provider_id, services.world))


def test_threat_49_an_id_token_is_good_once_here_too(trusting: Trusting, ada: str) -> None:
    services = trusting.server.runtime.services
    who = visit(trusting, ada, f"{ada}@example.com", f"{ada} once")

    def come() -> Transaction[Entered]:
        return federated_logins.log_in_employee(who, services.ring, 60, None, services.world)

    trusting.run(come)
    with pytest.raises(ApiError) as refused:
        trusting.run(come)
    assert refused.value.code == "IDENTITY_REFUSED"
    trusting.run(lambda: providers.forget(services.world.now() + 30 * 60_000))
    with pytest.raises(ApiError):
        trusting.run(come)


def credential(challenge: dict[str, Any], new: NewKey, kind: str = "Key", **members: Any) -> dict[str, Any]:
    return {
        "credentialKind": kind,
        "credentialInfo": new.info(challenge["challenge"]),
        "credentialName": "first",
        "challengeIdentifier": challenge["challengeIdentifier"],
        **members,
    }


def test_who_has_no_credential_registers_the_first_one_after_signing_in(trusting: Trusting, ada: str) -> None:
    lost = enter(trusting, ada, "oidc").json()["credentialChallenge"]
    entered = enter(trusting, ada, "oidc").json()
    challenge = entered["credentialChallenge"]
    assert challenge["user"]["id"] == user_of(trusting, ada)
    new, path = NewKey(), "/auth/login/oidc/credentials"
    assert refusal(trusting.post(path, **credential(lost, new))) == (400, "CHALLENGE_INVALID")
    assert refusal(trusting.post(path, **credential(challenge, new, "RecoveryKey"))) == (400, "VALIDATION")
    made = trusting.post(path, **credential(challenge, new))
    assert made.status_code == 200, made.text
    assert made.json()["credentialId"] == new.credential_id
    assert refusal(trusting.post(path, **credential(challenge, NewKey()))) == (401, "USER_EXISTS")
    with session_of(trusting, entered["token"], new) as person:
        assert [item["credentialId"] for item in person.send("GET", "/auth/credentials").json()["items"]] == [
            new.credential_id
        ]
        assert person.signed("PUT", "/auth/credentials/activate", {"credentialUuid": made.json()["credentialUuid"]})
    assert "credentialChallenge" not in enter(trusting, ada, "oidc").json()
    challenge = trusting.post("/auth/login/init", username=f"{ada}@example.com", orgId=trusting.org_id).json()
    answer = {
        "challengeIdentifier": challenge["challengeIdentifier"],
        "firstFactor": new.factor(challenge["challenge"]),
    }
    token_of(trusting.post("/auth/login", **answer))


@contextmanager
def session_of(trusting: Trusting, token: str, key: NewKey) -> Iterator[Caller]:
    """Somebody with a session, who signs with this key."""
    with trusting.server.caller({**trusting.admin.connection, "authToken": token}) as caller:
        caller.credential_id = key.credential_id
        caller.key = key.key
        yield caller


def test_a_registration_by_code_and_one_after_a_sign_in_void_each_other(trusting: Trusting, ada: str) -> None:
    challenge = enter(trusting, ada, "oidc").json()["credentialChallenge"]
    asked = {"username": f"{ada}@example.com", "orgId": trusting.org_id}
    assert trusting.admin.http.request("PUT", "/auth/registration/code", json=asked).status_code == 200
    letters(trusting.server, asked["username"])  # once they are written, the code is there
    refused = trusting.post("/auth/login/oidc/credentials", **credential(challenge, NewKey()))
    assert refusal(refused) == (400, "CHALLENGE_INVALID")


def test_a_token_of_this_purpose_is_taken_nowhere_else(trusting: Trusting, ada: str) -> None:
    challenge, new = enter(trusting, ada, "oidc").json()["credentialChallenge"], NewKey()
    first = {"credentialKind": "Key", "credentialInfo": new.info(challenge["challenge"])}
    body, token = {"firstFactorCredential": first}, challenge["temporaryAuthenticationToken"]
    registering = public(trusting.admin, "POST", "/auth/registration", body, token)
    assert refusal(registering) == (401, "UNAUTHENTICATED")
    verifying = trusting.post("/auth/credentials/code/verify", **credential(challenge, new))
    assert refusal(verifying) == (400, "CHALLENGE_INVALID")


def test_who_must_sign_in_there_is_told_the_client(trusting: Trusting) -> None:
    name, key = f"ada{next(_NUMBER)}@example.com", NewKey()
    user_id = registered(trusting.server, trusting.admin, name, key)["user"]["id"]
    required = {"isSSORequired": True}
    assert trusting.admin.signed("PUT", f"/auth/users/{user_id}", required).json()["isSSORequired"] is True
    challenge = trusting.post("/auth/login/init", username=name, orgId=trusting.org_id).json()
    answer = {
        "challengeIdentifier": challenge["challengeIdentifier"],
        "firstFactor": key.factor(challenge["challenge"]),
    }
    answered = trusting.post("/auth/login", **answer)
    assert (answered.status_code, answered.json()) == (200, {"ssoClientId": SSO})
    known(trusting, "one", name)
    session = token_of(enter(trusting, "one", clientId=answered.json()["ssoClientId"]))
    with session_of(trusting, session, key) as person:
        assert len(person.send("GET", "/auth/credentials").json()["items"]) == 1


def test_threat_50_an_id_token_of_another_sign_in_is_told_by_its_nonce(trusting: Trusting, ada: str) -> None:
    services = trusting.server.runtime.services
    provider = trusting.run(lambda: providers.for_sign_in(trusting.org_id, BACK, SSO))
    metadata = trusting.server.runner.run(services.get(IdentityProviders).metadata(provider.issuer))
    begun = new_sign_in(services.world)
    code, state = trusting.provider.sign_in(authorisation_url(metadata, SSO, BACK, begun), ada)
    kept, expires_at = replace(begun, nonce="another"), services.world.now() + 600_000
    trusting.run(lambda: providers.begin(services.ring, provider, "sso", BACK, kept, expires_at))
    assert refusal(trusting.complete(code, state)) == (401, "IDENTITY_REFUSED")
