"""The console in a real browser: people come in, sign, recover and add passkeys, by what they see and press.

And the delegated flow of the SDK's examples, in which the user of a customer's server has only a browser as well.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from countersign.audit.entry import Action, decode
from countersign.audit.evidence import check_action
from countersign.encoding import base64url
from countersign.encoding.strictjson import canonical, parse_object
from tests.browser.conftest import LISTED, House
from tests.browser.devices import PHONE, Device
from tests.clients.sdk_node import NodeClient
from tests.clients.signatures import check_eddsa
from tests.console.built import CONSOLE, require_build_tools

KEY = '{"scheme": "EdDSA", "curve": "ed25519", "name": "caf\u00e9 \u202e"}'


def sign(device: Device, method: str, path: str, payload: str = "") -> None:
    """Fill in the page for it, up to what is shown before signing."""
    device.page.get_by_role("link", name="Sign").click()
    device.page.get_by_label("Method").select_option(method)
    device.page.get_by_label("Path").fill(path)
    device.page.get_by_label("Payload").fill(payload)
    device.press("Review and sign")


def agree(device: Device) -> None:
    """Sign what is shown."""
    device.press("Sign with passkey")


def result(device: Device) -> Any:
    """What the server answered to what was signed."""
    return json.loads(device.page.locator("pre").inner_text())


@pytest.mark.parametrize("algorithm", [-7, -257, -8], ids=["ES256", "RS256", "EdDSA"])
def test_register_log_in_named_and_discoverable_and_sign(house: House, algorithm: int) -> None:
    device, username = house.device(), house.invited()
    device.offer_only(algorithm)
    house.register(device, username)
    device.reads("You are registered")
    assert "code" not in device.page.url
    house.log_in(device)
    expect(device.page.get_by_text(username)).to_be_visible()
    device.press("Log out")
    device.reads("You are logged out")
    device.page.get_by_label("Username").fill(username)
    device.press("Log in by name")
    device.heading("Your account")

    sign(device, "POST", "/keys", KEY)
    shown = device.page.get_by_role("dialog")
    for text in ("POST", "/keys", username, "ed25519", "café ⟨U+202E⟩"):
        expect(shown).to_contain_text(text)
    digest = shown.locator("code").text_content()
    agree(device)
    device.reads("Signed and done")
    made = result(device)
    assert made["name"] == "café ⟨U+202E⟩"  # as it is shown; it is stored as it was signed

    # The same digest stands in the log, under this passkey's signature.
    rows = house.execute("SELECT entry FROM audit_entries WHERE entry LIKE ?", f"%{made['id']}%")
    (entry,) = [item for row in rows if isinstance(item := decode(row[0]), Action)]
    assert entry.credential.kind == "Fido2"
    assert entry.digest == digest
    assert check_action(entry, canonical(parse_object(KEY)).decode()) is None


def test_a_passkey_is_added_with_a_code_from_another_origin(house: House) -> None:
    device, username = house.device(), house.invited()
    # Codes count for a minute of the server's, whatever the clock of the device says.
    device.page.clock.set_system_time(datetime.now(UTC) + timedelta(hours=2))
    house.register(device, username)
    device.reads("You are registered")
    house.log_in(device)
    device.page.get_by_text("Add a passkey from another device").click()
    device.press("Make a code")
    agree(device)
    code = device.page.get_by_role("status", name="Code").inner_text()

    other = house.device(viewport=PHONE)
    other.page.goto(f"{LISTED}/console#/code")
    other.page.get_by_label("Code", exact=True).fill(code.lower())
    other.page.get_by_label("Name of this passkey").fill("Phone")
    other.press("Make a passkey")
    other.reads("The passkey was added")
    house.log_in(other)
    expect(other.page.get_by_role("heading", name="Phone")).to_be_visible()
    expect(other.page.get_by_text(f"made at {LISTED}")).to_be_visible()
    # It signs as well, from where it is.
    sign(other, "POST", "/keys", KEY)
    agree(other)
    other.reads("Signed and done")
    assert result(other)["status"] == "Active"

    # What was used once is used up.
    other.page.goto(f"{LISTED}/console#/code")
    other.page.get_by_label("Code", exact=True).fill(code)
    other.press("Make a passkey")
    other.reads("The code is not valid.")


def test_passkeys_and_sessions_are_looked_after(house: House) -> None:
    device, _ = house.resident()
    device.press("Deactivate First passkey")
    agree(device)
    device.reads("Your last passkey stays.")
    device.page.get_by_text("Add a passkey here").click()
    device.page.get_by_label("Name", exact=True).fill("Security key")
    device.press("Make a passkey")
    device.reads("This device has a passkey of yours already.")
    security_key = device.plug_in()
    device.turn_to(security_key, device.authenticator)
    device.press("Make a passkey")
    expect(device.page.get_by_role("dialog")).to_contain_text("/auth/credentials")
    device.turn_to(device.authenticator, security_key)
    device.press("Cancel")
    device.reads("Nothing was signed.")
    device.turn_to(security_key, device.authenticator)
    device.press("Make a passkey")
    expect(device.page.get_by_role("dialog")).to_be_visible()
    device.turn_to(device.authenticator, security_key)
    agree(device)
    device.reads("Added.")
    device.press("Deactivate Security key")
    agree(device)
    expect(device.page.get_by_role("button", name="Activate Security key", exact=True)).to_be_visible()
    device.press("Remove Recovery code")
    agree(device)
    expect(device.page.get_by_role("heading", name="Recovery code")).to_have_count(0)
    device.page.get_by_text("Add a recovery code").click()
    device.page.get_by_label("I have stored the recovery code").check()
    device.press("Add the recovery code")
    agree(device)
    expect(device.page.get_by_role("heading", name="Recovery code")).to_be_visible()
    device.press("Log out everywhere")
    device.reads("You are logged out everywhere")


def test_a_link_brings_a_request_and_a_session_lives_in_its_tab_alone(house: House) -> None:
    device, _ = house.resident()
    brought = {"method": "DELETE", "path": "/keys/key-1?x=%20", "payload": ""}
    link = f"{house.origin}/console#/sign?request={base64url.encode(json.dumps(brought).encode())}"
    warned = device.page.get_by_text("whoever made the link chose it")
    device.page.goto(link)
    expect(warned).to_be_visible()
    device.page.reload()  # the token is kept through it, what the link carried is not
    device.heading("Sign a request")
    assert device.page.get_by_label("Path").input_value() == ""
    device.page.goto(link)
    expect(warned).to_be_visible()
    device.press("Review and sign")
    expect(device.page.get_by_role("dialog")).to_contain_text("sign it only if you expected it")
    device.press("Cancel")
    second = device.page.context.new_page()
    second.goto(f"{house.origin}/console#/account")
    expect(second.get_by_role("heading", level=1, name="Log in")).to_be_visible()
    assert second.evaluate("[document.cookie, Object.keys(localStorage).join()]") == ["", "countersign.organisation"]


def test_who_lost_every_passkey_recovers_with_both_codes(house: House) -> None:
    device, username = house.device(), house.invited()
    recovery = house.register(device, username)
    device.reads("You are registered")
    device.lose_passkeys()
    device.page.get_by_role("link", name="I have lost my passkeys").click()
    device.page.get_by_label("Username").fill(username)
    device.press("Send me a code")
    device.reads("a code is on its way to you")
    device.page.get_by_label("Code from the mail").fill(house.letter_to(username).code or "")
    device.page.get_by_label("Your recovery code").fill(f"{recovery[:-1]}{'2' if recovery[-1] != '2' else '3'}")
    device.page.get_by_label("I have stored the recovery code").check()
    device.press("Make a passkey and recover")
    device.reads("This is no recovery code.")
    device.page.get_by_label("Your recovery code").fill(recovery.lower().replace("-", " "))
    device.press("Make a passkey and recover")
    device.reads("Your account is yours again")
    assert len(device.passkeys) == 1
    house.log_in(device)
    assert device.page.get_by_role("heading", level=3).all_inner_texts()[:2] == [
        "First passkey active",
        "Recovery code active",
    ]
    sign(device, "POST", "/keys", KEY)
    agree(device)
    device.reads("Signed and done")


UNREACHABLE = "The server cannot be reached."


def lose_answer(device: Device, path: str) -> None:
    """Of the next request to this path: the server does what it is asked for, and the page never hears of it."""

    def lose(route: Route) -> None:
        assert route.fetch().ok
        route.abort()

    device.page.route(f"**{path}", lose, times=1)


def start_registration(house: House, device: Device) -> Callable[[], Any]:
    username = house.invited()
    return lambda: house.register(device, username)


def start_recovery(house: House, device: Device) -> Callable[[], Any]:
    username = house.invited()
    recovery = house.register(device, username)
    device.reads("You are registered")
    device.lose_passkeys()
    device.page.goto(f"{house.origin}/console#/recover")

    def recover() -> None:
        device.page.get_by_label("Username").fill(username)
        device.press("Send me a code")
        device.reads("a code is on its way to you")
        device.page.get_by_label("Code from the mail").fill(house.letter_to(username).code or "")
        device.page.get_by_label("Your recovery code").fill(recovery)
        device.page.get_by_label("I have stored the recovery code").check()
        device.press("Make a passkey and recover")

    return recover


@pytest.mark.parametrize(
    ("start", "first", "last"),
    [
        (start_registration, "/auth/registration/init", "/auth/registration"),
        (start_recovery, "/auth/recover/user/init", "/auth/recover/user"),
    ],
    ids=["registration", "recovery"],
)
def test_a_lost_answer_locks_nobody_out(
    house: House, start: Callable[[House, Device], Callable[[], Any]], first: str, last: str
) -> None:
    device = house.device()
    attempt = start(house, device)
    lose_answer(device, first)
    attempt()
    device.reads(UNREACHABLE)
    assert device.passkeys == []
    # The first half again, with a code of its own where the first was used up; then the second half is lost.
    lose_answer(device, last)
    attempt()
    device.reads(UNREACHABLE)
    assert len(device.passkeys) == 1
    # It was done all the same: the passkey that was made is the one that counts, and the only one.
    device.page.goto(f"{house.origin}/console#/login")
    lose_answer(device, "/auth/login")
    device.press("Log in with a passkey")
    device.reads(UNREACHABLE)
    house.log_in(device)
    expect(device.page.get_by_role("heading", level=3, name="passkey")).to_have_count(1)


_PAGE = """
import { WebAuthnSigner } from "@dfns/sdk-browser"
globalThis.passkeys = new WebAuthnSigner({ relyingParty: { id: "localhost", name: "The customer" } })
"""
_BUILD = """
const stdin = { contents: process.argv[1], resolveDir: "." }
const options = { stdin, bundle: true, write: false, platform: "browser", define: { global: "globalThis" } }
process.stdout.write(require("esbuild").buildSync(options).outputFiles[0].text)
"""


@pytest.fixture
def customer(house: House) -> Device:
    """The customer's page, at an origin of theirs."""
    build = [require_build_tools(), "-e", _BUILD, _PAGE]
    script = subprocess.run(build, cwd=CONSOLE, capture_output=True, text=True, check=True).stdout
    device = house.device()
    page = "<!doctype html><link rel=icon href='data:,'><script src=/app.js></script>"
    device.page.route(f"{LISTED}/app", lambda route: route.fulfill(content_type="text/html", body=page))
    device.page.route(f"{LISTED}/app.js", lambda route: route.fulfill(content_type="text/javascript", body=script))
    device.page.goto(f"{LISTED}/app")
    return device


def test_a_server_acts_for_its_user_with_the_passkey_of_the_users_browser(house: House, customer: Device) -> None:
    name = "user-of-the-customer"

    def signed_by_user(challenge: dict[str, Any]) -> dict[str, Any]:
        factor = customer.page.evaluate("challenge => passkeys.sign(challenge)", challenge)
        return {"challengeIdentifier": challenge["challengeIdentifier"], "firstFactor": factor}

    service = house.server.service
    with NodeClient(service) as program:
        challenge = program.call("auth.createDelegatedRegistrationChallenge", body={"email": name, "kind": "EndUser"})
        made = customer.page.evaluate("challenge => passkeys.create(challenge)", challenge)
        bearer = {**service, "authToken": challenge["temporaryAuthenticationToken"]}
        with NodeClient(bearer) as registering:
            done = registering.call("auth.registerEndUser", body={"firstFactorCredential": made, "wallets": []})
        body = {"scheme": "EdDSA", "curve": "ed25519", "delayDelegation": True}
        key = program.call("keys.createKey", body=body)
        program.call("keys.delegateKey", keyId=key["id"], body={"delegateTo": done["user"]["id"]})
        token = program.call("auth.delegatedLogin", body={"username": name})["token"]
    with NodeClient({**service, "authToken": token}, delegated=True) as user:
        asked = {"keyId": key["id"], "body": {"kind": "Message", "message": "0xaabb"}}
        challenge = user.call_with("keys.generateSignatureInit", asked)
        proof = signed_by_user(challenge)
        signature = user.call_with("keys.generateSignatureComplete", asked, proof)
    check_eddsa(key["publicKey"], b"\xaa\xbb", signature["signature"])
