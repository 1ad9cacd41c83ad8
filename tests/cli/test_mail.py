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
    text = countersign("sandbox", "mail", *data, env={"COUNTERSIGN_CONSOLE": "false"}).output
    assert "To:       ada@example.com" in text
    assert letter["code"] in text
    assert letter["subject"] in text
    assert "Sandbox" in text
    console = sandbox.values["baseUrl"].replace("127.0.0.1", "localhost") + "/console"
    query = f"org={sandbox.values['orgId']}&username=ada%40example.com&code={letter['code']}"
    assert f"    {console}#/register?{query}\n" in letter["body"]
    assert "link" not in text  # where there is no console
    assert "{" not in text + letter["body"]
