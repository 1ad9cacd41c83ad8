"""The signers of an installation's key stores, as local commands reach them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from countersign.cli.kek_secrets import Secrets, at_hand

if TYPE_CHECKING:
    from countersign.keystores import SignerClient
    from countersign.keystores.kek import KekProvider
    from countersign.server.settings import Settings
    from countersign.storage import Database

store_option = click.option("--store", "store_id", metavar="STORE", help="One key store (ks-...), not all of them.")
one_store_option = click.option(
    "--store", "store_id", metavar="STORE", help="Key store (ks-...) [default: the one that 'init' made]."
)


@dataclass(frozen=True, slots=True)
class ServedStore:
    """A key store that the settings name. ``kek``: its key-encryption key as they have it, or empty."""

    store_id: str
    name: str
    socket: str
    kek: str


async def served_stores(settings: Settings, database: Database, store_id: str | None = None) -> list[ServedStore]:
    """The store of ``init`` and then those of ``key_stores``, or ``store_id`` alone; a usage error if unknown."""
    from countersign.keystores.registration import stores
    from countersign.server.maintenance import find_installation

    first = (await find_installation(database))["store_id"]
    names = {each.store_id: each.name for each in await database.read(stores)}
    found = [ServedStore(first, names.get(first, ""), settings.signer_socket, settings.signer_kek)]
    for each in settings.key_stores:
        if each.id in names and each.id != first:
            found.append(ServedStore(each.id, names[each.id], each.socket, each.kek))
    if store_id is None:
        return found
    chosen = [each for each in found if each.store_id == store_id]
    if not chosen:
        known = "has no socket in key_stores" if store_id in names else "is not known; see 'countersign keystore list'"
        raise click.ClickException(f"key store {store_id} {known}")
    return chosen


@asynccontextmanager
async def signer_of(database: Database, store: ServedStore, wait: float = 2.0) -> AsyncIterator[SignerClient]:
    """A connection that looks, unseals and changes the roster, but lets no key be used; waits ``wait`` seconds."""
    from countersign.keystores import SignerClient
    from countersign.keystores.store import list_roots
    from countersign.world import World

    client = SignerClient(
        store.socket,
        None,
        lambda: database.read(lambda: list_roots(store.store_id)),
        store_id=store.store_id,
        world=World(),
    )
    await client.start(wait=wait)
    try:
        yield client
    finally:
        await client.close()


async def kek_at_hand(
    database: Database, store: ServedStore, secrets: Secrets
) -> tuple[KekProvider, list[bytearray], Sequence[bytes]]:
    """The provider of a store's key-encryption key, what its people handed in, and the store's wrapped roots."""
    from countersign.keystores.kek import open_provider
    from countersign.keystores.store import list_roots

    if not store.kek:
        raise click.ClickException(
            f"the key-encryption key of key store {store.store_id} has to be named: setting signer_kek for the first"
            " store, kek in key_stores for others"
        )
    try:
        provider = open_provider(store.kek)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    blobs = await database.read(lambda: list_roots(store.store_id))
    return provider, at_hand(provider, blobs, secrets), blobs
