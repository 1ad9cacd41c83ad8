"""Wire types of webhooks."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from countersign.api import UNSET, Page, UnsetType, Wire
from countersign.webhooks.kinds import EventKind, SubscribedKind

Status = Literal["Enabled", "Disabled"]
Events = Annotated[list[SubscribedKind], Meta(min_length=1, max_length=100)]
Description = Annotated[str, Meta(max_length=256)]


class Webhook(Wire):
    """A webhook without its secret."""

    id: str
    url: str
    events: list[SubscribedKind]
    status: Status
    description: str | UnsetType = UNSET
    date_created: str
    date_updated: str


class CreatedWebhook(Webhook):
    """The only answer that shows the secret."""

    secret: str


class WebhookList(Wire):
    """A page of webhooks."""

    items: list[Webhook]
    next_page_token: str | UnsetType = UNSET


class CreateWebhook(Wire):
    """``url`` is https, to a public address; ``events`` holds kinds, or `*` for all of them."""

    url: str
    events: Events
    status: Status | UnsetType = UNSET
    description: Description | UnsetType = UNSET


class UpdateWebhook(Wire):
    """What is left out stays. The secret always does."""

    url: str | UnsetType = UNSET
    events: Events | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    description: Description | UnsetType = UNSET


class Deleted(Wire):
    """The webhook is gone."""

    deleted: Literal[True] = True


class PingResult(Wire):
    """``status``: the HTTP status of the endpoint, or why it was not reached."""

    status: str
    error: str | UnsetType = UNSET


class ListWebhookEvents(Page):
    """Filters of the list: a kind, and whether the attempt failed."""

    kind: EventKind | UnsetType = UNSET
    delivery_failed: str | UnsetType = UNSET


class WebhookEvent(Wire):
    """One attempt to deliver an event. ``timestamp_sent`` in seconds; ``retry_of``: the attempt before this one."""

    id: str
    kind: EventKind
    date: str
    data: msgspec.Raw
    status: str
    error: str | UnsetType = UNSET
    timestamp_sent: int
    delivery_failed: bool
    delivery_attempt: int
    retry_of: str | UnsetType = UNSET
    next_attempt_date: str | UnsetType = UNSET


class Resent(Wire):
    """The attempt that follows, which is made at once; ``id`` is the one that it is stored and delivered under."""

    id: str
    kind: str
    delivery_attempt: int
    retry_of: str


class WebhookEventList(Wire):
    """A page of attempts."""

    items: list[WebhookEvent]
    next_page_token: str | UnsetType = UNSET
