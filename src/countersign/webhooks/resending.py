"""Sending an event again, because its receiver asked for it: at once, as an attempt of its own."""

from __future__ import annotations

import msgspec

from countersign.api import ApiError, conflict, not_found
from countersign.jobs import enqueue
from countersign.jobs.inspection import all_of, carrying, find, retry
from countersign.storage import Transaction
from countersign.webhooks import store
from countersign.webhooks.events import DELIVER, Pending, lane
from countersign.webhooks.types import Resent
from countersign.world import World


def resend(org_id: str, webhook_id: str, event_id: str, world: World) -> Transaction[Resent]:
    """Have a stored attempt followed by another one now; it goes on by the plan if it fails.

    Where the plan or the list of dead jobs holds the next attempt already, or one that was asked for before, that one
    is made now instead of a second one; one that is under way is left to its end. 404 without such a webhook or
    attempt; 412 for a disabled webhook, which is told nothing.
    """
    waiting = yield from carrying(org_id, DELIVER, f'"retryOf":"{event_id}"', event_id)
    return (yield from follow(org_id, webhook_id, event_id, waiting, world))


def follow(org_id: str, webhook_id: str, event_id: str, waiting: str | None, world: World) -> Transaction[Resent]:
    """The same where the job of the next attempt has been looked for: ``waiting`` is its id, ``None`` without one."""
    target = yield store.TARGET, (org_id, webhook_id)
    if not target:
        raise not_found("webhook")
    url, status, _, _ = target[0]
    if status != "Enabled":
        raise ApiError("WEBHOOK_DISABLED")
    rows = yield store.GET_EVENT, (org_id, webhook_id, event_id)
    if not rows:
        raise not_found("webhook event")
    if waiting is not None:
        job = (yield from retry(waiting, world.now())) or (yield from find(waiting, world.now()))
        if job is not None:
            return _shown(msgspec.json.decode(job.payload, type=Pending))
    _, kind, date, data, _, _, _, _, attempt, _, _ = rows[0]
    pending = Pending(webhook_id, world.new_id("whe"), kind, date, data, attempt + 1, event_id)
    # Of two that ask at once, one makes the attempt.
    if (yield from enqueue(DELIVER, org_id, pending, None, event_id, world, lane=lane(url, webhook_id))) is None:
        raise conflict("The event is being sent again already", entity_id=event_id)
    return _shown(pending)


def unheard(org_id: str, webhook_id: str, since: int) -> Transaction[list[tuple[str, str | None]]]:
    """Attempts since then (seconds) that failed and were the last of their event, the oldest first.

    Each id with that of the job that could make the next attempt, where there is one.
    """
    rows = yield store.ATTEMPTS_SINCE, (org_id, webhook_id, since)
    followed = {retry_of for _, _, _, retry_of in rows}
    ended = [event_id for event_id, failed, next_at, _ in rows if failed and next_at is None]
    jobs = {}
    for job_id, payload in (yield from all_of(org_id, DELIVER)):
        jobs[msgspec.json.decode(payload, type=_Follows).retry_of] = job_id
    return [(event_id, jobs.get(event_id)) for event_id in ended if event_id not in followed]


class _Follows(msgspec.Struct, frozen=True, rename="camel"):
    retry_of: str | None = None


def _shown(pending: Pending) -> Resent:
    return Resent(
        id=pending.event_id,
        kind=pending.kind,
        delivery_attempt=pending.attempt,
        retry_of=pending.retry_of or "",
    )
