"""The mail of a sandbox, which is printed and never sent."""

from __future__ import annotations

import json

from tests.support.caller import Caller
from tests.support.commands import countersign
from tests.support.server import Sandbox


def test_a_sandbox_prints_the_mail_that_it_would_have_sent(sandbox: Sandbox) -> None:
    data = ("--data", sandbox.directory)
    assert countersign("sandbox", "mail", *data).output == "no mail yet\n"
    assert countersign("sandbox", "mail", *data, "--json").output == "[]\n"
    with Caller(sandbox.admin) as admin:
        made = admin.signed("POST", "/auth/users", {"email": "ada@example.com", "kind": "CustomerEmployee"}).json()
    (letter,) = json.loads(countersign("sandbox", "mail", *data, "--json").output)
    assert (letter["kind"], letter["recipient"], letter["userId"]) == ("Invitation", "ada@example.com", made["userId"])
    text = countersign("sandbox", "mail", *data).output
    assert "To:       ada@example.com" in text
    assert letter["code"] in text
    assert letter["subject"] in text
    assert "Sandbox" in text
