"""The durable work of a server: every kind of job in one table, and the worker process."""

from __future__ import annotations

import asyncio
import os
import signal

import structlog

from countersign.access.keyring import KeyRing
from countersign.audit.entry import System
from countersign.audit.log import append
from countersign.encoding.dates import to_iso
from countersign.identity import mail_delivery
from countersign.identity.local_commands import Impossible
from countersign.identity.mail_delivery import Post
from countersign.jobs import Done, Job, Kind, Outcome, queue
from countersign.jobs.inspection import Shown, drop, find, retry
from countersign.jobs.workers import Workers
from countersign.keys.approved_signatures import SIGN_APPROVED, ApprovedSignatures, dropped
from countersign.keys.finishing import Finishing
from countersign.policies.deciding import END_APPROVAL
from countersign.policies.expiry import Expiry
from countersign.server.metrics import Metrics
from countersign.server.outgoing import customer_rules, outgoing_client
from countersign.server.services import Services
from countersign.server.settings import Settings
from countersign.storage import Database, Transaction
from countersign.webhooks.delivery import Deliveries, Limits, Webhooks
from countersign.world import World

_DAY_MS = 86_400_000
_HOUR_MS = 3_600_000
#: Jobs that what was promised to somebody rests on: no time makes one of them forgotten, dead or not.
_KEPT = frozenset({SIGN_APPROVED, END_APPROVAL})

log = structlog.get_logger("countersign.jobs")


def kinds(services: Services) -> tuple[Kind, ...]:
    """Every kind of job that this server knows; a new one is added here."""
    settings, database, world = services.settings, services.database, services.world
    deliveries = Deliveries(services.get(Webhooks), database, world)
    approved = ApprovedSignatures(services.get(Finishing), world)
    return (
        _forget_dead(settings, database, world),
        *deliveries.kinds(),
        mail_delivery.kind(services.get(Post), services.ring, database, world),
        approved.kind(),
        Expiry(database, world).kind(),
    )


def _forget_dead(settings: Settings, database: Database, world: World) -> Kind:
    async def run(_job: Job) -> Outcome:
        before = world.now() - settings.dead_job_days * _DAY_MS
        while await database.write(lambda: queue.forget_dead(before, _KEPT)):
            pass
        return Done()

    return Kind("jobs.forget_dead", run, every_ms=_HOUR_MS)


def webhooks(settings: Settings, ring: KeyRing, installation_id: str) -> Webhooks:
    """What sends to customers' endpoints; secrets are sealed under the server's keys that never end."""
    client = outgoing_client(settings, customer_rules(settings), "Countersign-Webhooks")
    if settings.profile == "production" and (client.rules.allowed or client.rules.allowed_hosts):
        log.warning(
            "URLs of customers may lead to addresses that are not public",
            networks=client.rules.allowed,
            hosts=client.rules.allowed_hosts,
        )
    return Webhooks(
        client,
        lambda secret, webhook_id: ring.payload_seal.seal(secret, webhook_id),
        lambda sealed, webhook_id: ring.payload_seal.open(sealed, webhook_id),
        installation_id,
        Limits(
            settings.webhook_limit,
            settings.webhook_auto_disable_after,
            settings.webhooks_in_flight,
            settings.webhook_host_in_flight,
        ),
    )


def workers(services: Services, metrics: Metrics) -> Workers:
    """Those of this process."""
    settings, world = services.settings, services.world
    owner = f"{os.getpid()}-{world.randomness(8).hex()}"
    return Workers(
        services.database,
        kinds(services),
        owner,
        world,
        lease_ms=settings.job_lease_seconds * 1000,
        count=metrics.count_job,
    )


async def work_alone(settings: Settings, world: World) -> None:
    """Run jobs in a process that serves nobody, until SIGTERM or SIGINT."""
    from countersign.server.runtime import running

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(settings, world, first_process=False, run_jobs=True):
        log.info("working", process=os.getpid())
        await stop.wait()
        log.info("stopping")


def change_by_command(what: str, job_id: str, installation_id: str, world: World) -> Transaction[Shown | None]:
    """``retry`` or ``drop`` a job, with an entry in the audit log of its organisation; ``None`` when it cannot be.

    Raises ``Impossible`` for one that what was promised to somebody rests on. Of these a dead one that was to sign can
    be dropped: its signature request ends as failed.
    """
    now = world.now()
    found = (yield from find(job_id, now)) if what == "drop" else None
    if found is not None and found.kind in _KEPT and (found.kind, found.state) != (SIGN_APPROVED, "Dead"):
        raise Impossible(f"{job_id} carries what an approval is about to its end: dropped, that would never end")
    job = yield from (drop if what == "drop" else retry)(job_id, now)
    if what == "drop" and job is not None and job.kind == SIGN_APPROVED:
        yield from dropped(job.org_id, job.payload, installation_id, world)
    if job is not None and job.org_id:
        yield from append(
            System(
                installation_id=installation_id,
                org_id=job.org_id,
                id=world.new_id("uj"),
                date_performed=to_iso(now),
                entity_ids=(job_id,),
                event="JobDropped" if what == "drop" else "JobRetried",
                details={"kind": job.kind, "state": job.state, "reason": job.reason or ""},
            ),
            None,
        )
    return job
