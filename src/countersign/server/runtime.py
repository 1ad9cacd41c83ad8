"""One process of the server: everything opened, connected and started in order, and stopped in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import structlog

from countersign import permissions
from countersign.access import nonce, temporary_tokens
from countersign.access.admission import Admission
from countersign.access.applications import Applications, Demands
from countersign.access.ceremony import Ceremony
from countersign.access.consents import Consents
from countersign.access.counters import Counters
from countersign.access.identify import Identifier
from countersign.access.installation import read_installation
from countersign.access.keyring import KeyRing
from countersign.access.limits import RateLimits, Rates
from countersign.access.origins import Origins
from countersign.access.routes import Routes
from countersign.audit.checkpoint import Ed25519CheckpointKey
from countersign.audit.operations import AuditLog
from countersign.audit.payloads import read_action
from countersign.audit.sequencer import Sequencer
from countersign.console import Console
from countersign.federation import IdentityProviders
from countersign.identity import credential_codes, mail, mailed_codes, providers
from countersign.identity.credential_operations import Enrolment
from countersign.identity.entrance import Entrance
from countersign.jobs.leases import HeldLease
from countersign.keys.finishing import Finishing
from countersign.keys.recovery import Recovery
from countersign.keys.service import Keys
from countersign.keystores import AuthoriserClient, Grants, SignerClient, SignerSupervisor
from countersign.keystores.outgoing import RosterKeeper
from countersign.keystores.roster_line import RosterLine
from countersign.policies import Governance
from countersign.policies.pricing import Pricing
from countersign.server import jobs, watching
from countersign.server.attestation import attestation_policy
from countersign.server.authorising import open_authoriser
from countersign.server.corridor import Corridor
from countersign.server.documents import Documents
from countersign.server.http import Face
from countersign.server.key_stores import OpenStores, open_stores, signer_client
from countersign.server.mail import post
from countersign.server.maintenance import find_installation, key_ring
from countersign.server.metrics import Metrics
from countersign.server.notices import Notices
from countersign.server.outgoing import outgoing_client, provider_rules
from countersign.server.prices import pricing
from countersign.server.router import Route, Router
from countersign.server.services import Services
from countersign.server.settings import BadSettings, Settings
from countersign.server.table import operations
from countersign.storage import Database, Transaction, open_database, read_unmigrated
from countersign.webhooks.delivery import Webhooks
from countersign.world import World

_METRICS_SECONDS = 5.0

log = structlog.get_logger("countersign.runtime")


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a running process offers to its HTTP server and to tests."""

    settings: Settings
    services: Services
    face: Face
    metrics: Metrics
    supervisor: SignerSupervisor | None
    sequencer: Sequencer
    recovery: Recovery


@asynccontextmanager
async def running(
    settings: Settings, world: World, *, first_process: bool = True, migrate: bool = False, run_jobs: bool | None = None
) -> AsyncIterator[Runtime]:
    """Open everything and keep the background work going. Raises ``NotInitialised`` and ``BadSettings``.

    ``run_jobs``: whether durable jobs run in this process; as the settings say where it is not given.
    """
    if run_jobs is not None:
        settings = msgspec.structs.replace(settings, run_jobs=run_jobs)
    async with AsyncExitStack() as stack:
        if migrate:
            _refuse_sandbox(settings, await read_unmigrated(settings.database, "installation", read_installation) or {})
        database = await open_database(
            settings.database,
            migrate=migrate,
            timeouts=settings.timeouts,
            tell=lambda name, stage: log.info("migration", name=name, stage=stage),
        )
        stack.push_async_callback(database.close)
        installation = await find_installation(database)
        _refuse_sandbox(settings, installation)
        _know(settings, installation)
        ring = await key_ring(settings, database, installation["installation_id"], world)
        supervisor = await _embedded_signer(settings, stack) if first_process else None
        store_id = installation["store_id"]
        authoriser_id = installation.get("authoriser_id")
        authoriser = await open_authoriser(settings, database, ring, authoriser_id, stack, first_process)
        signer = signer_client(database, settings.signer_socket, store_id, authoriser, world)
        await signer.start()
        stack.push_async_callback(signer.close)
        stores = await open_stores(settings, database, authoriser, world, stack, {store_id: signer}, first_process)
        runtime = _assemble(settings, world, database, ring, signer, supervisor, installation, stores, authoriser)
        stack.push_async_callback(runtime.services.get(Entrance).errands.done)
        stack.push_async_callback(runtime.services.get(Webhooks).client.close)
        stack.push_async_callback(runtime.services.get(Pricing).close)
        stack.push_async_callback(runtime.services.get(IdentityProviders).close)
        for work in _background(runtime, world):
            task = asyncio.create_task(_kept_up(work))
            stack.push_async_callback(_cancelled, task)
        if first_process and settings.profile == "production" and not settings.ceremony_transcript:
            log.warning("no ceremony_transcript is set: nothing says that this installation is the one you made")
        if first_process and settings.profile == "production" and not settings.smtp_host:
            log.warning("no smtp_host is set: nobody is mailed a code or a notice")
        yield runtime


def _refuse_sandbox(settings: Settings, installation: dict[str, str]) -> None:
    if settings.profile == "production" and installation.get("profile", "production") != "production":
        raise BadSettings("this database was made by the sandbox; a production server does not serve it")


def _know(settings: Settings, installation: dict[str, str]) -> None:
    """Whether the installation is the one that the people of the ceremony have seen, where the settings say so."""
    found = installation.get("ceremony_transcript", "")
    if settings.ceremony_transcript and settings.ceremony_transcript != found:
        raise BadSettings("ceremony_transcript is not the digest that this installation's ceremony wrote down")


async def _embedded_signer(settings: Settings, stack: AsyncExitStack) -> SignerSupervisor | None:
    if not settings.signer_embedded:
        return None
    directory = Path(settings.signer_socket).parent
    await asyncio.to_thread(lambda: directory.mkdir(mode=0o700, parents=True, exist_ok=True))
    options = ["--state", settings.signer_state, "--grant-level", settings.grant_level]
    if settings.profile == "sandbox":
        options.append("--endorse-by-itself")
    if settings.signer_workers >= 0:
        options += ["--workers", str(settings.signer_workers)]
    supervisor = SignerSupervisor(
        settings.signer_socket, settings.signer_kek, environment=settings.profile, extra=tuple(options)
    )
    await supervisor.start()
    stack.push_async_callback(supervisor.stop)
    return supervisor


def _assemble(
    settings: Settings,
    world: World,
    database: Database,
    ring: KeyRing,
    signer: SignerClient,
    supervisor: SignerSupervisor | None,
    installation: dict[str, str],
    stores: OpenStores,
    authoriser: Grants,
) -> Runtime:
    installation_id = installation["installation_id"]
    table = tuple(operation for operation in operations() if settings.console or operation.tag != "console")
    router = Router(table)
    identifier = Identifier(database, ring, world)
    consents = Consents(database, ring, installation_id, world, allow_unsigned_query=settings.allow_unsigned_query)
    counters = Counters(database, world, installation_id, settings.sign_counter_policy)
    ceremony = Ceremony(
        database,
        ring,
        consents,
        counters,
        installation_id,
        world,
        challenge_seconds=settings.challenge_seconds,
        action_seconds=settings.action_seconds,
    )
    keys = Keys(stores.signers, stores.primary, installation_id, settings.key_destruction_days)
    prefix = tuple(settings.mount_prefix.strip("/").split("/")) if settings.mount_prefix else ()
    routes = Routes(_looks_up(router), prefix)
    scheme = "https" if settings.tls_certificate else "http"
    base_url = settings.public_url or f"{scheme}://{settings.host}:{settings.port}"
    document = Documents(table, base_url + settings.mount_prefix)
    log = AuditLog(lambda sealed, entry_id: ring.payload_seal.open(sealed, entry_id))
    enrolment = Enrolment(ring, installation_id, settings.challenge_seconds, attestation_policy(settings))
    rosters: dict[str, RosterLine] = dict(stores.signers)
    if isinstance(authoriser, AuthoriserClient):
        rosters[installation["authoriser_id"]] = authoriser
    keeper = RosterKeeper(database, rosters, world)
    finishing = Finishing(database, keys, read_action(log.open_payload))
    governance = Governance(
        settings.service_accounts_approve, partial(permissions.may, operation="Policies:Evaluations:Vote")
    )
    webhooks = jobs.webhooks(settings, ring, installation_id)
    prices = pricing(settings, world)
    letters = post(settings)
    others = (
        letters,
        ceremony,
        keys,
        routes,
        document,
        log,
        _limits(settings, world),
        enrolment,
        keeper,
        governance,
        webhooks,
        finishing,
        prices,
        Console(installation_id, sandbox=settings.profile == "sandbox"),
    )
    entrance = Entrance(
        database,
        counters,
        installation_id,
        settings.session_seconds,
        settings.sign_in_seconds,
        settings.login_enumeration_protection,
        settings.recovery_hold_hours,
        settings.delegated_recovery_hold_hours,
    )
    to_providers = outgoing_client(settings, provider_rules(settings), "Countersign")
    identity_providers = IdentityProviders(to_providers, world)
    services = Services(
        settings, world, database, ring, signer, installation_id, (*others, entrance, identity_providers)
    )
    metrics = Metrics(database.statistics)
    admission = _admission(settings, database, ring, world)
    corridor = Corridor(router, services, identifier, admission, consents, metrics)
    checkpoint_key = ring.keys.active("checkpoint")
    owner = f"{os.getpid()}-{world.randomness(8).hex()}"
    sequencer = Sequencer(
        database,
        world,
        installation_id,
        Ed25519CheckpointKey(checkpoint_key.kid, checkpoint_key.secret),
        lease=HeldLease(database, "audit-sequencer", owner, world),
        interval=settings.checkpoint_milliseconds / 1000,
    )
    origins = None if settings.profile == "sandbox" else Origins(database, world, services.get(RateLimits))
    face = Face(corridor, settings.trusted_proxies, origins)
    return Runtime(settings, services, face, metrics, supervisor, sequencer, Recovery(finishing, world))


def _limits(settings: Settings, world: World) -> RateLimits:
    rates = Rates(
        organisation=settings.organisation_requests_per_minute,
        address=settings.address_requests_per_minute,
        public=settings.public_requests_per_minute,
        username=settings.username_requests_per_minute,
        code=settings.code_tries_per_minute,
        codes_an_hour=settings.code_tries_per_hour,
    )
    return RateLimits(rates, world)


def _admission(settings: Settings, database: Database, ring: KeyRing, world: World) -> Admission:
    public = urlsplit(settings.public_url)
    hosts = settings.public_hosts or ((public.netloc,) if public.netloc else ())
    return Admission(
        Applications(database, ring, world),
        database,
        world,
        Demands(settings.require_application_id, settings.require_nonce, settings.require_api_signature),
        nonce_length=settings.nonce_min_length,
        hosts=frozenset(host.lower() for host in hosts),
        scheme=public.scheme or ("https" if settings.tls_certificate else "http"),
        any_host=settings.profile == "sandbox",
    )


def _looks_up(router: Router) -> Callable[[str, Sequence[str]], bool]:
    return lambda method, segments: isinstance(router.find(method, segments), Route)


def _background(runtime: Runtime, world: World) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    settings = runtime.settings
    durable: list[Callable[[], Coroutine[Any, Any, None]]] = []
    if settings.run_jobs:
        durable.append(jobs.workers(runtime.services, runtime.metrics).run)
    return [
        *durable,
        lambda: watching.watch(runtime.services, runtime.metrics),
        runtime.sequencer.run,
        lambda: runtime.recovery.run(settings.recovery_seconds * 1000, min(5.0, float(settings.recovery_seconds))),
        lambda: _refresh_keys(runtime, world),
        Notices(runtime.services.database, world).run,
        runtime.services.get(RosterKeeper).run,
        lambda: _keep_metrics(runtime.metrics),
    ]


async def _refresh_keys(runtime: Runtime, world: World) -> None:
    """New server keys for the background work, and old nonces forgotten."""
    ring, database = runtime.services.ring, runtime.services.database
    while True:
        await asyncio.sleep(runtime.settings.key_refresh_seconds)
        await ring.load()
        # Whether it is new or not: a token under another new key may have had the ring read already.
        key = ring.keys.active("checkpoint")
        runtime.sequencer.use_key(Ed25519CheckpointKey(key.kid, key.secret))
        await database.write(lambda: _forget(world.now()))


def _forget(now: int) -> Transaction[None]:
    """What was remembered against a second use and has ended by itself."""
    yield from nonce.forget(now)
    yield from temporary_tokens.forget(now)
    yield from credential_codes.forget(now)
    yield from mailed_codes.forget(now)
    yield from mail.forget(now)
    yield from providers.forget(now)


async def _kept_up(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Background work ends with the process only: an unforeseen fault is logged, and the work begun again."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("background work failed and is begun again")
            await asyncio.sleep(1)


async def _keep_metrics(metrics: Metrics) -> None:
    """For the process that renders the metrics of all."""
    while True:
        await asyncio.sleep(_METRICS_SECONDS)
        metrics.catch_up()


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
