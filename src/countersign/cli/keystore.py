"""``countersign keystore``: look at the signer, unseal and seal its key store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import click

from countersign.cli.common import config_option, data_option, installation_settings, read_secret, start_refusals
from countersign.keystores import SignerClient, SignerError, SignerStatus
from countersign.server.settings import Settings


@click.group()
def keystore() -> None:
    """The key store and its signer process."""


async def _with_signer(settings: Settings, act: Callable[[SignerClient], Awaitable[None]]) -> SignerStatus:
    from countersign.access.installation import read_installation
    from countersign.keystores.store import list_roots
    from countersign.storage import open_database
    from countersign.world import World

    database = await open_database(settings.database, migrate=False, readonly=True)
    try:
        store_id = (await database.read(read_installation)).get("store_id")
        if store_id is None:
            raise click.ClickException("this database holds no key store; run 'countersign init' first")
        client = SignerClient(
            settings.signer_socket,
            None,
            lambda: database.read(lambda: list_roots(store_id)),
            store_id=store_id,
            world=World(),
        )
        await client.start()
        try:
            await act(client)
            return await client.status()
        finally:
            await client.close()
    finally:
        await database.close()


def _run(config: Path | None, data: Path | None, act: Callable[[SignerClient], Awaitable[None]], as_json: bool) -> None:
    settings = installation_settings(config, data)
    refusals: tuple[type[Exception], ...] = (SignerError, *start_refusals())
    try:
        status = asyncio.run(_with_signer(settings, act))
    except refusals as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        document = {"state": status.state, "reason": status.reason, "notes": status.notes, "bootId": status.boot_id}
        click.echo(json.dumps(document))
    else:
        click.echo(f"{status.state}{': ' + status.reason if status.reason else ''}")
        for note in status.notes:
            click.echo(f"  note: {note}")
    if status.state == "down":
        if not as_json:
            click.echo(
                "  Is it running, and does it talk to this user? The signer's --allow-uid says whom it talks to."
            )
        raise SystemExit(1)


@keystore.command("status")
@data_option
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status_command(data: Path | None, config: Path | None, as_json: bool) -> None:
    """Say whether the key store is sealed, and which protections its host could not give."""

    async def nothing(_client: SignerClient) -> None:
        return

    _run(config, data, nothing, as_json)


@keystore.command()
@data_option
@config_option
@click.option("--passphrase", is_flag=True, help="The key store is sealed with a passphrase: ask for it.")
def unseal(data: Path | None, config: Path | None, passphrase: bool) -> None:
    """Unseal the key store, so that its keys can sign."""
    secret = read_secret("Passphrase of the key store") if passphrase else None

    async def act(client: SignerClient) -> None:
        await client.unseal(secret)

    _run(config, data, act, False)


@keystore.command()
@data_option
@config_option
def seal(data: Path | None, config: Path | None) -> None:
    """Seal the key store: wipe its root key from memory; nothing signs until it is unsealed."""

    async def act(client: SignerClient) -> None:
        await client.seal()

    _run(config, data, act, False)
