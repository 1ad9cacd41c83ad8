"""Registration and login of end users with ID tokens of a real provider, and with tokens that should not count."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from countersign.api import ApiError
from countersign.federation import Identity
from countersign.identity import federated_logins, provider_administration, providers
from countersign.identity.federated_logins import Visit
from countersign.identity.new_credentials import Circumstances
from countersign.identity.registration import Person
from tests.support.answers import refusal
from tests.support.caller import Caller
from tests.support.enrolment import NewKey
from tests.support.entering import invited, public
from tests.support.id_tokens import BAD_TOKENS, Forger
from tests.support.identity_provider import APP, APP_EDDSA, APP_ES256, SSO
from tests.support.trusting import Trusting

_NUMBER = itertools.count(1)


@pytest.fixture(scope="module", autouse=True)
def _apps(trusting: Trusting) -> None:
    for app in (APP, APP_ES256, APP_EDDSA):
        trusting.trust("Social", app)


@pytest.fixture
def eve(trusting: Trusting) -> str:
    """Somebody whom nobody but the provider knows."""
    name = f"eve{next(_NUMBER)}"
    trusting.provider.accounts({name: {"email": f"{name}@example.com", "email_verified": True}})
    return name


@pytest.fixture
def program(trusting: Trusting) -> Iterator[Caller]:
    with trusting.server.caller(trusting.server.service) as caller:
        yield caller


def finish(trusting: Trusting, begun: httpx.Response, key: NewKey) -> httpx.Response:
    """Complete a registration."""
    assert begun.status_code == 200, begun.text
    challenge = begun.json()
    first = {"credentialKind": "Key", "credentialInfo": key.info(challenge["challenge"])}
    body = {"firstFactorCredential": first, "wallets": []}
    token = challenge["temporaryAuthenticationToken"]
    return public(trusting.admin, "POST", "/auth/registration/enduser", body, token)


def token_for(trusting: Trusting, subject: str) -> str:
    """A fresh ID token for the app, as its provider signs it."""
    return trusting.provider.forge(trusting.provider.claims(subject))


def registered(trusting: Trusting, subject: str, key: NewKey | None = None) -> str:
    """The id of a new end user."""
    begun = trusting.social(token_for(trusting, subject), "registration")
    done = finish(trusting, begun, key or NewKey())
    assert done.status_code == 200, done.text
    user_id: str = done.json()["user"]["id"]
    return user_id


@pytest.mark.parametrize("app", [APP, APP_ES256, APP_EDDSA])
def test_an_end_user_registers_and_logs_in(trusting: Trusting, eve: str, app: str) -> None:
    first, key = trusting.provider.id_token(eve, app), NewKey()
    assert refusal(trusting.social(first)) == (401, "USER_NOT_FOUND")
    # What was refused is not used up: the same token begins the registration.
    begun = trusting.social(first, "registration")
    done = finish(trusting, begun, key)
    assert done.status_code == 200, done.text
    assert trusting.who(done.json()["authentication"]["token"]).status_code == 200
    entered = trusting.social(trusting.provider.id_token(eve, app))
    assert entered.status_code == 200, entered.text
    shown = trusting.who(entered.json()["token"]).json()["items"]
    assert [item["credentialId"] for item in shown] == [key.credential_id]
    user = trusting.admin.send("GET", f"/auth/users/{done.json()['user']['id']}").json()
    assert (user["kind"], user["name"], user["isRegistered"]) == ("EndUser", f"{eve}@example.com", True)
    assert user["username"] == begun.json()["user"]["name"] != user["name"]


def test_threat_49_an_id_token_is_good_once(trusting: Trusting, eve: str) -> None:
    first = token_for(trusting, eve)
    assert finish(trusting, trusting.social(first, "registration"), NewKey()).status_code == 200
    for what in ("login", "registration"):
        assert refusal(trusting.social(first, what)) == (401, "IDENTITY_REFUSED")
    second = token_for(trusting, eve)
    assert trusting.social(second).status_code == 200
    assert refusal(trusting.social(second)) == (401, "IDENTITY_REFUSED")
    # The same signed text with another signature is the same token.
    es256 = trusting.provider.keys["ES256"]
    claims = trusting.provider.claims(eve, aud=APP_ES256)
    twice = [trusting.provider.forge(claims, {"alg": "ES256"}, es256) for _ in range(2)]
    assert twice[0] != twice[1]
    assert trusting.social(twice[0]).status_code == 200
    assert refusal(trusting.social(twice[1])) == (401, "IDENTITY_REFUSED")


def test_threat_49_what_no_provider_said_of_this_app_is_refused(trusting: Trusting, eve: str) -> None:
    user_id = registered(trusting, eve)
    provider = trusting.provider
    forger = Forger(provider.keys, provider.issuer, APP, eve, trusting.server.world.now() // 1000)
    for name, make in BAD_TOKENS.items():
        for what in ("login", "registration"):
            answer = trusting.social(make(forger), what)
            assert refusal(answer) in ((401, "IDENTITY_REFUSED"), (400, "VALIDATION")), (name, answer.text)
    assert trusting.social(forger.token()).status_code == 200, "the one that nothing is wrong with"
    sessions = trusting.tenants.execute("SELECT name FROM tokens WHERE user_id = ?", user_id)
    assert sorted(row[0] for row in sessions) == ["registration", "social login"]


def test_an_app_may_ask_for_a_token_for_its_server_where_both_are_trusted(trusting: Trusting, eve: str) -> None:
    registered(trusting, eve)
    asked = trusting.provider.forge(trusting.provider.claims(eve, aud=APP, azp=APP_ES256))
    assert trusting.social(asked).status_code == 200
    # Or for one that is for both: no organisation is left to be named.
    asked = trusting.provider.forge(trusting.provider.claims(eve, aud=[APP, APP_ES256], azp=APP_ES256))
    assert trusting.social(asked, orgId=None).status_code == 200


def test_threat_49_a_mail_address_takes_nobody_over(trusting: Trusting, eve: str) -> None:
    employee = invited(trusting.admin, f"{eve}@example.com")
    user_id = registered(trusting, eve)
    assert user_id != employee["userId"]
    other = f"other {eve}"
    trusting.provider.accounts({other: {"email": f"{eve}@example.com", "email_verified": True}})
    assert refusal(trusting.social(trusting.provider.id_token(other))) == (401, "USER_NOT_FOUND")


def test_an_address_that_is_not_verified_is_not_shown(trusting: Trusting, eve: str) -> None:
    trusting.provider.accounts({eve: {"email": "president@example.com", "email_verified": False}})
    begun = trusting.social(trusting.provider.id_token(eve), "registration").json()
    assert begun["user"]["displayName"] == begun["user"]["name"] != "president@example.com"


def test_a_registration_is_begun_again_until_it_is_complete(trusting: Trusting, eve: str) -> None:
    lost = trusting.social(token_for(trusting, eve), "registration")
    again = trusting.social(token_for(trusting, eve), "registration")
    assert again.json()["user"] == lost.json()["user"]
    assert refusal(finish(trusting, lost, NewKey())) == (400, "CHALLENGE_INVALID")
    assert refusal(trusting.social(token_for(trusting, eve))) == (401, "USER_NOT_FOUND")
    assert finish(trusting, again, NewKey()).status_code == 200
    assert refusal(finish(trusting, again, NewKey())) == (401, "USER_EXISTS")
    assert refusal(trusting.social(token_for(trusting, eve), "registration")) == (401, "USER_EXISTS")


def test_two_registrations_of_one_identity_at_once_make_one_user(trusting: Trusting, eve: str) -> None:
    services = trusting.server.runtime.services
    provider = trusting.run(lambda: providers.for_end_users(_claimed(trusting), trusting.org_id))[0]
    ends_at = services.world.now() // 1000 + 60

    def coming(number: int) -> Any:
        identity = Identity(trusting.provider.issuer, eve, None, f"{eve} {number}", ends_at)
        who = Visit(provider, identity, Circumstances("in-test", "of a test", "127.0.0.1"))
        return lambda: federated_logins.begin_registration(who, f"uj-of {eve} {number}", services.world)

    async def all_at_once() -> list[Any]:
        writing = (services.database.write(coming(number)) for number in range(4))
        return await asyncio.gather(*writing, return_exceptions=True)

    came = trusting.server.runner.run(all_at_once())
    people = [each for each in came if isinstance(each, Person)]
    assert len({each.user_id for each in people}) == 1
    assert all(each.code == "CONFLICT" for each in came if isinstance(each, ApiError)), came
    made = trusting.tenants.execute("SELECT user_id FROM federated_identities WHERE subject = ?", eve)
    assert len(made) == 1


def _claimed(trusting: Trusting) -> Any:
    from countersign.federation import Claimed

    return Claimed(trusting.provider.issuer, (APP,))


def test_who_is_deactivated_or_archived_stays_out(trusting: Trusting, eve: str) -> None:
    path = f"/auth/users/{registered(trusting, eve)}"
    assert trusting.admin.signed("PUT", f"{path}/deactivate", {}).status_code == 200
    assert refusal(trusting.social(token_for(trusting, eve))) == (400, "USER_DEACTIVATED")
    assert trusting.admin.signed("DELETE", path).status_code == 200
    # Neither before they have registered nor afterwards.
    for _ in range(2):
        assert refusal(trusting.social(token_for(trusting, eve))) == (401, "USER_NOT_FOUND")
        assert refusal(trusting.social(token_for(trusting, eve), "registration")) == (401, "USER_EXISTS")
        name = f"{eve}@example.com"
        trusting.tenants.execute("UPDATE users SET is_registered = 1 WHERE username = ?", name)


def test_a_service_account_does_not_register_in_their_place(trusting: Trusting, program: Caller, eve: str) -> None:
    name = trusting.social(token_for(trusting, eve), "registration").json()["user"]["name"]
    for path in ("/auth/registration/delegated", "/auth/registration/delegated/restart"):
        assert refusal(program.signed("POST", path, {"email": name, "kind": "EndUser"})) == (403, "FORBIDDEN")


def test_employees_do_not_come_in_by_id_tokens(trusting: Trusting, eve: str) -> None:
    invited(trusting.admin, f"{eve}@example.com")
    code, state = trusting.sign_in(eve)
    assert trusting.complete(code, state).status_code == 200
    # Neither before they have registered nor afterwards.
    for _ in range(2):
        assert refusal(trusting.social(token_for(trusting, eve))) == (401, "USER_NOT_FOUND")
        assert refusal(trusting.social(token_for(trusting, eve), "registration")) == (401, "USER_EXISTS")
        name = f"{eve}@example.com"
        trusting.tenants.execute("UPDATE users SET is_registered = 1 WHERE username = ?", name)
    of_sso = trusting.provider.forge(trusting.provider.claims(eve, aud=SSO))
    assert refusal(trusting.social(of_sso)) == (401, "IDENTITY_REFUSED")


def test_end_users_do_not_come_in_by_single_sign_on_with_their_identity(trusting: Trusting, eve: str) -> None:
    registered(trusting, eve)
    assert refusal(trusting.complete(*trusting.sign_in(eve))) == (401, "USER_NOT_FOUND")


def test_the_organisation_is_found_by_the_client_unless_several_trust_it(trusting: Trusting, eve: str) -> None:
    registered(trusting, eve)
    assert trusting.social(token_for(trusting, eve), orgId=None).status_code == 200
    other = trusting.tenants.organisation()
    provider_id = trusting.trust("Social", APP, org_id=other.org_id)
    refused = trusting.social(token_for(trusting, eve), orgId=None)
    assert refusal(refused) == (400, "VALIDATION")
    assert trusting.social(token_for(trusting, eve)).status_code == 200
    assert refusal(trusting.social(token_for(trusting, eve), orgId=other.org_id)) == (401, "USER_NOT_FOUND")
    trusting.run(lambda: provider_administration.remove(provider_id, trusting.server.world))
    elsewhere = trusting.social(token_for(trusting, eve), orgId=other.org_id)
    assert refusal(elsewhere) == (401, "IDENTITY_REFUSED")


def test_keys_that_the_provider_withdrew_count_ten_minutes_at_most(trusting: Trusting, eve: str) -> None:
    registered(trusting, eve)
    old = trusting.provider.keys["RS256"]
    trusting.provider.rotate()
    clock, provider = trusting.server.clock, trusting.provider
    clock.move(seconds=601)
    now = trusting.server.world.now() // 1000
    claims = provider.claims(eve, iat=now, exp=now + 60)
    assert refusal(trusting.social(provider.forge(claims, key=old))) == (401, "IDENTITY_REFUSED")
    assert trusting.social(provider.forge(claims)).status_code == 200
    clock.move(seconds=-601)
