"""Chromium through the DevTools protocol, and devices in it: a page of its own storage with a virtual authenticator.

Without Chromium the test that asks for it is skipped; ``COUNTERSIGN_REQUIRE_CHROMIUM=1`` makes it fail instead.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, CDPSession, Page, expect, sync_playwright

#: Milliseconds until something that does not come is given up: far above any real time.
PATIENCE = 30_000
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
_SWITCHES = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--no-sandbox",
)
expect.set_options(timeout=PATIENCE)


def require_chromium() -> str:
    """Path of the browser."""
    found = shutil.which("chromium")
    if found is not None:
        return found
    if os.environ.get("COUNTERSIGN_REQUIRE_CHROMIUM") == "1":
        pytest.fail("Chromium is not installed, and COUNTERSIGN_REQUIRE_CHROMIUM=1 asks for it")
    pytest.skip("NOT TESTED: Chromium is not installed (tools/setup-test does it on Debian)")


@contextmanager
def chromium(port: int, other_origins: tuple[str, ...]) -> Iterator[Browser]:
    """A browser that finds the server at ``port`` under other origins too, each ``host:port``."""
    rules = ", ".join(f"MAP {origin} 127.0.0.1:{port}" for origin in other_origins)
    switches = [*_SWITCHES, f"--host-resolver-rules={rules}"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=require_chromium(), args=switches, timeout=4 * PATIENCE)
        yield browser
        browser.close()


@dataclass
class Device:
    """A page, and the authenticator that answers it. ``messages``: the faults that the browser told its console."""

    page: Page
    cdp: CDPSession
    authenticator: str
    messages: list[str]

    @property
    def passkeys(self) -> list[dict[str, Any]]:
        """Those that the authenticator holds, with their private keys."""
        held = self.cdp.send("WebAuthn.getCredentials", {"authenticatorId": self.authenticator})
        passkeys: list[dict[str, Any]] = held["credentials"]
        return passkeys

    def hold(self, passkey: dict[str, Any]) -> None:
        """Put a passkey into the authenticator, in the place of one with its id."""
        if any(each["credentialId"] == passkey["credentialId"] for each in self.passkeys):
            name = {"authenticatorId": self.authenticator, "credentialId": passkey["credentialId"]}
            self.cdp.send("WebAuthn.removeCredential", name)
        self.cdp.send("WebAuthn.addCredential", {"authenticatorId": self.authenticator, "credential": passkey})

    def lose_passkeys(self) -> None:
        """The device is a new one."""
        self.cdp.send("WebAuthn.clearCredentials", {"authenticatorId": self.authenticator})

    def verify_nobody(self) -> None:
        """From the next page on: an authenticator with the same passkeys and no PIN, and a page that asks for none."""
        held = self.passkeys
        self.cdp.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": self.authenticator})
        options = {**_AUTHENTICATOR, "hasUserVerification": False, "isUserVerified": False}
        made = self.cdp.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        self.authenticator = made["authenticatorId"]
        for passkey in held:
            self.hold(passkey)
        self.page.add_init_script(_ASKS_FOR_NOTHING)

    def plug_in(self) -> str:
        """A security key beside the device's own authenticator; nobody touches it yet."""
        made = self.cdp.send("WebAuthn.addVirtualAuthenticator", {"options": {**_AUTHENTICATOR, "transport": "usb"}})
        key: str = made["authenticatorId"]
        self._touch(key, touched=False)
        return key

    def turn_to(self, authenticator: str, other: str) -> None:
        """Answer prompts on one authenticator, and leave the other alone."""
        self._touch(authenticator, touched=True)
        self._touch(other, touched=False)

    def _touch(self, authenticator: str, *, touched: bool) -> None:
        setting = {"authenticatorId": authenticator, "enabled": touched}
        self.cdp.send("WebAuthn.setAutomaticPresenceSimulation", setting)

    def offer_only(self, algorithm: int) -> None:
        """From the next page on: only this COSE algorithm is asked for."""
        self.page.add_init_script(_ONLY % algorithm)

    def press(self, name: str) -> None:
        """Press a button, by what a screen reader calls it."""
        self.page.get_by_role("button", name=name, exact=True).click()

    def reads(self, text: str) -> None:
        """Wait until the page says so, politely or as an alert."""
        expect(self.page.locator("#status, #alert").filter(has_text=text)).to_be_visible()

    def heading(self, text: str) -> None:
        """Wait until this page is shown."""
        expect(self.page.get_by_role("heading", level=1, name=text)).to_be_visible()


def new_device(browser: Browser, **options: Any) -> Device:
    """``options``: those of a browser context, such as its viewport or colour scheme."""
    context = browser.new_context(**{"viewport": DESKTOP, **options})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: messages.append(str(error)))
    cdp = context.new_cdp_session(page)
    cdp.send("WebAuthn.enable")
    made = cdp.send("WebAuthn.addVirtualAuthenticator", {"options": _AUTHENTICATOR})
    return Device(page, cdp, made["authenticatorId"], messages)


_AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
}
_ASKS_FOR_NOTHING = """
for (const name of ["create", "get"]) {
  const real = navigator.credentials[name].bind(navigator.credentials)
  navigator.credentials[name] = (options) => {
    options.publicKey.userVerification = "discouraged"
    options.publicKey.authenticatorSelection = { userVerification: "discouraged" }
    return real(options)
  }
}
"""
_ONLY = """
const real = navigator.credentials.create.bind(navigator.credentials)
navigator.credentials.create = (options) => {
  options.publicKey.pubKeyCredParams = options.publicKey.pubKeyCredParams.filter(({ alg }) => alg === %d)
  return real(options)
}
"""
