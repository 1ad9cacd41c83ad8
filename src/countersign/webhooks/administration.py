"""Webhooks as operators see them, over all organisations: never their secrets."""

from __future__ import annotations

from dataclasses import dataclass

from countersign.storage import Transaction
from countersign.webhooks import store
from countersign.webhooks.resending import resend, unheard
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


def resend_since(org_id: str, webhook_id: str, since: int, world: World) -> Transaction[tuple[str, ...]]:
    """Send again every event whose last attempt since then (seconds) failed; ids of those attempts.

    Raises what :func:`resend` raises.
    """
    events = tuple((yield from unheard(org_id, webhook_id, since)))
    for event_id in events:
        yield from resend(org_id, webhook_id, event_id, world)
    return events
