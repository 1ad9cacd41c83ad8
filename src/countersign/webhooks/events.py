"""Telling of an event: a delivery for each webhook that asked for it, written with the change itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from countersign.api import encode
from countersign.encoding import strictjson
from countersign.jobs import enqueue
from countersign.outgoing import host_of
from countersign.storage import Transaction
from countersign.webhooks import javascript_json, store
from countersign.webhooks.kinds import EventKind
from countersign.world import World

#: The kind of job that delivers.
DELIVER = "webhooks.deliver"


class Pending(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What the job of a delivery holds; ``data`` is JSON text as JavaScript writes it, frozen when it happened.

    ``event_id`` is that of the next attempt, drawn before it is made: repeated after a crash it keeps its id.
    """

    webhook_id: str
    event_id: str
    kind: str
    date: int
    data: str
    attempt: int = 1
    retry_of: str | None = None


def emit(org_id: str, kind: EventKind, data: Mapping[str, Any], world: World) -> Transaction[None]:
    """Tell the organisation's webhooks of an event, when the transaction that this is part of is committed.

    ``data``: what the event shows, in wire types or plain values; a key or a signature request as the API shows it.
    Costs one look-up where nobody asked for the kind.
    """
    rows = yield store.SUBSCRIBED, (org_id,)
    wanted = [(webhook_id, url) for webhook_id, url, events in rows if _asks(events, kind)]
    if not wanted:
        return
    now = world.now()
    text = javascript_json.dumps(strictjson.parse_object(encode(data)))
    for webhook_id, url in wanted:
        pending = Pending(webhook_id, world.new_id("whe"), kind, now, text)
        yield from enqueue(DELIVER, org_id, pending, None, None, world, lane=lane(url, webhook_id))


def listening(org_id: str) -> Transaction[bool]:
    """Whether any webhook of the organisation is told of anything: spares the making of events for nobody."""
    return bool((yield store.SUBSCRIBED, (org_id,)))


def lane(url: str, webhook_id: str) -> str:
    """What shares a bound on deliveries: the host, and the webhook."""
    return f"{host_of(url)} {webhook_id}"


def _asks(events: str, kind: str) -> bool:
    return f'"{kind}"' in events or '"*"' in events
