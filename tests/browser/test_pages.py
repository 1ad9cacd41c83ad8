"""What the pages tell people: why something is refused and what to do, in a form that everybody can read and use."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Route

from countersign.encoding import base64url
from tests.browser.conftest import STRANGE_HOST, UNLISTED, House
from tests.browser.devices import DESKTOP, PHONE, Device
from tests.browser.test_console import KEY, agree, sign
from tests.console.built import CONSOLE, require_build_tools

#: An ended session reads for a second at most.
_UNTIL_REFUSED = """async () => {
  const headers = { authorization: `Bearer ${sessionStorage.getItem("countersign.session")}` }
  while ((await fetch("/auth/credentials", { headers })).status !== 401);
}"""


def test_a_person_who_was_not_verified(house: House) -> None:
    device, username = house.device(), house.invited()
    device.verify_nobody()
    house.register(device, username)
    device.reads("Your device did not verify you.")
    known, other = house.resident()
    known.verify_nobody()
    known.page.reload()
    sign(known, "DELETE", "/keys/key-00000-00000-0000000000000000")
    agree(known)
    known.reads("Your device did not verify you.")
    known.press("Log out")
    known.page.get_by_label("Username").fill(other)
    known.press("Log in by name")
    known.reads("Set a PIN or screen lock")


def test_a_copied_passkey(house: House) -> None:
    device, _ = house.resident()
    (copy,) = device.passkeys
    sign(device, "DELETE", "/keys/key-00000-00000-0000000000000000")
    agree(device)
    device.reads("The server refused.")  # signed it was, and the counter went on; there is no such key
    thief = house.device()
    thief.hold({**copy, "signCount": 0})
    thief.page.goto(f"{house.origin}/console")
    thief.press("Log in with a passkey")
    thief.reads("This passkey may have been copied.")


def test_a_page_at_an_origin_that_is_not_listed(house: House) -> None:
    device, username = house.device(), house.invited()
    house.register(device, username, UNLISTED)
    device.reads("The server does not take passkeys from this address.")
    known, _ = house.resident()
    stolen = house.device()
    stolen.hold(known.passkeys[0])
    stolen.page.goto(f"{UNLISTED}/console")
    stolen.press("Log in with a passkey")
    stolen.reads("The server does not take passkeys from this address.")


def test_a_page_of_another_relying_party(house: House) -> None:
    device, username = house.device(), house.invited()
    house.register(device, username, f"http://{STRANGE_HOST}:{house.port}")
    device.reads("The passkey belongs to another name.")


def test_a_page_at_an_address_instead_of_a_name(house: House) -> None:
    device = house.device()
    device.page.goto(f"http://127.0.0.1:{house.port}/console")
    device.reads("Passkeys need a name.")


def test_a_server_that_asks_for_something_else_gets_no_signature(house: House) -> None:
    device, _ = house.resident()

    def lie(route: Route) -> None:
        """Have another request signed than the one that the page asked for."""
        asked: dict[str, Any] = json.loads(route.request.post_data or "{}")
        asked["userActionHttpPath"] = "/keys/key-00000-00000-0000000000000000"
        route.continue_(post_data=json.dumps(asked))

    before = device.passkeys[0]["signCount"]
    device.page.route("**/auth/action/init", lie)
    sign(device, "DELETE", "/keys/key-00000-00000-0000000000000001")
    device.reads("Not signed: the server asked for something else.")
    assert device.passkeys[0]["signCount"] == before
    device.page.unroute("**/auth/action/init")

    def outlive(route: Route) -> None:
        """The right digest, for ever."""
        answer = route.fetch()
        body: dict[str, Any] = answer.json()
        members = json.loads(base64url.decode(body["challenge"]))
        members["exp"] += 86_400
        body["challenge"] = base64url.encode(json.dumps(members).encode())
        route.fulfill(response=answer, json=body)

    device.page.route("**/auth/action/init", outlive)
    device.press("Review and sign")
    device.reads("would count for far too long")
    assert device.passkeys[0]["signCount"] == before


def test_what_goes_wrong_is_explained(house: House) -> None:
    device, username = house.device(), house.invited()
    members = {"org": house.org_id, "username": username, "code": "2222-2222-2222-2222"}
    device.page.goto(f"{house.origin}/console#/register?{urlencode(members)}")
    device.press("Make a passkey and register")
    device.reads("First store the recovery code")
    device.page.get_by_label("I have stored the recovery code").check()
    device.press("Make a passkey and register")
    device.reads("The code is not valid.")
    device.lose_passkeys()
    device.page.goto(f"{house.origin}/console#/login")
    device.page.get_by_label("Username").fill("nobody@example.com")
    device.press("Log in by name")
    device.reads("There is no such user.")
    # Registered twice: the second attempt is told that the first went through.
    house.register(device, username)
    device.reads("You are registered")
    house.log_in(device)
    # A session that was ended elsewhere.
    device.page.evaluate(
        "fetch('/auth/logout', {method: 'PUT', headers: "
        "{authorization: 'Bearer ' + sessionStorage.getItem('countersign.session')}})"
    )
    device.page.evaluate(_UNTIL_REFUSED)
    sign(device, "POST", "/keys", '{"a": 1, "a": 2}')
    device.reads("The payload is not valid.")
    device.page.get_by_label("Payload").fill("{}")
    device.press("Review and sign")
    device.reads("Your session has ended.")
    device.heading("Log in")


LOOKS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": DESKTOP, "color_scheme": "light"},
    "phone": {"viewport": PHONE, "color_scheme": "dark", "device_scale_factor": 2},
}
#: Everything once, and what depends on colours and sizes in the other look as well.
RULES = {
    "desktop": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"],
    "phone": {"type": "rule", "values": ["color-contrast", "target-size"]},
}
_AUDIT = """async (runOnly) => {
  const { violations } = await axe.run(document, { runOnly })
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`)
}"""


def look(device: Device, name: str) -> None:
    """Nothing that axe finds, nothing wider than the window; with SCREENSHOTS a picture for people."""
    folder = os.environ.get("SCREENSHOTS")
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        device.page.screenshot(path=Path(folder) / f"{name}.png", full_page="review" not in name)
    device.page.evaluate((CONSOLE / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8"))
    assert device.page.evaluate(_AUDIT, RULES[name.rsplit("-")[-1]]) == [], name
    assert device.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name


@pytest.mark.parametrize("how", LOOKS)
def test_pages_are_for_everybody(house: House, how: str) -> None:
    require_build_tools()
    device = house.device(**LOOKS[how], reduced_motion="reduce")
    for page, heading in (
        ("login", "Log in"),
        ("sso", "Single sign-on"),
        ("code", "Add a passkey with a code"),
        ("recover", "Recover your account"),
    ):
        device.page.goto(f"{house.origin}/console#/{page}")
        device.heading(heading)
        look(device, f"{page}-{how}")
    device.page.goto(f"{house.origin}/console#/register")
    device.page.get_by_label("Username").fill("ada@example.com")
    device.page.get_by_label("Registration code").fill("2222-2222-2222-2222")
    device.page.get_by_label("I have stored the recovery code").check()
    device.press("Make a passkey and register")
    device.reads("The code is not valid.")
    look(device, f"register-{how}")
    device, _ = house.resident(**LOOKS[how])
    for summary in ("Add a passkey here", "Add a passkey from another device", "Add a recovery code"):
        device.page.get_by_text(summary, exact=True).click()
    look(device, f"account-{how}")
    sign(device, "POST", "/keys", KEY)
    device.page.get_by_text("What your signature covers").click()
    look(device, f"review-{how}")
    device.press("Sign with passkey")
    device.reads("Signed and done")
    look(device, f"sign-{how}")


def test_keyboard_alone_is_enough(house: House) -> None:
    device, _ = house.resident()
    press = device.page.keyboard.press
    device.page.get_by_role("link", name="Sign").focus()
    press("Enter")
    device.heading("Sign a request")
    assert device.page.evaluate("document.activeElement.tagName") == "H1"
    press("Tab")
    press("Tab")
    device.page.keyboard.type("/keys")
    press("Tab")
    device.page.keyboard.type(KEY)
    press("Tab")
    press("Enter")
    dialog = device.page.get_by_role("dialog")
    dialog.wait_for()
    assert device.page.evaluate("document.activeElement.textContent") == "Sign this request?"
    press("Escape")
    device.reads("Nothing was signed.")
    # Back where it was.
    assert device.page.evaluate("document.activeElement.textContent") == "Review and sign"
