"""Deliveries over both engines, with a clock that is moved and an endpoint that answers as it is told."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from countersign.api import UNSET, ApiError, PageRequest
from countersign.jobs import queue
from countersign.jobs.inspection import listing, retry
from countersign.jobs.plan import Bounds
from countersign.jobs.workers import Workers
from countersign.outgoing import Answer, OutgoingClient, Rules, Unreached
from countersign.storage import Database, Statement, Transaction
from countersign.webhooks import emit, webhooks
from countersign.webhooks.administration import resend_some
from countersign.webhooks.delivery import PLAN, RETENTION_SECONDS, Deliveries, Limits, Webhooks, consequence, result_of
from countersign.webhooks.resending import resend, unheard
from countersign.webhooks.signature import verify
from countersign.webhooks.types import CreateWebhook, Resent, UpdateWebhook
from countersign.world import World
from tests.jobs.support import ORG, Clock

SECRET = "whs-0123456789abcdefghijABCDEFGHIJ01"
HOOK = "wh-00000-00000-0000000000000001"
AUDIT = Statement("tests.audit", "SELECT entry FROM audit_entries ORDER BY entry_id")
MINUTE = 60_000


@dataclass
class Endpoint:
    """Instead of the client: keeps what it is sent; answers in turn, 200 when nothing is left to answer."""

    answers: list[Answer | Unreached | BaseException] = field(default_factory=list)
    sent: list[dict[str, Any]] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    rules: Rules = field(default_factory=Rules)

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> Answer | Unreached:
        self.urls.append(url)
        assert verify(SECRET, body, headers["X-DFNS-WEBHOOK-SIGNATURE"])
        self.sent.append(json.loads(body))
        answer = self.answers.pop(0) if self.answers else Answer(200, b"")
        if isinstance(answer, BaseException):
            raise answer
        return answer


@dataclass
class House:
    """A database with one webhook, and what delivers to it."""

    database: Database
    clock: Clock
    endpoint: Endpoint
    limits: Limits = field(default_factory=Limits)

    @property
    def world(self) -> World:
        return World(clock=self.clock)

    def workers(self) -> Workers:
        client = cast("OutgoingClient", self.endpoint)
        service = Webhooks(client, lambda plain, _: plain, lambda sealed, _: sealed, "in-test", self.limits)
        deliver, _forget = Deliveries(service, self.database, self.world).kinds()
        return Workers(self.database, [replace(deliver, bounds=Bounds(4))], "me", self.world)

    async def create(self, webhook_id: str = HOOK, *events: str, **members: Any) -> None:
        body = CreateWebhook(url="https://hooks.test/a", events=cast("Any", list(events or ("*",))), **members)
        await self.database.write(
            lambda: webhooks.create(ORG, webhook_id, body, SECRET, SECRET.encode(), 5, self.clock.now)
        )

    async def update(self, **members: Any) -> None:
        await self.database.write(lambda: webhooks.update(ORG, HOOK, UpdateWebhook(**members), self.clock.now))

    async def emit(self, data: dict[str, Any] | None = None) -> None:
        await self.database.write(lambda: emit(ORG, "key.created", data or {"key": {"id": "k"}}, self.world))

    async def resend(self, event_id: str, webhook_id: str = HOOK) -> Resent:
        # A moment later, so that ids tell their order.
        self.clock.now += 1
        return await self.database.write(lambda: resend(ORG, webhook_id, event_id, self.world))

    async def exhaust(self) -> None:
        """One event whose every attempt fails."""
        await self.emit()
        for _ in range(PLAN.attempts):
            self.endpoint.answers.append(Answer(500, b""))
            await self.workers().until_idle()
            self.clock.now += 25 * 60 * MINUTE

    async def events(self) -> list[dict[str, Any]]:
        """The stored attempts, the oldest first."""
        page = PageRequest("zzzz", 100, "test")
        items, _ = await self.database.read(lambda: webhooks.events_page(ORG, HOOK, None, None, page))
        return [{name: getattr(item, name) for name in item.__struct_fields__} for item in reversed(items)]

    async def log(self) -> list[dict[str, Any]]:
        def read() -> Transaction[list[dict[str, Any]]]:
            return [json.loads(row[0]) for row in (yield AUDIT, ())]

        return await self.database.read(read)


@pytest.fixture
def house(database: Database) -> House:
    return House(database, Clock(1_800_000_000_000), Endpoint())


async def test_retries_follow_the_plan_each_an_attempt_of_its_own(house: House) -> None:
    await house.create()
    start = house.clock.now
    await house.emit({"key": {"name": "\u00fc \u2028", "10": 1, "2": 2.0}})
    # The id of an attempt is drawn when the one before it failed: a moment later, so that ids tell their order.
    house.clock.now += 1
    house.endpoint.answers += [Answer(500, b""), Unreached("ETIMEDOUT"), Answer(201, b""), Answer(302, b"")]
    waits = [MINUTE, 11 * MINUTE, 108 * MINUTE, 22 * 60 * MINUTE]
    await house.workers().until_idle()
    for number, wait in enumerate(waits, start=2):
        (waiting,) = await house.database.read(lambda: listing(house.clock.now))
        assert waiting.due_at is not None
        assert wait <= waiting.due_at - house.clock.now <= wait * 1.1
        house.clock.now = waiting.due_at - 1
        await house.workers().until_idle()
        assert len(house.endpoint.sent) == number - 1
        house.clock.now += 1
        await house.workers().until_idle()
        assert len(house.endpoint.sent) == number
    sent, stored = house.endpoint.sent, await house.events()
    assert [each["deliveryAttempt"] for each in sent] == [1, 2, 3, 4, 5]
    assert len({each["id"] for each in sent}) == 5
    assert [each.get("retryOf") for each in sent] == [None, *(each["id"] for each in sent[:4])]
    assert len({json.dumps([each["kind"], each["date"], each["data"]]) for each in sent}) == 1
    assert list(sent[0]["data"]["key"]) == ["2", "10", "name"]
    assert sent[0]["timestampSent"] == start // 1000 < sent[1]["timestampSent"]
    assert [each["id"] for each in stored] == [each["id"] for each in sent]
    assert [each["status"] for each in stored] == ["500", "ETIMEDOUT", "201", "302", "200"]
    assert [each["delivery_failed"] for each in stored] == [True, True, True, True, False]
    assert all(each["next_attempt_date"] for each in stored[:4])
    assert await house.database.read(lambda: listing(house.clock.now)) == []


async def test_d1_a_delivery_that_is_repeated_after_a_crash_keeps_its_id(house: House) -> None:
    await house.create()
    await house.emit()
    (lost,) = await house.database.write(
        lambda: queue.take("webhooks.deliver", {f"hooks.test {HOOK}": 1}, "lost", house.clock.now, 1000)
    )
    client = cast("OutgoingClient", house.endpoint)
    service = Webhooks(client, lambda plain, _: plain, lambda sealed, _: sealed, "in-test", Limits())
    # It reaches the endpoint, and the worker dies before it can say so.
    await Deliveries(service, house.database, house.world).deliver(lost)
    house.clock.now += 1000
    await house.workers().until_idle()
    first, second = house.endpoint.sent
    assert {**first, "timestampSent": 0} == {**second, "timestampSent": 0}
    assert [each["id"] for each in await house.events()] == [first["id"]]


async def test_after_the_fifth_attempt_an_operator_can_have_it_sent_again(house: House) -> None:
    await house.create()
    await house.exhaust()
    stored = await house.events()
    assert len(stored) == 5
    (dead,) = await house.database.read(lambda: listing(house.clock.now, dead=True))
    assert dead.reason == f"{HOOK} answered 500"
    assert [each["next_attempt_date"] is UNSET for each in stored] == [False] * 4 + [True]
    assert await house.database.write(lambda: retry(dead.job_id, house.clock.now)) is not None
    await house.workers().until_idle()
    again = house.endpoint.sent[-1]
    assert (again["deliveryAttempt"], again["retryOf"]) == (6, stored[-1]["id"])


async def test_an_event_is_sent_again_when_somebody_asks_for_it(house: House) -> None:
    await house.create()
    await house.emit()
    await house.workers().until_idle()
    (taken,) = await house.events()
    again = await house.resend(taken["id"])
    # Asked for twice, it is sent once.
    assert await house.resend(taken["id"]) == again
    await house.workers().until_idle()
    first, second = house.endpoint.sent
    assert (again.id, again.delivery_attempt, again.retry_of) == (second["id"], 2, first["id"])
    assert (second["deliveryAttempt"], second["retryOf"], second["data"]) == (2, first["id"], first["data"])
    assert [each["id"] for each in await house.events()] == [first["id"], second["id"]]
    # It was sent, and is asked for once more; what fails then is tried again at the next request, and no second time.
    house.endpoint.answers += [Answer(500, b""), Answer(500, b"")]
    attempts = []
    for _ in range(3):
        attempts.append((await house.resend(taken["id"])).delivery_attempt)
        await house.workers().until_idle()
    assert attempts == [2, 3, 4]
    assert await house.database.read(lambda: listing(house.clock.now)) == []


async def test_a_retry_that_is_due_later_is_made_now_and_the_plan_goes_on_behind_it(house: House) -> None:
    await house.create()
    house.endpoint.answers += [Answer(500, b""), Answer(500, b"")]
    await house.emit()
    await house.workers().until_idle()
    (failed,) = await house.events()
    again = await house.resend(failed["id"])
    await house.workers().until_idle()
    assert [each["deliveryAttempt"] for each in house.endpoint.sent] == [1, 2]
    assert house.endpoint.sent[1]["id"] == again.id
    (waiting,) = await house.database.read(lambda: listing(house.clock.now))
    assert (waiting.attempts, json.loads(waiting.payload)["attempt"]) == (2, 3)
    # While an attempt is under way, there is no second one.
    under_way = await house.resend(again.id)
    await house.database.write(
        lambda: queue.take("webhooks.deliver", {f"hooks.test {HOOK}": 1}, "other", house.clock.now, 1000)
    )
    assert await house.resend(again.id) == under_way
    assert len(await house.database.read(lambda: listing(house.clock.now))) == 1


async def test_what_nobody_heard_while_an_endpoint_was_down_is_sent_again(house: House) -> None:
    await house.create()
    for _ in range(2):
        await house.exhaust()
    await house.emit()
    await house.workers().until_idle()
    last = [each["id"] for each in await house.events() if each["delivery_attempt"] == 5]
    assert len(last) == 2
    found = await house.database.read(lambda: unheard(ORG, HOOK, 0))
    assert [event_id for event_id, _ in found] == last
    assert await house.database.write(lambda: resend_some(ORG, HOOK, found, house.world)) == 2
    await house.workers().until_idle()
    again = sorted((each["deliveryAttempt"], each["retryOf"]) for each in house.endpoint.sent[-2:])
    assert again == [(6, each) for each in last]
    assert await house.database.read(lambda: unheard(ORG, HOOK, 0)) == []
    # The dead jobs were theirs.
    assert await house.database.read(lambda: listing(house.clock.now, dead=True)) == []


async def test_what_cannot_be_sent_again_is_refused(house: House) -> None:
    await house.create()
    await house.emit()
    await house.workers().until_idle()
    (taken,) = await house.events()
    await house.update(status="Disabled")
    for hook, event, code in (
        (HOOK, taken["id"], "WEBHOOK_DISABLED"),
        ("wh-00000-00000-0000000000000009", taken["id"], "NOT_FOUND"),
    ):
        with pytest.raises(ApiError) as refused:
            await house.resend(event, hook)
        assert refused.value.code == code
    await house.update(status="Enabled")
    # An event goes to its own webhook only, not to whichever URL another one of the organisation has.
    other = "wh-00000-00000-0000000000000002"
    await house.create(other, "key.deleted")
    for event, hook in (("whe-00000-00000-0000000000000009", HOOK), (taken["id"], other)):
        with pytest.raises(ApiError) as refused:
            await house.resend(event, hook)
        assert refused.value.code == "NOT_FOUND"
        with pytest.raises(ApiError) as refused:
            await house.database.read(lambda each=hook, of=event: webhooks.get_event(ORG, each, of))
        assert refused.value.code == "NOT_FOUND"
    assert len(house.endpoint.sent) == 1


async def test_an_event_is_sent_again_to_where_its_webhook_is_now(house: House) -> None:
    """Who changed the URL signed for that; the address of the time when it happened is nobody's any more."""
    await house.create()
    await house.emit()
    await house.workers().until_idle()
    (taken,) = await house.events()
    await house.update(url="https://moved.test/b")
    await house.resend(taken["id"])
    await house.workers().until_idle()
    assert house.endpoint.urls == ["https://hooks.test/a", "https://moved.test/b"]


async def test_a_disabled_webhook_is_not_tried_again_and_an_enabled_one_is(house: House) -> None:
    await house.create()
    house.endpoint.answers += [Answer(500, b""), Answer(500, b"")]
    await house.emit()
    await house.emit()
    await house.workers().until_idle()
    await house.update(status="Disabled")
    await house.emit()
    await house.update(status="Enabled")
    house.clock.now += 2 * MINUTE
    await house.workers().until_idle()
    # The one of the time in which it was disabled is not told.
    assert [each["deliveryAttempt"] for each in house.endpoint.sent] == [1, 1, 2, 2]
    house.endpoint.answers.append(Answer(500, b""))
    await house.emit()
    await house.workers().until_idle()
    await house.update(status="Disabled")
    house.clock.now += 2 * MINUTE
    await house.workers().until_idle()
    assert len(house.endpoint.sent) == 5
    assert await house.database.read(lambda: listing(house.clock.now)) == []


async def test_a_deleted_webhook_is_told_nothing_more(house: House) -> None:
    await house.create()
    await house.emit()
    await house.database.write(lambda: webhooks.delete(ORG, HOOK))
    await house.workers().until_idle()
    assert house.endpoint.sent == []


async def test_only_those_that_asked_for_the_kind_are_told(house: House) -> None:
    await house.create(HOOK, "key.deleted")
    await house.create("wh-00000-00000-0000000000000002", "key.deleted", "key.created")
    await house.create("wh-00000-00000-0000000000000003", status="Disabled")
    await house.emit()
    await house.workers().until_idle()
    assert len(house.endpoint.sent) == 1


async def test_a_webhook_that_fails_is_noted_once_and_disabled_where_the_setting_says_so(house: House) -> None:
    await house.create()
    house.limits = Limits(auto_disable_after=3)
    for _ in range(2):
        await house.exhaust()
    await house.emit()
    await house.workers().until_idle()
    for _ in range(3):
        await house.exhaust()
    await house.exhaust()
    events = [entry["event"] for entry in await house.log()]
    assert events == ["WebhookFailing", "WebhookFailing", "WebhookDisabled"]
    assert (await house.database.read(lambda: webhooks.get(ORG, HOOK))).status == "Disabled"
    # Enabled again it has all its tries.
    await house.update(status="Enabled")
    await house.exhaust()
    assert (await house.database.read(lambda: webhooks.get(ORG, HOOK))).status == "Enabled"


async def test_events_are_kept_for_31_days(house: House) -> None:
    await house.create()
    await house.emit()
    await house.workers().until_idle()
    client = cast("OutgoingClient", house.endpoint)
    service = Webhooks(client, lambda plain, _: plain, lambda sealed, _: sealed, "in-test", Limits())
    _deliver, forget = Deliveries(service, house.database, house.world).kinds()
    running = Workers(house.database, [forget], "me", house.world)
    await house.database.write(lambda: queue.ensure(forget, house.world))
    house.clock.now += RETENTION_SECONDS * 1000
    await running.until_idle()
    assert len(await house.events()) == 1
    house.clock.now += 60 * MINUTE
    await running.until_idle()
    assert await house.events() == []


def test_what_is_kept_of_an_answer_depends_on_where_it_came_from() -> None:
    assert result_of(Answer(500, b"inside", public=False)).error is None
    assert result_of(Answer(500, b"out\0side \xff", public=True)).error == "out\ufffdside \ufffd"
    assert result_of(Answer(200, b"thanks", public=True)).error is None
    assert result_of(Unreached("BLOCKED_ADDRESS")).status == "BLOCKED_ADDRESS"
    for status in (199, 201, 202, 204, 206, 301, 302, 307, 404, 500):
        assert not result_of(Answer(status, b"")).taken


def test_consequences_of_exhausted_events() -> None:
    assert [consequence(failing, 0) for failing in (1, 2, 100)] == ["notice", "none", "none"]
    assert [consequence(failing, 3) for failing in (1, 2, 3, 4)] == ["notice", "none", "disable", "disable"]
    assert consequence(1, 1) == "disable"
