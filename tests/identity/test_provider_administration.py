"""What an operator says about identity providers: whom to trust, where to come back to, who is who."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from countersign.identity import provider_administration as administration
from countersign.identity.local_commands import Impossible
from countersign.identity.provider_administration import NewProvider
from countersign.outgoing import Rules
from countersign.storage import Transaction
from tests.support.answers import refusal
from tests.support.entering import invited
from tests.support.identity_provider import BACK, OTHER_BACK, SECRET, SSO, SSO_PUBLIC
from tests.support.trusting import RULES, Trusting

Change = Callable[..., Transaction[Any]]


def change(trusting: Trusting, make: Change, *arguments: str) -> Any:
    """A command that changes something."""
    return trusting.run(lambda: make(*arguments, trusting.server.world))


def impossible(trusting: Trusting, make: Change, *arguments: str) -> str:
    with pytest.raises(Impossible) as refused:
        change(trusting, make, *arguments)
    return str(refused.value)


def events(trusting: Trusting) -> list[tuple[str, dict[str, str]]]:
    """What the log tells of the server's own doing, oldest first."""
    rows = trusting.tenants.execute("SELECT entry FROM audit_entries ORDER BY performed_at, entry_id")
    entries = [json.loads(row[0]) for row in rows]
    return [(entry["event"], entry["details"]) for entry in entries if "event" in entry]


def test_a_provider_is_added_changed_and_removed(trusting: Trusting) -> None:
    before = len(events(trusting))
    added = trusting.trust("Sso", SSO_PUBLIC, OTHER_BACK)
    shown = trusting.run(lambda: administration.find(added))
    assert (shown.kind, shown.has_secret, shown.redirect_uris) == ("Sso", False, (OTHER_BACK,))
    change(trusting, administration.allow_redirect, added, BACK)
    change(trusting, administration.allow_redirect, added, BACK)
    change(trusting, administration.forbid_redirect, added, OTHER_BACK)
    assert trusting.begin(clientId=SSO_PUBLIC).status_code == 200
    assert refusal(trusting.begin(clientId=SSO_PUBLIC, redirectUri=OTHER_BACK)) == (403, "SSO_NOT_OFFERED")
    services = trusting.server.runtime.services
    trusting.run(lambda: administration.set_secret(added, "new", services.ring, services.world))
    change(trusting, administration.remove, added)
    assert "there is no identity provider" in impossible(trusting, administration.remove, added)
    # What was removed can be added anew.
    change(trusting, administration.remove, trusting.trust("Sso", SSO_PUBLIC, BACK))
    told = events(trusting)[before:]
    changed = ["IdentityProviderChanged"] * 3
    first = ["IdentityProviderAdded", *changed, "IdentityProviderRemoved"]
    assert [name for name, _ in told] == [*first, "IdentityProviderAdded", "IdentityProviderRemoved"]
    assert "new" not in json.dumps(told)


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"issuer": "http://id.example"}, "begins with https"),
        ({"issuer": "https://id.example?a=b"}, "no query"),
        ({"issuer": "https://127.0.0.1"}, "not public"),
        ({"redirects": ()}, "needs a redirect URI"),
        ({"redirects": ("http://app.example/",)}, "plain http"),
        ({"kind": "Social"}, "no redirect URI"),
        ({"kind": "Social", "redirects": (), "secret": SECRET}, "no secret"),
        ({"org_id": "or-none"}, "there is no organisation"),
    ],
)
def test_what_cannot_be_trusted_is_told(trusting: Trusting, members: dict[str, Any], told: str) -> None:
    services = trusting.server.runtime.services
    usual = {"org_id": None, "kind": "Sso", "issuer": "https://id.example", "redirects": (BACK,), "secret": None}
    values = {**usual, **members}
    new = NewProvider(
        values["org_id"], values["kind"], values["issuer"], "client", values["secret"], values["redirects"]
    )
    with pytest.raises(Impossible, match=told):
        trusting.run(lambda: administration.add(new, Rules(), services.ring, services.world))


def test_one_client_is_trusted_once_also_by_two_at_once(trusting: Trusting) -> None:
    services = trusting.server.runtime.services
    new = NewProvider(None, "Social", trusting.provider.issuer, "an app", None, ())

    async def both() -> list[Any]:
        adding = (
            services.database.write(lambda: administration.add(new, RULES, services.ring, services.world))
            for _ in range(2)
        )
        return await asyncio.gather(*adding, return_exceptions=True)

    first, second = sorted(trusting.server.runner.run(both()), key=lambda each: isinstance(each, Impossible))
    assert isinstance(second, Impossible)
    assert "already" in str(second)
    assert "single sign-on" in impossible(trusting, administration.allow_redirect, first, BACK)
    change(trusting, administration.remove, first)


def test_an_operator_says_who_is_who_where_no_address_is_verified(trusting: Trusting) -> None:
    mail = "grace@example.com"
    user_id = invited(trusting.admin, mail)["userId"]
    trusting.provider.accounts({"grace": {"email": mail, "email_verified": False}})
    (sso,) = [each for each in trusting.run(administration.list_all) if each.client_id == SSO]
    assert change(trusting, administration.link, mail, sso.provider_id, "grace") == user_id
    entered = trusting.complete(*trusting.sign_in("grace"))
    assert entered.status_code == 200
    assert "unlink first" in impossible(trusting, administration.link, user_id, sso.provider_id, "another")
    other = invited(trusting.admin, "other@example.com")["userId"]
    assert "unlink first" in impossible(trusting, administration.link, other, sso.provider_id, "grace")
    assert change(trusting, administration.unlink, mail) == user_id
    trusting.server.clock.move(seconds=1)
    assert trusting.who(entered.json()["token"]).status_code == 401
    assert refusal(trusting.complete(*trusting.sign_in("grace"))) == (401, "USER_NOT_FOUND")
    assert "no identity" in impossible(trusting, administration.unlink, mail)
    end_user = invited(trusting.admin, "an end user", kind="EndUser")["userId"]
    assert "employees" in impossible(trusting, administration.link, end_user, sso.provider_id, "x")
    assert [name for name, _ in events(trusting)[-2:]] == ["IdentityLinked", "IdentityUnlinked"]
