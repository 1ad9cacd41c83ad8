"""Webhooks as operators see them, over all organisations: never their secrets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from countersign.storage import Transaction
from countersign.webhooks import store
from countersign.webhooks.resending import follow
from countersign.world import World


@dataclass(frozen=True, slots=True)
class Listed:
    """A webhook. ``failing``: events in a row whose every attempt failed."""

    org_id: str
    webhook_id: str
    url: str
    status: str
    failing: int


def list_all() -> Transaction[list[Listed]]:
    """Every webhook there is."""
    return [Listed(*row) for row in (yield store.LIST_ALL, ())]


def organisation_of(webhook_id: str) -> Transaction[str | None]:
    """Whose it is; ``None`` where there is none of this id."""
    rows = yield store.FIND_ORGANISATION, (webhook_id,)
    return str(rows[0][0]) if rows else None


def resend_some(
    org_id: str, webhook_id: str, events: Sequence[tuple[str, str | None]], world: World
) -> Transaction[int]:
    """Send again some of what :func:`countersign.webhooks.resending.unheard` found; how many.

    Raises ``ApiError`` where the webhook is disabled.
    """
    for event_id, waiting in events:
        yield from follow(org_id, webhook_id, event_id, waiting, world)
    return len(events)
