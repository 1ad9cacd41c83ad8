"""What is refused in a real browser, and what its person is told about it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Route

from countersign.encoding import base64url
from tests.browser.conftest import STRANGE_HOST, UNLISTED, House
from tests.browser.test_console import agree, sign

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
