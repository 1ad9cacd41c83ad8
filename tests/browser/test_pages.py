"""Every page, light and dark, on a desktop and on a phone: for who sees little, uses a keyboard, or has it read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import House
from tests.browser.devices import DESKTOP, PHONE, Device
from tests.browser.test_console import KEY, sign
from tests.console.built import CONSOLE, require_build_tools

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
