"""The signers of an installation's key stores and its authoriser, as local commands reach them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from countersign.cli.kek_secrets import Secrets, at_hand, last

if TYPE_CHECKING:
    from countersign.keystores import SignerClient
    from countersign.keystores.kek import KekProvider
    from countersign.keystores.roots import OpenedRoot
    from countersign.keystores.roster_line import RosterLine
    from countersign.server.settings import Settings
    from countersign.storage import Database

store_option = click.option("--store", "store_id", metavar="STORE", help="One key store (ks-...), not all of them.")
one_store_option = click.option(
    "--store", "store_id", metavar="STORE", help="Key store (ks-...) [default: the one that 'init' made]."
)


@dataclass(frozen=True, slots=True)
class ServedStore:
    """A key store that the settings name, or the authoriser where rosters are concerned.

    ``kek``: its key-encryption key as the settings have it, or empty. ``kind``: sealed or pkcs11. ``first``: made by
    ``init``. ``key_file``: of the authoriser alone.
    """

    store_id: str
    name: str
    socket: str
    kek: str
    kind: str = "sealed"
    first: bool = False
    key_file: str = ""

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"{'authoriser' if self.key_file else 'key store'} {self.store_id}"


async def served_stores(settings: Settings, database: Database, store_id: str | None = None) -> list[ServedStore]:
    """The store of ``init`` and then those of ``key_stores``, or ``store_id`` alone; a usage error if unknown."""
    from countersign.keystores.registration import stores
    from countersign.server.maintenance import find_installation

    first = (await find_installation(database))["store_id"]
    known = {each.store_id: each for each in await database.read(stores)}
    name = known[first].name if first in known else ""
    found = [ServedStore(first, name, settings.signer_socket, settings.signer_kek, first=True)]
    for each in settings.key_stores:
        if each.id in known and each.id != first:
            found.append(ServedStore(each.id, known[each.id].name, each.socket, each.kek, known[each.id].kind))
    return _chosen(found, store_id, store_id in known)


async def roster_keepers(settings: Settings, database: Database, keeper_id: str | None = None) -> list[ServedStore]:
    """The same with the authoriser, where the settings have one in a process of its own."""
    from countersign.server.maintenance import find_installation

    authoriser_id = (await find_installation(database)).get("authoriser_id")
    if not settings.authoriser_apart or authoriser_id is None:
        return await served_stores(settings, database, keeper_id)
    authoriser = ServedStore(
        authoriser_id, "Authoriser", settings.authoriser_socket, "", key_file=settings.authoriser_key
    )
    if keeper_id == authoriser_id:
        return [authoriser]
    found = await served_stores(settings, database, keeper_id)
    return found if keeper_id else [*found, authoriser]


def _chosen(found: list[ServedStore], store_id: str | None, registered: bool) -> list[ServedStore]:
    if store_id is None:
        return found
    chosen = [each for each in found if each.store_id == store_id]
    if not chosen:
        why = "has no socket in key_stores" if registered else "is not known; see 'countersign keystore list'"
        raise click.ClickException(f"key store {store_id} {why}")
    return chosen


@asynccontextmanager
async def signer_of(
    database: Database, store: ServedStore, wait: float = 2.0, *, patient: bool = True
) -> AsyncIterator[SignerClient]:
    """A connection that looks, unseals and changes the roster, but lets no key be used.

    Waits ``wait`` seconds for the signer; unless ``patient`` only for one that listens.
    """
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
    await client.start(wait=wait, patient=patient)
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def roster_line(
    database: Database, keeper: ServedStore, wait: float = 2.0, *, patient: bool = True
) -> AsyncIterator[RosterLine]:
    """A connection to who keeps a roster, waited for as with ``signer_of``."""
    from countersign.keystores import AuthoriserClient

    if not keeper.key_file:
        async with signer_of(database, keeper, wait, patient=patient) as signer:
            yield signer
        return
    client = AuthoriserClient(keeper.socket, keeper.store_id)
    await client.start(wait=wait, patient=patient)
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


async def first_root(settings: Settings, database: Database, secrets: Secrets) -> tuple[ServedStore, OpenedRoot]:
    """The store of ``init`` and what its newest root says, for who holds its key-encryption key."""
    from countersign.keystores.memory import wipe
    from countersign.keystores.outcome import Refusal
    from countersign.keystores.proof import newest_root

    store = (await served_stores(settings, database))[0]
    provider, given, blobs = await kek_at_hand(database, store, secrets)
    try:
        known = newest_root(provider, last(given), store.store_id, blobs)
    finally:
        for each in given:
            wipe(each)
    if isinstance(known, Refusal):
        raise click.ClickException(f"this needs the key-encryption key of the first key store: {known.reason}")
    return store, known
