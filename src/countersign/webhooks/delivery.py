"""Delivering: one attempt of one event, what is written of it, and what follows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import msgspec
import structlog

from countersign.api import ApiError
from countersign.audit.entry import System
from countersign.audit.log import append
from countersign.encoding.dates import to_iso
from countersign.jobs import Done, Failed, Job, Kind, Outcome, RetryPlan
from countersign.jobs.plan import Bounds
from countersign.outgoing import Answer, OutgoingClient, Unreached
from countersign.storage import Database, Transaction
from countersign.webhooks import store
from countersign.webhooks.events import DELIVER, Pending
from countersign.webhooks.signature import HEADER, Delivery, body_of, sign
from countersign.world import World

_MINUTE = 60_000
#: Attempts after the first, from the first on: 1 minute, 12 minutes, 2 hours, 24 hours.
PLAN = RetryPlan((_MINUTE, 12 * _MINUTE, 120 * _MINUTE, 1440 * _MINUTE), jitter=0.1)
#: Deliveries that one process has under way at most.
IN_FLIGHT = 256
#: Pings of one organisation that one process has under way at most. They take connections from the deliveries of all:
#: an endpoint that trickles holds one for the time of a whole exchange.
PINGS_IN_FLIGHT = 5
_PING_AGAIN_SECONDS = 10
RETENTION_SECONDS = 31 * 86_400
_HOUR_MS = 3_600_000
_FORGOTTEN_AT_ONCE = 1000

log = structlog.get_logger("countersign.webhooks")


@dataclass(frozen=True, slots=True)
class Limits:
    """``auto_disable_after``: exhausted events in a row, 0 for never; the others bound deliveries per process."""

    per_organisation: int = 5
    auto_disable_after: int = 0
    per_webhook: int = 8
    per_host: int = 16


@dataclass(frozen=True, slots=True)
class Result:
    """How an attempt ended: ``status`` is the HTTP status or an error code; ``error`` the answer's text, if shown."""

    status: str
    error: str | None

    @property
    def taken(self) -> bool:
        """Exactly 200 is; a redirect or another success is not."""
        return self.status == "200"


def result_of(answer: Answer | Unreached) -> Result:
    """What is kept and shown of an answer: never its headers, and its text only if it came from a public address."""
    if isinstance(answer, Unreached):
        return Result(answer.code, answer.code)
    if answer.status == 200:
        return Result("200", None)
    if not answer.public:
        return Result(str(answer.status), None)
    # NUL is no text to a database.
    text = answer.body.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
    return Result(str(answer.status), text or None)


#: What an endpoint that exhausted an event means for its webhook.
Consequence = Literal["none", "notice", "disable"]


def consequence(failing: int, auto_disable_after: int) -> Consequence:
    """``failing``: events in a row whose every attempt failed, this one included."""
    if 0 < auto_disable_after <= failing:
        return "disable"
    return "notice" if failing == 1 else "none"


@dataclass(frozen=True, slots=True)
class Webhooks:
    """What operations and jobs of webhooks work with. ``seal`` and ``open``: a secret, bound to the webhook's id."""

    client: OutgoingClient
    seal: Callable[[bytes, str], bytes]
    open: Callable[[bytes, str], bytes]
    installation_id: str
    limits: Limits
    pinging: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def ping_turn(self, org_id: str) -> Iterator[None]:
        """The time of one ping. 429 while too many of the organisation's are under way."""
        if self.pinging[org_id] >= PINGS_IN_FLIGHT:
            raise ApiError("RATE_LIMITED", headers={"Retry-After": str(_PING_AGAIN_SECONDS)})
        self.pinging[org_id] += 1
        try:
            yield
        finally:
            self.pinging[org_id] -= 1
            if not self.pinging[org_id]:
                del self.pinging[org_id]

    async def send(self, url: str, secret: str, delivery: Delivery) -> Result:
        """One attempt, signed; never raises for what the endpoint does."""
        body = body_of(delivery)
        headers = {"Content-Type": "application/json", HEADER: sign(secret, body)}
        return result_of(await self.client.post(url, body, headers))

    def secret_of(self, sealed: bytes, webhook_id: str) -> str:
        """The secret as the customer knows it."""
        return self.open(sealed, webhook_id).decode()


class Deliveries:
    """The kinds of job that webhooks need."""

    def __init__(self, webhooks: Webhooks, database: Database, world: World) -> None:
        self._webhooks = webhooks
        self._database = database
        self._world = world

    def kinds(self) -> tuple[Kind, ...]:
        """One for deliveries, one that forgets what is past its time."""
        limits = self._webhooks.limits
        return (
            Kind(DELIVER, self.deliver, PLAN, Bounds(IN_FLIGHT, (limits.per_host, limits.per_webhook)), together=True),
            Kind("webhooks.forget_events", self.forget, every_ms=_HOUR_MS),
        )

    async def deliver(self, job: Job) -> Outcome:
        """Make one attempt. A webhook that is disabled or gone by now is not told, nor is that written down."""
        pending = job.read(Pending)
        rows = await self._database.read(lambda: _target(job.org_id, pending.webhook_id))
        if not rows or rows[1] != "Enabled":
            return Done()
        url, _, sealed, failing = rows
        sent_at = self._world.now() // 1000
        delivery = Delivery(
            pending.event_id, pending.kind, pending.date, pending.data, pending.attempt, pending.retry_of, sent_at
        )
        secret = self._webhooks.secret_of(sealed, pending.webhook_id)
        result = await self._webhooks.send(url, secret, delivery)
        if result.taken:
            return Done(lambda: self._taken(job.org_id, pending.webhook_id, delivery, result, failing > 0))
        following = msgspec.structs.replace(
            pending, event_id=self._world.new_id("whe"), attempt=pending.attempt + 1, retry_of=pending.event_id
        )
        return Failed(
            f"{pending.webhook_id} answered {result.status}",
            lambda next_at: self._failed(job.org_id, pending.webhook_id, delivery, result, next_at),
            payload=msgspec.json.encode(following).decode(),
        )

    def _taken(
        self, org_id: str, webhook_id: str, delivery: Delivery, result: Result, recovers: bool
    ) -> Transaction[None]:
        yield from _insert(org_id, webhook_id, delivery, result, None)
        if recovers:
            yield store.WORKS, (org_id, webhook_id)

    def _failed(
        self, org_id: str, webhook_id: str, delivery: Delivery, result: Result, next_at: int | None
    ) -> Transaction[None]:
        yield from _insert(org_id, webhook_id, delivery, result, next_at)
        if next_at is not None:
            return
        rows = yield store.FAILS, (org_id, webhook_id)
        failing = int(rows[0][0]) if rows else 0
        match consequence(failing, self._webhooks.limits.auto_disable_after) if rows else "none":
            case "disable":
                if (yield store.DISABLE, (self._world.now(), org_id, webhook_id)):
                    yield from self._note("WebhookDisabled", org_id, webhook_id, delivery, result, failing)
            case "notice":
                yield from self._note("WebhookFailing", org_id, webhook_id, delivery, result, failing)

    def _note(
        self, event: str, org_id: str, webhook_id: str, delivery: Delivery, result: Result, failing: int
    ) -> Transaction[None]:
        details = {"eventId": delivery.event_id, "status": result.status, "eventsInARow": str(failing)}
        log.warning(event, org_id=org_id, webhook=webhook_id, **details)
        entry = System(
            installation_id=self._webhooks.installation_id,
            org_id=org_id,
            id=self._world.new_id("uj"),
            date_performed=to_iso(self._world.now()),
            entity_ids=(webhook_id,),
            event=event,
            details=details,
        )
        yield from append(entry, None)

    async def forget(self, _job: Job) -> Outcome:
        """Delete events past their time."""
        before = self._world.now() // 1000 - RETENTION_SECONDS
        while await self._database.write(lambda: _forget(before)):
            pass
        return Done()


def _target(org_id: str, webhook_id: str) -> Transaction[tuple[str, str, bytes, int] | None]:
    rows = yield store.TARGET, (org_id, webhook_id)
    return tuple(rows[0]) if rows else None


def _insert(org_id: str, webhook_id: str, delivery: Delivery, result: Result, next_at: int | None) -> Transaction[None]:
    members = (delivery.event_id, delivery.kind, delivery.date, delivery.data, result.status, result.error)
    ending = (delivery.sent_at, int(not result.taken), delivery.attempt, delivery.retry_of, next_at)
    yield store.INSERT_EVENT, (org_id, webhook_id, *members, *ending)


def _forget(before: int) -> Transaction[int]:
    return len((yield store.FORGET_EVENTS, (before, _FORGOTTEN_AT_ONCE)))
