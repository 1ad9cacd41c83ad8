"""One server and one browser for all tests of this folder; each test has people and devices of its own."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser

from countersign.identity import mail
from tests.browser.devices import Device, chromium, new_device, require_chromium
from tests.support.caller import Caller
from tests.support.server import Sandbox, sandbox
from tests.support.tenants import Tenants, beside

#: Origins that lead to the same server: the organisation lists the first, and not the second.
LISTED, UNLISTED = "http://localhost:18441", "http://localhost:18442"
#: A host that is no relying party of the organisation.
STRANGE_HOST = "elsewhere.localhost"


T = TypeVar("T")


def aside(work: Callable[[], T]) -> T:
    """Do something that runs an event loop of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


@dataclass
class House:
    """The server, the browser, and what brings people in."""

    server: Sandbox
    browser: Browser
    admin: Caller
    tenants: Tenants
    devices: list[Device] = field(default_factory=list)
    number: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def org_id(self) -> str:
        return self.server.values["orgId"]

    @property
    def port(self) -> int:
        return urlsplit(self.server.values["baseUrl"]).port or 0

    @property
    def origin(self) -> str:
        """Where the console is at home."""
        return f"http://localhost:{self.port}"

    def device(self, **options: Any) -> Device:
        device = new_device(self.browser, **options)
        self.devices.append(device)
        return device

    def invited(self) -> str:
        """Somebody new with every right; the username."""
        username = f"ada-{next(self.number)}@example.com"
        made = self.admin.signed("POST", "/auth/users", {"email": username, "kind": "CustomerEmployee"})
        self.execute(
            "INSERT INTO permission_assignments (org_id, assignment_id, permission_id, identity_id, is_immutable, "
            "created_at, updated_at) SELECT org_id, ?, permission_id, ?, 0, 0, 0 FROM permissions "
            "WHERE org_id = ? AND name = 'ManagedFullAdminAccess'",
            f"as-{username}",
            made.json()["userId"],
            self.org_id,
        )
        return username

    def letter_to(self, username: str, origin: str = "") -> mail.Mail:
        """The newest letter with a code to somebody; ``origin``: of the console that its link leads to."""
        console = f"{origin or self.origin}/console"
        letters = aside(lambda: self.tenants.run_with_keys(lambda ring: mail.newest(ring, console)))
        return next(each for each in reversed(letters) if each.recipient == username and each.code)

    def execute(self, sql: str, *arguments: Any) -> list[Any]:
        """One statement; its rows."""
        return aside(lambda: self.tenants.execute(sql, *arguments))

    def register(self, device: Device, username: str, origin: str = "") -> str:
        """Follow the link of an invitation to the end; the recovery code."""
        (link,) = re.findall(r"http\S+#/register\S+", self.letter_to(username, origin).body)
        device.page.goto(link)
        recovery = device.page.get_by_role("status", name="Recovery code").inner_text()
        device.page.get_by_label("I have stored the recovery code").check()
        device.press("Make a passkey and register")
        return recovery

    def log_in(self, device: Device) -> None:
        """From the login page with a discoverable passkey."""
        device.press("Log in with a passkey")
        device.heading("Your account")

    def resident(self, **options: Any) -> tuple[Device, str]:
        """Somebody who is registered and logged in; the device and the username."""
        device, username = self.device(**options), self.invited()
        self.register(device, username)
        device.reads("You are registered")
        self.log_in(device)
        return device, username


# Not for the session: as long as it lasts, the event loop of the browser's client is that of this thread.
@pytest.fixture(scope="package")
def running_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    require_chromium()
    with sandbox(tmp_path_factory.mktemp("browser") / "data") as server, Caller(server.admin) as admin:
        tenants = beside(server.directory, server.database, server.values["baseUrl"])
        insert = "INSERT INTO origins (org_id, app_id, rp_id, origin, created_at) VALUES (?, '', 'localhost', ?, 0)"
        tenants.execute(insert, server.values["orgId"], LISTED)
        port = urlsplit(server.values["baseUrl"]).port or 0
        others = tuple(urlsplit(origin).netloc for origin in (LISTED, UNLISTED))
        with chromium(port, others) as browser:
            yield House(server, browser, admin, tenants)


@pytest.fixture
def house(running_house: House) -> Iterator[House]:
    """The devices of a test are gone behind it, and its pages broke no rule of their own policy."""
    yield running_house
    said = [text for device in running_house.devices for text in device.messages]
    for device in running_house.devices:
        device.page.context.close()
    running_house.devices.clear()
    # Refusals of the server, and answers that a test loses, are told by the browser as well.
    assert [text for text in said if not text.startswith("Failed to load resource")] == []
