"""Webhooks with the official SDKs: made, told of events, and believed by the verifier that the documentation gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from dfns_sdk import DfnsClient
from dfns_sdk.types import DfnsError

from tests.clients.sdk_node import NodeClient
from tests.clients.sdk_python import python_client
from tests.faults.waiting import until
from tests.support.server import Sandbox
from tests.webhooks.node import node
from tests.webhooks.receiver import Received, Receiver

#: As documented for receivers: parse the body, sign what it is written as again, compare in constant time.
VERIFIER = """
deliveries => deliveries.map(({ secret, body, signature }) => {
  const crypto = require('crypto')
  const parsed = JSON.parse(body)
  const expected = 'sha256=' + crypto.createHmac('sha256', secret).update(JSON.stringify(parsed)).digest('hex')
  const fresh = Math.abs(Date.now() / 1000 - parsed.timestampSent) < 300
  return fresh && expected.length === signature.length
    && crypto.timingSafeEqual(Buffer.from(signature), Buffer.from(expected))
})
"""


def believed(secret: str, *deliveries: Received) -> bool:
    """Whether the documented verifier, in Node, takes every one of them."""
    told = [{"secret": secret, "body": each.body.decode(), "signature": each.signature} for each in deliveries]
    return all(node(VERIFIER, told))


@pytest.fixture(scope="module")
def python(shared_sandbox: Sandbox) -> Iterator[DfnsClient]:
    with python_client(shared_sandbox.admin) as client:
        yield client


@pytest.fixture(scope="module")
def typescript(shared_sandbox: Sandbox) -> Iterator[NodeClient]:
    with NodeClient(shared_sandbox.admin) as client:
        yield client


def test_python_makes_a_webhook_and_the_documented_verifier_believes_what_it_is_told(python: DfnsClient) -> None:
    with Receiver() as receiver:
        made: Any = python.webhooks.create_webhook(
            {"url": receiver.url, "events": ["key.created", "wallet.signature.signed"], "description": "of an SDK"}
        )
        webhook = made["id"]
        shown = {name: value for name, value in made.items() if name != "secret"}
        assert python.webhooks.get_webhook(webhook) == shown
        assert python.webhooks.list_webhooks()["items"] == [shown]
        assert python.webhooks.ping_webhook(webhook) == {"status": "200"}
        key: Any = python.keys.create_key({"scheme": "EdDSA", "curve": "ed25519", "name": 'quoted " \u20ac \u2028 \\'})
        signature: Any = python.keys.generate_signature(key["id"], {"kind": "Message", "message": "0xc0ffee"})
        (created,) = receiver.of_kind("key.created")
        (signed,) = receiver.of_kind("wallet.signature.signed")
        assert created.json()["data"] == {"key": key}
        assert signed.json()["data"] == {"signatureRequest": signature}
        assert believed(made["secret"], *receiver.received)
        assert not believed(made["secret"] + "x", created)
        stored = until("two attempts are stored", lambda: two(python, webhook))
        assert [(each["id"], each["status"]) for each in stored] == [
            (each.json()["id"], "200") for each in (signed, created)
        ]
        assert python.webhooks.get_webhook_event(webhook, stored[0]["id"]) == stored[0]
        assert python.webhooks.list_webhook_events(webhook, {"deliveryFailed": "true"}) == {"items": []}
        of_kind = python.webhooks.list_webhook_events(webhook, {"kind": "key.created", "limit": 1})
        assert of_kind["items"] == stored[1:]
    changed: Any = python.webhooks.update_webhook(webhook, {"status": "Disabled"})
    assert changed["status"] == "Disabled"
    assert python.webhooks.delete_webhook(webhook) == {"deleted": True}
    with pytest.raises(DfnsError) as gone:
        python.webhooks.get_webhook(webhook)
    assert gone.value.status_code == 404


def two(python: DfnsClient, webhook: str) -> list[Any] | None:
    """The stored attempts once there are two."""
    items = python.webhooks.list_webhook_events(webhook)["items"]
    return list(items) if len(items) == 2 else None


def test_typescript_goes_through_the_life_of_a_webhook(typescript: NodeClient) -> None:
    with Receiver() as receiver:
        made = typescript.call("webhooks.createWebhook", body={"url": receiver.url, "events": ["*"]})
        webhook = made["id"]
        shown = {name: value for name, value in made.items() if name != "secret"}
        assert typescript.call("webhooks.getWebhook", webhookId=webhook) == shown
        assert typescript.call("webhooks.listWebhooks", query={"limit": 10})["items"] == [shown]
        assert typescript.call("webhooks.pingWebhook", webhookId=webhook) == {"status": "200"}
        key = typescript.call("keys.createKey", body={"scheme": "ECDSA", "curve": "secp256k1"})
        typescript.call("keys.deleteKey", keyId=key["id"])
        (created,), (deleted,) = receiver.of_kind("key.created"), receiver.of_kind("key.deleted")
        assert created.json()["data"] == {"key": key}
        assert deleted.json()["data"]["key"]["status"] == "Archived"
        assert believed(made["secret"], *receiver.received)

        def taken() -> list[Any] | None:
            query = {"deliveryFailed": "false", "kind": "key.deleted"}
            items: list[Any] = typescript.call("webhooks.listWebhookEvents", webhookId=webhook, query=query)["items"]
            return items or None

        (event,) = until("the attempt is stored", taken)
        found = typescript.call("webhooks.getWebhookEvent", webhookId=webhook, webhookEventId=event["id"])
        assert found == event
    body = {"events": ["key.created"], "description": "changed"}
    assert typescript.call("webhooks.updateWebhook", webhookId=webhook, body=body)["description"] == "changed"
    assert typescript.call("webhooks.deleteWebhook", webhookId=webhook) == {"deleted": True}
