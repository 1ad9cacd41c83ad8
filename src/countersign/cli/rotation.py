"""``countersign keystore rotate-kek`` and ``rotate-root``: exchange what protects the keys, while they are in use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countersign.cli.common import config_option, data_option, example, installation_settings, start_refusals
from countersign.cli.kek_secrets import Secrets, custodians_option, for_new, last, shares_option
from countersign.cli.progress import progress_bar
from countersign.cli.signers import ServedStore, kek_at_hand, one_store_option, served_stores, signer_of

if TYPE_CHECKING:
    from countersign.keystores import SignerClient
    from countersign.keystores.kek import KekProvider
    from countersign.keystores.roots import NamedAuthoriser
    from countersign.server.settings import Settings
    from countersign.storage import Database

_SETTLE_S = 15
_UNSEAL = "unseal it with 'countersign keystore unseal', then go on with 'countersign keystore rotate-root --resume'"


@click.command(
    "rotate-kek",
    epilog=example(
        "countersign keystore rotate-kek --config config.toml --to file:/run/keys/new",
    ),
)
@data_option
@config_option
@click.option("--to", "target", metavar="PROVIDER", help="The new key-encryption key, as signer_kek names it.")
@click.option("--keep-old", is_flag=True, help="Leave the old wraps beside the new ones until --finish.")
@click.option(
    "--finish", is_flag=True, help="Delete the old wraps that --keep-old left; signer_kek is the new one by now."
)
@click.option("--abandon", is_flag=True, help="Delete the new wraps that --keep-old or a crash left.")
@one_store_option
@shares_option
@custodians_option
def rotate_kek(
    data: Path | None,
    config: Path | None,
    store_id: str | None,
    target: str | None,
    keep_old: bool,
    finish: bool,
    abandon: bool,
    shares_directory: Path | None,
    custodians: tuple[str, ...],
) -> None:
    """Wrap a key store's roots under another key-encryption key; records are not touched.

    The new wraps are shown to open before the old ones are deleted. A running signer goes on; at its next start
    it needs the new provider. With --keep-old it may start with either.
    """
    settings = installation_settings(config, data)
    if data is not None and store_id is None:
        raise click.ClickException("a sandbox keeps its development key")
    if [target is not None, finish, abandon].count(True) != 1:
        raise click.UsageError("say one of --to PROVIDER, --finish and --abandon")

    async def work() -> None:
        from countersign.keystores import rotation, rotation_store

        async with _store(settings, store_id) as (database, store):
            if finish:
                new, given, _ = await kek_at_hand(database, store, Secrets())
                gone = await rotation.finish_kek(database, store.store_id, new, last(given))
                click.echo(f"deleted the old wraps of root {_numbers(gone)}")
                return
            if abandon:
                gone = await database.write(lambda: rotation_store.drop_staged(store.store_id))
                click.echo(f"deleted the new wraps of root {_numbers(gone)}" if gone else "nothing to abandon")
                return
            assert target is not None
            secrets = Secrets()
            old, given, _ = await kek_at_hand(database, store, secrets)
            new = _provider(target)
            if settings.profile == "production" and new.name == "dev":
                raise click.ClickException("the dev key-encryption key is refused in production")
            new_secret = for_new(new, secrets, shares_directory, custodians)
            versions = await rotation.stage_kek(database, store.store_id, old, last(given), new, new_secret)
            click.echo(f"root {_numbers(versions)} is wrapped by {new.name} too, and opens under it")
            if keep_old:
                click.echo(
                    f"Set {_setting(store)} = {target!r}, restart the signer, then: keystore rotate-kek --finish"
                )
                return
            await rotation.finish_kek(database, store.store_id, new, new_secret)
            click.echo(f"deleted the old wraps. Set {_setting(store)} = {target!r} before the signer starts again.")

    _carry_out(work)


@click.command(
    "rotate-root",
    epilog=example(
        "countersign keystore rotate-root --config config.toml",
    ),
)
@data_option
@config_option
@one_store_option
@click.option(
    "--authoriser",
    metavar="FILE",
    help="Key file of the authoriser whose grants are taken from then on, or 'server' [default: as before].",
)
@click.option("--resume", is_flag=True, help="Go on with a rotation that was begun; needs no key-encryption key.")
@click.option(
    "--settle",
    type=click.IntRange(0, 3600),
    default=_SETTLE_S,
    show_default=True,
    help="Seconds for orders on their way, before the old root is destroyed.",
)
def rotate_root(
    data: Path | None, config: Path | None, store_id: str | None, authoriser: str | None, resume: bool, settle: int
) -> None:
    """Make a new root for a key store, seal every key anew under it, and destroy the old root; keys stay in use.

    Needs the key-encryption key (setting signer_kek) to begin, and the signer's socket to go on. Run it again after it
    was interrupted, at any point. Where the setting recovery_recipients names somebody, every key is encrypted to
    them besides, and to nobody else any more.
    """
    settings = installation_settings(config, data)

    async def work() -> None:
        from countersign.keystores import rotation, rotation_store
        from countersign.world import World

        async with _store(settings, store_id) as (database, store):
            stored = await database.read(lambda: rotation_store.read_roots(store.store_id))
            given: list[bytearray] = []
            if rotation.under_way(stored):
                newest = stored[-1].version
                if authoriser is not None:
                    raise click.ClickException(f"root {newest} was begun: finish that rotation without --authoriser")
                click.echo(f"going on with the rotation to root {newest}")
            elif resume:
                raise click.ClickException("no rotation of the root was begun")
            else:
                named = None if authoriser is None else await _named(settings, database, authoriser)
                kek, given, _ = await kek_at_hand(database, store, Secrets())
                # A module never gives a private key out, so there is nothing to encrypt to anybody.
                recipients = settings.recovery_recipients if store.kind == "sealed" else ()
                newest = await rotation.add_root(
                    database,
                    store.store_id,
                    kek,
                    last(given),
                    World().now(),
                    recovery_recipients=recipients or None,
                    authoriser=named,
                )
                click.echo(f"made root {newest}")
            async with signer_of(database, store, wait=5.0) as signer:
                await _open_newest(signer, newest, given)
                await _finish(database, signer, store.store_id, newest, settle)

    _carry_out(work)


async def _open_newest(signer: SignerClient, newest: int, given: list[bytearray]) -> None:
    """Have the signer open the new root, with what the operator handed in to make it."""
    if (await signer.status()).state == "down":
        raise click.ClickException(f"the signer does not answer this user; root {newest} waits: go on with --resume")
    for secret in given:
        if newest not in signer.root_versions:
            await signer.unseal(bytearray(secret))
    if newest not in signer.root_versions:
        status = await signer.status()
        raise click.ClickException(f"the signer did not open root {newest} ({status.reason}); {_UNSEAL}")


async def _finish(database: Database, signer: SignerClient, store_id: str, newest: int, settle: int) -> None:
    from countersign.keystores import rotation

    with progress_bar("rotating") as show:

        async def settled() -> None:
            click.echo(f"every key is sealed under root {newest}")
            for second in range(settle):
                show("seconds for orders on their way", second, settle)
                await asyncio.sleep(1)

        gone = await rotation.finish_root(
            database, signer, store_id, newest, lambda done, total: show("keys", done, total), settled
        )
    click.echo(f"destroyed root {_numbers(gone)}" if gone else "another run destroyed the older root")


@asynccontextmanager
async def _store(settings: Settings, store_id: str | None) -> AsyncIterator[tuple[Database, ServedStore]]:
    """The store that is named, or else that of ``init``."""
    from countersign.storage import open_database

    database = await open_database(settings.database, migrate=False)
    try:
        yield database, (await served_stores(settings, database, store_id))[0]
    finally:
        await database.close()


def _setting(store: ServedStore) -> str:
    """Where the key-encryption key of a store is set."""
    return "signer_kek" if store.first else f"kek of {store.store_id} in key_stores"


async def _named(settings: Settings, database: Database, authoriser: str) -> NamedAuthoriser:
    """The authoriser that the operator names, by its key file or as the server."""
    from countersign.keystores import charter
    from countersign.keystores.roots import NamedAuthoriser
    from countersign.server.maintenance import find_installation, key_ring
    from countersign.world import World

    installation = await find_installation(database)
    if authoriser == "server":
        ring = await key_ring(settings, database, installation["installation_id"], World())
        return NamedAuthoriser(ring.keys.active("authoriser").public_key, apart=False)
    try:
        found = charter.read(Path(authoriser))
    except (ValueError, OSError) as trouble:
        raise click.ClickException(str(trouble)) from None
    if found.authoriser_id != installation.get("authoriser_id"):
        raise click.ClickException(f"{authoriser} is of another installation, or was replaced")
    return NamedAuthoriser(found.public_key, apart=True)


def _provider(spec: str) -> KekProvider:
    from countersign.keystores.kek import open_provider

    try:
        return open_provider(spec)
    except ValueError as error:
        raise click.ClickException(str(error)) from None


def _numbers(versions: list[int]) -> str:
    return ", ".join(map(str, versions))


def _carry_out(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    from countersign.keystores import SignerError
    from countersign.keystores.rotation_store import RotationConflict

    refusals: tuple[type[Exception], ...] = (SignerError, RotationConflict, ValueError, *start_refusals())
    try:
        asyncio.run(work())
    except refusals as error:
        raise click.ClickException(str(error)) from None
