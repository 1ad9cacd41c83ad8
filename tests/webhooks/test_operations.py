"""Webhooks over HTTP: made, changed, pinged, told of events."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from countersign.webhooks.delivery import PINGS_IN_FLIGHT
from countersign.webhooks.signature import verify
from tests.support.caller import Caller
from tests.support.server import Sandbox
from tests.webhooks.receiver import Receiver

NOWHERE = "http://127.0.0.1:9/hook"


@pytest.fixture
def admin(shared_sandbox: Sandbox) -> Iterator[Caller]:
    with Caller(shared_sandbox.admin) as caller:
        yield caller
        for item in caller.send("GET", "/webhooks").json()["items"]:
            caller.signed("DELETE", f"/webhooks/{item['id']}")


def create(caller: Caller, url: str, *events: str, **members: Any) -> dict[str, Any]:
    made = caller.signed("POST", "/webhooks", {"url": url, "events": list(events or ("*",)), **members})
    assert made.status_code == 200, made.text
    created: dict[str, Any] = made.json()
    return created


def test_the_secret_is_shown_once(admin: Caller) -> None:
    made = create(admin, NOWHERE, "key.created", description="of a test")
    assert re.fullmatch(r"whs-[A-Za-z0-9]{32}", made["secret"])
    shown = {name: value for name, value in made.items() if name != "secret"}
    assert shown["status"] == "Enabled"
    assert shown["events"] == ["key.created"]
    path = f"/webhooks/{made['id']}"
    assert admin.send("GET", path).json() == shown
    assert admin.send("GET", "/webhooks").json() == {"items": [shown]}
    changed = admin.signed("PUT", path, {"status": "Disabled", "events": ["*"]}).json()
    assert changed == {**shown, "status": "Disabled", "events": ["*"], "dateUpdated": changed["dateUpdated"]}
    assert admin.signed("DELETE", path).json() == {"deleted": True}
    assert admin.send("GET", path).status_code == 404
    assert admin.signed("DELETE", path).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"url": NOWHERE, "events": []},
        {"url": NOWHERE},
        {"events": ["*"]},
        {"url": NOWHERE, "events": ["wallet.transfer.initiated"]},
        {"url": NOWHERE, "events": ["wallet.transfer.executed"]},
        {"url": NOWHERE, "events": ["*"], "secret": "whs-mine"},
        {"url": NOWHERE, "events": ["*"], "description": "x" * 257},
        {"url": NOWHERE, "events": ["*"], "status": "Paused"},
        {"url": "http://10.0.0.1/", "events": ["*"]},
        {"url": "http://169.254.169.254/", "events": ["*"]},
        {"url": "http://user@example.com/", "events": ["*"]},
        {"url": "ftp://example.com/", "events": ["*"]},
    ],
    ids=str,
)
def test_what_is_no_webhook_is_refused(admin: Caller, body: dict[str, Any]) -> None:
    assert admin.signed("POST", "/webhooks", body).status_code == 400


def test_o2_no_webhook_is_led_inside_by_a_change(admin: Caller) -> None:
    path = f"/webhooks/{create(admin, NOWHERE)['id']}"
    for url in ("http://10.0.0.1/", "http://[::ffff:a9fe:a9fe]/", "http://2852039166/", "ftp://example.com/"):
        assert admin.signed("PUT", path, {"url": url}).status_code == 400
    assert admin.send("GET", path).json()["url"] == NOWHERE


def test_kinds_that_the_sdks_do_not_name_are_taken(admin: Caller) -> None:

    token = admin.action_token("POST", "/webhooks", {"url": NOWHERE, "events": ["swap.failed", "vault.created"]})
    made = admin.send("POST", "/webhooks", {"url": NOWHERE, "events": ["swap.failed", "vault.created"]}, action=token)
    assert made.status_code == 200


def test_an_organisation_has_five_webhooks_at_most(admin: Caller) -> None:
    made = [create(admin, NOWHERE)["id"] for _ in range(5)]
    refused = admin.signed("POST", "/webhooks", {"url": NOWHERE, "events": ["*"]})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "WEBHOOK_LIMIT")
    admin.signed("DELETE", f"/webhooks/{made[2]}")
    create(admin, NOWHERE)


def test_a_ping_is_signed_told_and_not_stored(admin: Caller) -> None:
    with Receiver() as receiver:
        made = create(admin, receiver.url, status="Disabled")
        path = f"/webhooks/{made['id']}"
        assert admin.signed("POST", f"{path}/ping").json() == {"status": "200"}
        (ping,) = receiver.received
        assert verify(made["secret"], ping.body, ping.signature)
        assert (ping.json()["kind"], ping.json()["data"]) == ("ping", {})
        receiver.answer = lambda _received: 204
        assert admin.signed("POST", f"{path}/ping").json() == {"status": "204"}
        assert admin.send("GET", f"{path}/events").json() == {"items": []}
    assert admin.signed("POST", f"{path}/ping").json() == {"status": "ECONNREFUSED", "error": "ECONNREFUSED"}


def test_o2_one_organisation_s_pings_do_not_take_all_connections(admin: Caller) -> None:
    """To endpoints that trickle, hundreds at once kept everybody's deliveries waiting."""
    asked, gate = threading.Semaphore(0), threading.Event()

    def slow(_received: object) -> int:
        asked.release()
        assert gate.wait(60)
        return 200

    with Receiver() as receiver, ThreadPoolExecutor(PINGS_IN_FLIGHT) as threads:
        receiver.answer = slow
        path = f"/webhooks/{create(admin, receiver.url)['id']}/ping"
        tokens = [admin.action_token("POST", path) for _ in range(PINGS_IN_FLIGHT + 1)]
        pings = [threads.submit(admin.send, "POST", path, action=token) for token in tokens[1:]]
        for _ in pings:
            assert asked.acquire(timeout=60)
        refused = admin.send("POST", path, action=tokens[0])
        assert (refused.status_code, "Retry-After" in refused.headers) == (429, True)
        gate.set()
        assert {ping.result().json()["status"] for ping in pings} == {"200"}
        assert admin.signed("POST", path).json() == {"status": "200"}


def test_o2_an_endpoint_inside_the_network_is_blocked_at_the_attempt(admin: Caller) -> None:
    made = create(admin, "http://metadata.invalid./")
    answer = admin.signed("POST", f"/webhooks/{made['id']}/ping").json()
    assert answer["status"] in ("ENOTFOUND", "ETIMEDOUT")


def test_events_of_keys_and_signatures_arrive_as_the_api_shows_them(admin: Caller) -> None:
    with Receiver() as receiver:
        made = create(admin, receiver.url)
        key = admin.signed(
            "POST", "/keys", {"scheme": "EdDSA", "curve": "ed25519", "name": "Schl\u00fcssel \u2028"}
        ).json()
        body = {"kind": "Message", "message": "0x00"}
        signature = admin.signed("POST", f"/keys/{key['id']}/signatures", body).json()
        archived = admin.signed("DELETE", f"/keys/{key['id']}").json()
        (created,) = receiver.of_kind("key.created")
        (requested,) = receiver.of_kind("wallet.signature.requested")
        (signed,) = receiver.of_kind("wallet.signature.signed")
        (deleted,) = receiver.of_kind("key.deleted")
        for each in (created, requested, signed, deleted):
            assert verify(made["secret"], each.body, each.signature)
            assert each.headers["content-type"] == "application/json"
            assert each.headers["user-agent"].startswith("Countersign-Webhooks/")
        assert created.json()["data"] == {"key": key}
        assert deleted.json()["data"] == {"key": archived}
        assert signed.json()["data"] == {"signatureRequest": signature}
        asked = requested.json()["data"]["signatureRequest"]
        assert (asked["id"], asked["status"]) == (signature["id"], "Executing")
        assert list(created.json()) == ["id", "kind", "date", "data", "deliveryAttempt", "timestampSent"]


def stored(caller: Caller, webhook_id: str, query: str = "", number: int = 1) -> list[dict[str, Any]]:
    """The attempts that are stored, once there are so many."""
    for _ in range(2000):
        items: list[dict[str, Any]] = caller.send("GET", f"/webhooks/{webhook_id}/events{query}").json()["items"]
        if len(items) >= number:
            return items
    raise AssertionError(f"{webhook_id} has {items}")


def test_attempts_are_stored_with_their_outcome(admin: Caller) -> None:
    with Receiver(lambda _received: 201) as receiver:
        made = create(admin, receiver.url, "key.created")
        key_id = admin.create_key()
        (failed,) = stored(admin, made["id"])
        (sent,) = receiver.received
        assert (failed["id"], failed["kind"], failed["data"]) == (sent.json()["id"], "key.created", sent.json()["data"])
        assert failed["data"]["key"]["id"] == key_id
        assert (failed["status"], failed["deliveryFailed"], failed["deliveryAttempt"]) == ("201", True, 1)
        assert failed["nextAttemptDate"] > failed["date"]
        receiver.answer = lambda _received: 200
        admin.create_key()
        taken, same = stored(admin, made["id"], number=2)
        assert (taken["status"], taken["deliveryFailed"], same) == ("200", False, failed)
        assert "nextAttemptDate" not in taken
        assert stored(admin, made["id"], "?deliveryFailed=true") == [failed]
        assert stored(admin, made["id"], "?deliveryFailed=false&kind=key.created") == [taken]
        assert admin.send("GET", f"/webhooks/{made['id']}/events?kind=key.deleted").json() == {"items": []}
        assert admin.send("GET", f"/webhooks/{made['id']}/events?deliveryFailed=no").status_code == 400
        page = admin.send("GET", f"/webhooks/{made['id']}/events?limit=1").json()
        assert page["items"] == [taken]
        rest = admin.send("GET", f"/webhooks/{made['id']}/events?limit=1&paginationToken={page['nextPageToken']}")
        assert rest.json() == {"items": [failed]}
        assert admin.send("GET", f"/webhooks/{made['id']}/events/{failed['id']}").json() == failed


def test_an_event_is_sent_again_on_request(admin: Caller) -> None:
    with Receiver(lambda _received: 500) as receiver:
        made = create(admin, receiver.url, "key.created")
        admin.create_key()
        (failed,) = stored(admin, made["id"])
        receiver.answer = lambda _received: 200
        path = f"/webhooks/{made['id']}/events"
        again = admin.signed("POST", f"{path}/{failed['id']}/resend")
        assert again.status_code == 200, again.text
        assert (again.json()["kind"], again.json()["retryOf"]) == ("key.created", failed["id"])
        taken, _ = stored(admin, made["id"], number=2)
        assert (taken["id"], taken["status"], taken["retryOf"]) == (again.json()["id"], "200", failed["id"])
        assert verify(made["secret"], receiver.received[-1].body, receiver.received[-1].signature)
        admin.signed("PUT", f"/webhooks/{made['id']}", {"status": "Disabled"})
        refused = admin.signed("POST", f"{path}/{failed['id']}/resend")
        assert (refused.status_code, refused.json()["error"]["code"]) == (412, "WEBHOOK_DISABLED")


def test_only_what_was_asked_for_is_told_and_nothing_while_disabled(admin: Caller) -> None:
    with Receiver() as receiver:
        made = create(admin, receiver.url, "key.deleted")
        create(admin, receiver.url, "*", status="Disabled")
        key = admin.create_key()
        admin.signed("DELETE", f"/keys/{key}")
        receiver.of_kind("key.deleted")
        assert [each.json()["kind"] for each in receiver.received] == ["key.deleted"]
        assert len(stored(admin, made["id"])) == 1
