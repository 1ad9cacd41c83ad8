"""The signers of all key stores of a server: the primary one of ``init``, and those of ``[[key_stores]]``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from countersign.keystores import Grants, SignerClient, SignerSupervisor
from countersign.keystores.registration import stores
from countersign.keystores.store import list_roots, read_roster_mark
from countersign.server.settings import BadSettings, KeyStoreSettings, Settings
from countersign.storage import Database
from countersign.world import World


@dataclass(frozen=True, slots=True)
class OpenStores:
    """``signers`` by id of the store. ``primary``: where keys are made that name no store."""

    signers: Mapping[str, SignerClient]
    primary: str


async def open_stores(
    settings: Settings,
    database: Database,
    authoriser: Grants,
    world: World,
    stack: AsyncExitStack,
    first: Mapping[str, SignerClient],
    first_process: bool,
) -> OpenStores:
    """Connect to the signers of ``key_stores``, beside that of ``init``; the first process starts the embedded ones.

    Raises BadSettings for a store that is not registered, and for a primary store that is not configured.
    """
    registered = {each.store_id: each for each in await database.read(stores)}
    signers: dict[str, SignerClient] = {}
    for store in settings.key_stores:
        if store.id not in registered or store.id in first:
            raise BadSettings(f"key_stores: {store.id} is no further store; 'countersign keystore add' makes one")
        if store.embedded and first_process:
            await _start(settings, store, stack)
        signers[store.id] = signer_client(database, store.socket, store.id, authoriser, world)
        stack.push_async_callback(signers[store.id].close)
    # Together: one that is away must not keep the others waiting.
    await asyncio.gather(*(signer.start() for signer in signers.values()))
    primary = next(store_id for store_id, each in registered.items() if each.is_primary)
    if primary not in signers and primary not in first:
        raise BadSettings(f"key_stores lacks {primary}, the primary key store")
    return OpenStores({**first, **signers}, primary)


def state_directory(settings: Settings, store: KeyStoreSettings) -> Path:
    """Where the signer of a further store keeps its roster."""
    return Path(store.state or f"{settings.signer_state}-{store.id}")


async def _start(settings: Settings, store: KeyStoreSettings, stack: AsyncExitStack) -> None:
    directory = Path(store.socket).parent
    await asyncio.to_thread(lambda: directory.mkdir(mode=0o700, parents=True, exist_ok=True))
    options = ["--state", str(state_directory(settings, store)), "--grant-level", settings.grant_level]
    if settings.profile == "sandbox":
        options.append("--endorse-by-itself")
    supervisor = SignerSupervisor(
        store.socket, store.kek, store=store.store, environment=settings.profile, extra=tuple(options)
    )
    await supervisor.start()
    stack.push_async_callback(supervisor.stop)


def signer_client(database: Database, socket: str, store_id: str, authoriser: Grants, world: World) -> SignerClient:
    """The client of a store's signer, for a server."""
    return SignerClient(
        socket,
        authoriser,
        lambda: database.read(lambda: list_roots(store_id)),
        store_id=store_id,
        world=world,
        marks=lambda: database.read(lambda: read_roster_mark(store_id)),
    )
