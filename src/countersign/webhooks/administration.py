"""Webhooks as operators see them, over all organisations: never their secrets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from countersign.api import ApiError
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

    Those whose next attempt is under way by now are left to it. Raises ``ApiError`` where the webhook is disabled.
    """
    sent = 0
    for event_id, waiting in events:
        try:
            yield from follow(org_id, webhook_id, event_id, waiting, world)
        except ApiError as error:
            if error.code != "CONFLICT":
                raise
        else:
            sent += 1
    return sent
