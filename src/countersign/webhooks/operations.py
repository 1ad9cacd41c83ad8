"""Webhooks: what callers can do."""

from __future__ import annotations

from countersign.api import UNSET, Call, Effect, Page, not_found, operation, page_request, validation
from countersign.outgoing import check_url
from countersign.storage import Transaction
from countersign.webhooks import store, webhooks
from countersign.webhooks.delivery import Webhooks
from countersign.webhooks.resending import resend
from countersign.webhooks.signature import Delivery
from countersign.webhooks.types import (
    CreatedWebhook,
    CreateWebhook,
    Deleted,
    ListWebhookEvents,
    PingResult,
    Resent,
    UpdateWebhook,
    Webhook,
    WebhookEvent,
    WebhookEventList,
    WebhookList,
)
from countersign.world import World


@operation("POST", "/webhooks", permission="Webhooks:Create", signed=True, user_kinds=("CustomerEmployee",))
async def create_webhook(call: Call, body: CreateWebhook) -> CreatedWebhook:
    """Create a webhook. The answer shows its secret, once: deliveries are signed with it."""
    service = call.service(Webhooks)
    _check(service, body.url)
    webhook_id, secret = call.world.new_id("wh"), webhooks.new_secret(call.world)
    sealed = service.seal(secret.encode(), webhook_id)
    limit, now = service.limits.per_organisation, call.world.now()
    return await call.commit(lambda: webhooks.create(call.org_id, webhook_id, body, secret, sealed, limit, now))


@operation("GET", "/webhooks", permission="Webhooks:Read", user_kinds=("CustomerEmployee",))
async def list_webhooks(call: Call, query: Page) -> WebhookList:
    """List webhooks, newest first, without their secrets."""
    page = page_request(query, f"{call.org_id}/webhooks")
    items, token = await call.read(lambda: webhooks.list_page(call.org_id, page))
    return WebhookList(items=items, next_page_token=UNSET if token is None else token)


@operation("GET", "/webhooks/{webhookId}", permission="Webhooks:Read", user_kinds=("CustomerEmployee",))
async def get_webhook(call: Call) -> Webhook:
    """Get a webhook without its secret."""
    return await call.read(lambda: webhooks.get(call.org_id, call.params["webhookId"]))


@operation("PUT", "/webhooks/{webhookId}", permission="Webhooks:Update", signed=True, user_kinds=("CustomerEmployee",))
async def update_webhook(call: Call, body: UpdateWebhook) -> Webhook:
    """Change a webhook; its secret stays."""
    if body.url is not UNSET:
        _check(call.service(Webhooks), body.url)
    now = call.world.now()
    return await call.commit(lambda: webhooks.update(call.org_id, call.params["webhookId"], body, now))


@operation(
    "DELETE", "/webhooks/{webhookId}", permission="Webhooks:Delete", signed=True, user_kinds=("CustomerEmployee",)
)
async def delete_webhook(call: Call) -> Deleted:
    """Delete a webhook: it is told of nothing any more, not even of what is due to be tried again."""
    await call.commit(lambda: webhooks.delete(call.org_id, call.params["webhookId"]))
    return Deleted()


@operation(
    "POST", "/webhooks/{webhookId}/ping", permission="Webhooks:Ping", signed=True, user_kinds=("CustomerEmployee",)
)
async def ping_webhook(call: Call) -> PingResult:
    """Send an event of kind `ping` now and tell how it went; a disabled webhook too. Nothing is stored or repeated.

    An organisation has a few under way at a time.
    """
    service, webhook_id = call.service(Webhooks), call.params["webhookId"]
    with service.ping_turn(call.org_id):
        url, secret = await call.commit(lambda: _target(service, call.org_id, webhook_id))
        now = call.world.now()
        delivery = Delivery(call.world.new_id("whe"), "ping", now, "{}", 1, None, now // 1000)
        result = await service.send(url, secret, delivery)
    return PingResult(status=result.status, error=UNSET if result.error is None else result.error)


@operation("GET", "/webhooks/{webhookId}/events", permission="Webhooks:Events:Read", user_kinds=("CustomerEmployee",))
async def list_webhook_events(call: Call, query: ListWebhookEvents) -> WebhookEventList:
    """List the attempts to deliver events to a webhook, newest first; `deliveryFailed` is `true` or `false`.

    They are kept for 31 days.
    """
    webhook_id = call.params["webhookId"]
    kind = None if query.kind is UNSET else query.kind
    failed = None
    if query.delivery_failed is not UNSET:
        if query.delivery_failed.lower() not in ("true", "false"):
            raise validation("deliveryFailed", "expected true or false")
        failed = query.delivery_failed.lower() == "true"
    page = page_request(query, f"{call.org_id}/webhooks/{webhook_id}/events/{kind}/{failed}")
    items, token = await call.read(lambda: webhooks.events_page(call.org_id, webhook_id, kind, failed, page))
    return WebhookEventList(items=items, next_page_token=UNSET if token is None else token)


@operation(
    "GET",
    "/webhooks/{webhookId}/events/{webhookEventId}",
    permission="Webhooks:Events:Read",
    user_kinds=("CustomerEmployee",),
)
async def get_webhook_event(call: Call) -> WebhookEvent:
    """Get one attempt to deliver an event."""
    params = call.params
    return await call.read(lambda: webhooks.get_event(call.org_id, params["webhookId"], params["webhookEventId"]))


@operation(
    "POST",
    "/webhooks/{webhookId}/events/{webhookEventId}/resend",
    permission="Webhooks:Ping",
    signed=True,
    user_kinds=("CustomerEmployee",),
)
async def resend_webhook_event(call: Call) -> Resent:
    """Send an event again, at once: as an attempt of its own that names the one it follows, with the same data.

    A retry that is due later is made now instead. The webhook must be enabled.
    """
    webhook_id, event_id = call.params["webhookId"], call.params["webhookEventId"]
    return await call.commit(lambda: _resend(call.org_id, webhook_id, event_id, call.world))


def _resend(org_id: str, webhook_id: str, event_id: str, world: World) -> Transaction[Effect[Resent]]:
    sent = yield from resend(org_id, webhook_id, event_id, world)
    return Effect(sent, (webhook_id, event_id, sent.id))


def _check(service: Webhooks, url: str) -> None:
    """By how it is written only: where its name leads to is looked at by each attempt."""
    refused = check_url(url, service.client.rules)
    if refused is not None:
        raise validation("url", refused.reason)


def _target(service: Webhooks, org_id: str, webhook_id: str) -> Transaction[Effect[tuple[str, str]]]:
    rows = yield store.TARGET, (org_id, webhook_id)
    if not rows:
        raise not_found("webhook")
    url, _, sealed, _ = rows[0]
    return Effect((url, service.secret_of(sealed, webhook_id)), (webhook_id,))
