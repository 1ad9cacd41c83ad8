"""``countersign admin webhooks`` beside a running server."""

from __future__ import annotations

from tests.cli.test_admin import Operator, until
from tests.support.caller import Caller
from tests.support.commands import refusal
from tests.support.server import Sandbox
from tests.support.tenants import beside
from tests.webhooks.receiver import Receiver


def test_webhooks_are_listed_and_what_failed_is_sent_again(shared_sandbox: Sandbox) -> None:
    operator = Operator(shared_sandbox)
    with Caller(shared_sandbox.admin) as admin, Receiver() as receiver:
        made = admin.signed("POST", "/webhooks", {"url": receiver.url, "events": ["key.created"]}).json()
        (listed,) = operator.json("webhooks", "list")
        assert (listed["webhook_id"], listed["url"], listed["failing"]) == (made["id"], receiver.url, 0)
        assert made["secret"] not in operator.output("webhooks", "list")
        admin.create_key()
        until(lambda: admin.send("GET", f"/webhooks/{made['id']}/events").json()["items"])
        # As if all five attempts had failed.
        tenants = beside(shared_sandbox.directory, shared_sandbox.database, shared_sandbox.values["baseUrl"])
        tenants.execute("UPDATE webhook_events SET failed = 1, status = '500'")
        resend = ("webhooks", "resend", made["id"], "--since")
        assert operator.output(*resend, "2099-01-01") == "0 events are sent again\n"
        assert operator.output(*resend, "2026-01-01") == "1 event is sent again\n"
        until(lambda: len(receiver.received) == 2)
        first, second = (each.json() for each in receiver.received)
        assert (second["retryOf"], second["data"]) == (first["id"], first["data"])
        assert "no webhook" in refusal(operator.run("webhooks", "resend", "wh-1", "--since", "2026-01-01"))
        assert "--since takes a date" in operator.run(*resend, "yesterday").errors
        admin.signed("DELETE", f"/webhooks/{made['id']}")
