"""People come to the console by their organisation's identity provider, a real one."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Route, expect

from countersign.identity import provider_administration
from countersign.identity.provider_administration import NewProvider
from countersign.world import World
from tests.browser.conftest import LISTED, House, aside
from tests.browser.devices import Device
from tests.support.identity_provider import SECRET, SSO, IdentityProvider
from tests.support.trusting import RULES


@pytest.fixture(scope="module")
def provider(running_house: House) -> Iterator[IdentityProvider]:
    """The identity provider that the organisation trusts."""
    console = f"{running_house.origin}/console"
    with IdentityProvider(console) as running:
        new = NewProvider(
            kind="Sso",
            org_id=running_house.org_id,
            issuer=running.issuer,
            client_id=SSO,
            secret=SECRET,
            redirect_uris=(console,),
        )
        world, tenants = World(), running_house.tenants
        added = aside(lambda: tenants.run_with_keys(lambda ring: provider_administration.add(new, RULES, ring, world)))
        yield running
        aside(lambda: tenants.run(lambda: provider_administration.remove(added, world)))


def known(provider: IdentityProvider, username: str) -> str:
    """Let the provider know somebody; the subject."""
    subject = username.partition("@")[0]
    provider.accounts({subject: {"email": username, "email_verified": True}})
    return subject


def sign_in(device: Device, subject: str) -> None:
    """From the page for single sign-on through the provider's, and back."""
    device.press("Go to the identity provider")
    device.page.get_by_label("Who are you?").fill(subject)
    device.page.get_by_label("Who are you?").press("Enter")


def test_who_was_invited_comes_in_and_makes_a_first_passkey(house: House, provider: IdentityProvider) -> None:
    device, username = house.device(), house.invited()
    subject = known(provider, username)
    device.page.goto(f"{house.origin}/console#/login")
    device.page.get_by_role("link", name="Single sign-on").click()
    sign_in(device, subject)
    device.heading("Make your first passkey")
    # Neither code nor state stays in the address.
    assert device.page.url == f"{house.origin}/console#/sso"
    device.press("Make a passkey")
    device.reads("You are registered.")
    device.heading("Your account")
    expect(device.page.get_by_text(username)).to_be_visible()
    expect(device.page.get_by_role("heading", name="First passkey")).to_be_visible()

    # The passkey logs in as well.
    device.press("Log out")
    house.log_in(device)
    device.press("Log out")

    # A provider that knows only the query is understood, and asks no further questions of somebody it knows.
    def by_query(route: Route) -> None:
        route.fulfill(status=302, headers={"location": route.request.url.replace("response_mode=fragment", "")})

    asked: list[str] = []
    device.page.on("request", lambda request: asked.append(request.url))
    device.page.route("**/*response_mode=fragment", by_query)
    device.page.get_by_role("link", name="Single sign-on").click()
    device.press("Go to the identity provider")
    device.heading("Your account")
    assert any(url.startswith(f"{house.origin}/console?code=") for url in asked)
    assert device.page.url == f"{house.origin}/console#/account"


def test_who_must_come_in_by_the_provider_is_led_there_and_on(house: House, provider: IdentityProvider) -> None:
    device, username = house.device(), house.invited()
    house.register(device, username)
    device.reads("You are registered")
    house.execute("UPDATE users SET is_sso_required = 1 WHERE username = ?", username)
    # Where somebody wanted to go is kept on the whole way.
    device.page.goto(f"{house.origin}/console#/sign")
    device.heading("Log in")
    device.press("Log in with a passkey")
    device.reads("Your organisation logs in elsewhere")
    device.heading("Single sign-on")
    sign_in(device, known(provider, username))
    device.heading("Sign a request")


def test_a_sign_in_that_did_not_begin_in_this_tab_is_not_completed(house: House, provider: IdentityProvider) -> None:
    device = house.device()
    asked: list[str] = []
    device.page.on("request", lambda request: asked.append(urlsplit(request.url).path))
    for fragment in ("code=of-another&state=of-another", "error=access_denied&state=of-another"):
        device.page.goto(f"{house.origin}/console#/login")
        device.heading("Log in")
        device.page.goto(f"{house.origin}/console#{fragment}")
        device.reads("This sign-in did not begin here.")
        assert device.page.url == f"{house.origin}/console#/sso"
    # What is said stays where the address changes again before the page has looked.
    device.page.evaluate("location.hash = '#/login'; location.hash = '#code=of-another&state=of-another'")
    device.reads("This sign-in did not begin here.")
    device.heading("Single sign-on")
    assert "/auth/login/oidc" not in asked


def test_what_goes_wrong_at_the_provider_is_explained(house: House, provider: IdentityProvider) -> None:
    device = house.device()
    device.page.goto(f"{house.origin}/console#/sso")
    # Nobody of this name was invited.
    sign_in(device, known(provider, "stranger@example.com"))
    device.reads("Nobody was invited by this name.")

    def no(route: Route) -> None:
        state = parse_qs(urlsplit(route.request.url).query)["state"][0]
        said = f"error=access_denied&error_description=Not+you&state={state}"
        route.fulfill(status=302, headers={"location": f"{house.origin}/console#{said}"})

    device.page.route(f"{provider.issuer}/**", no)
    device.press("Go to the identity provider")
    device.reads("It says: Not you")
    # And the state was good once.
    device.page.reload()
    device.heading("Single sign-on")


def test_a_page_that_no_provider_leads_back_to_says_so(house: House) -> None:
    device = house.device()
    device.page.goto(f"{LISTED}/console#/sso")
    device.press("Go to the identity provider")
    device.reads("Your organisation has no identity provider for this page.")
