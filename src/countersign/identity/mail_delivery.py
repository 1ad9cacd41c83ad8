"""Delivery of mail: a durable job for each letter, written with it, tried again until the relay has taken it."""

from __future__ import annotations

from dataclasses import dataclass

from countersign.access.keyring import KeyRing
from countersign.credentials.outcome import Refused
from countersign.identity import mail
from countersign.identity.mail_message import compose
from countersign.identity.relay import Relay
from countersign.jobs import Done, Failed, Job, Kind, Outcome, RetryPlan
from countersign.jobs.plan import Bounds
from countersign.storage import Database
from countersign.world import World

_MINUTE, _HOUR = 60_000, 3_600_000
_PLAN = RetryPlan((_MINUTE // 2, 2 * _MINUTE, 10 * _MINUTE, 30 * _MINUTE, _HOUR, 2 * _HOUR, 6 * _HOUR, 24 * _HOUR))


@dataclass(frozen=True, slots=True)
class Post:
    """Where letters go: ``relay`` is ``None`` where they stay in the outbox. ``console``: where it is, if anywhere."""

    relay: Relay | None
    console: str | None = None


def kind(post: Post, ring: KeyRing, database: Database, world: World) -> Kind:
    """How letters are delivered."""

    async def run(job: Job) -> Outcome:
        mail_id, now = job.read(mail.Delivery).mail_id, world.now()
        letter = await database.read(lambda: mail.unsent(ring, job.org_id, mail_id, post.console))
        if post.relay is None or letter is None:
            return Done()
        if letter.good_until is not None and letter.good_until <= now:
            return Failed("its code ended before it could be sent", final=True)
        message = compose(letter, post.relay.sender)
        if isinstance(message, Refused):
            return Failed(message.reason, final=True)
        undelivered = await post.relay.send(message, letter.recipient)
        if undelivered is not None:
            return Failed(undelivered.reason, final=undelivered.final)
        return Done(lambda: mail.mark_sent(job.org_id, mail_id, world.now()))

    return Kind(mail.DELIVERY, run, plan=_PLAN, bounds=Bounds(4))
