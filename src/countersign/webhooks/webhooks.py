"""Webhooks as rows: transactions over them."""

from __future__ import annotations

import msgspec

from countersign.api import UNSET, ApiError, Effect, PageRequest, UnsetType, not_found
from countersign.encoding.dates import to_iso
from countersign.storage import Row, Transaction
from countersign.storage.pagination import page_of
from countersign.webhooks import store
from countersign.webhooks.kinds import EventKind, SubscribedKind
from countersign.webhooks.types import CreatedWebhook, CreateWebhook, UpdateWebhook, Webhook, WebhookEvent
from countersign.world import World

_SECRET_LENGTH = 32
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def new_secret(world: World) -> str:
    """``whs-`` and 32 letters and digits, each as likely as the others."""
    letters: list[str] = []
    # Bytes from 248 on would favour the first letters.
    fair = 256 - 256 % len(_LETTERS)
    while len(letters) < _SECRET_LENGTH:
        drawn = world.randomness(_SECRET_LENGTH)
        letters += [_LETTERS[byte % len(_LETTERS)] for byte in drawn if byte < fair]
    return "whs-" + "".join(letters[:_SECRET_LENGTH])


def create(
    org_id: str, webhook_id: str, body: CreateWebhook, secret: str, sealed: bytes, limit: int, now: int
) -> Transaction[Effect[CreatedWebhook]]:
    """Store a webhook. 403 when the organisation has ``limit`` of them; the unique slot keeps that under haste."""
    taken = {row[0] for row in (yield store.SLOTS, (org_id,))}
    slot = next((number for number in range(limit) if number not in taken), None)
    if slot is None:
        raise ApiError("WEBHOOK_LIMIT", f"The organisation has {limit} webhooks, which is the limit.")
    events = _text(body.events)
    status = "Enabled" if body.status is UNSET else body.status
    description = None if body.description is UNSET else body.description
    yield store.INSERT, (org_id, slot, sealed, webhook_id, body.url, events, status, description, now, now)
    shown = _shown((webhook_id, body.url, events, status, description, now, now))
    created = CreatedWebhook(**{name: getattr(shown, name) for name in shown.__struct_fields__}, secret=secret)
    return Effect(created, (webhook_id,))


def get(org_id: str, webhook_id: str) -> Transaction[Webhook]:
    """One webhook; 404 when the organisation has none of this id."""
    rows = yield store.GET, (org_id, webhook_id)
    if not rows:
        raise not_found("webhook")
    return _shown(rows[0])


def list_page(org_id: str, page: PageRequest) -> Transaction[tuple[list[Webhook], str | None]]:
    """A page of webhooks, newest first."""
    rows = yield store.LIST, (org_id, page.before, page.limit + 1)
    items, token = page_of(rows, page.limit, page.scope, lambda row: str(row[0]))
    return [_shown(row) for row in items], token


def update(org_id: str, webhook_id: str, body: UpdateWebhook, now: int) -> Transaction[Effect[Webhook]]:
    """Change what the body names. A webhook that is enabled again begins without failures."""
    events = None if body.events is UNSET else _text(body.events)
    members = (_or_none(body.url), events, _or_none(body.status), _or_none(body.description))
    rows = yield store.UPDATE, (*members, now, int(body.status == "Enabled"), org_id, webhook_id)
    if not rows:
        raise not_found("webhook")
    return Effect(_shown(rows[0]), (webhook_id,))


def delete(org_id: str, webhook_id: str) -> Transaction[Effect[None]]:
    """Remove a webhook; its events are out of reach, and go with their time."""
    if not (yield store.DELETE, (org_id, webhook_id)):
        raise not_found("webhook")
    return Effect(None, (webhook_id,))


def events_page(
    org_id: str, webhook_id: str, kind: EventKind | None, failed: bool | None, page: PageRequest
) -> Transaction[tuple[list[WebhookEvent], str | None]]:
    """A page of attempts, newest first, of one webhook; 404 when there is none of this id."""
    yield from get(org_id, webhook_id)
    statement = {
        (False, None): store.LIST_EVENTS,
        (True, None): store.LIST_EVENTS_OF_KIND,
        (False, True): store.LIST_FAILED_EVENTS,
        (False, False): store.LIST_TAKEN_EVENTS,
        (True, True): store.LIST_FAILED_EVENTS_OF_KIND,
        (True, False): store.LIST_TAKEN_EVENTS_OF_KIND,
    }[kind is not None, failed]
    kinds = () if kind is None else (kind,)
    rows = yield statement, (org_id, webhook_id, page.before, *kinds, page.limit + 1)
    items, token = page_of(rows, page.limit, page.scope, lambda row: str(row[0]))
    return [_event(row) for row in items], token


def get_event(org_id: str, webhook_id: str, event_id: str) -> Transaction[WebhookEvent]:
    """One attempt of one webhook; 404 when there is none, or no such webhook any more."""
    yield from get(org_id, webhook_id)
    rows = yield store.GET_EVENT, (org_id, webhook_id, event_id)
    if not rows:
        raise not_found("webhook event")
    return _event(rows[0])


def _text(events: list[SubscribedKind]) -> str:
    return msgspec.json.encode(events).decode()


def _or_none(value: str | UnsetType) -> str | None:
    return None if value is UNSET else value


def _shown(row: Row) -> Webhook:
    webhook_id, url, events, status, description, created_at, updated_at = row
    return Webhook(
        id=webhook_id,
        url=url,
        events=msgspec.json.decode(events),
        status=status,
        description=UNSET if description is None else description,
        date_created=to_iso(created_at),
        date_updated=to_iso(updated_at),
    )


def _event(row: Row) -> WebhookEvent:
    event_id, kind, date, data, status, error, sent_at, failed, attempt, retry_of, next_attempt_at = row
    return WebhookEvent(
        id=event_id,
        kind=kind,
        date=to_iso(date),
        data=msgspec.Raw(data.encode()),
        status=status,
        error=UNSET if error is None else error,
        timestamp_sent=sent_at,
        delivery_failed=bool(failed),
        delivery_attempt=attempt,
        retry_of=UNSET if retry_of is None else retry_of,
        next_attempt_date=UNSET if next_attempt_at is None else to_iso(next_attempt_at),
    )
