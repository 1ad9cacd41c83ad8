"""``countersign keystore``: look at the signer, unseal and seal its key store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from countersign.cli.ceremony import ceremony, show_transcript
from countersign.cli.common import config_option, data_option, installation_settings, read_secret, start_refusals
from countersign.cli.key_stores import add_store, list_stores, make_primary
from countersign.cli.recover import recover
from countersign.cli.roster import roster
from countersign.cli.rotation import rotate_kek, rotate_root
from countersign.encoding.dates import to_iso
from countersign.keystores import SignerClient, SignerError, SignerStatus
from countersign.server.settings import Settings

if TYPE_CHECKING:
    from countersign.keystores.rotation import RootState


@click.group()
def keystore() -> None:
    """The key store and its signer process."""


keystore.add_command(ceremony)
keystore.add_command(show_transcript)
keystore.add_command(recover)
keystore.add_command(roster)
keystore.add_command(rotate_kek)
keystore.add_command(rotate_root)
keystore.add_command(add_store)
keystore.add_command(list_stores)
keystore.add_command(make_primary)


async def _with_signer(
    settings: Settings, act: Callable[[SignerClient], Awaitable[None]]
) -> tuple[SignerStatus, list[RootState]]:
    from countersign.access.installation import read_installation
    from countersign.keystores.rotation import describe
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
            return await client.status(), await describe(database, store_id)
        finally:
            await client.close()
    finally:
        await database.close()


def _run(config: Path | None, data: Path | None, act: Callable[[SignerClient], Awaitable[None]], as_json: bool) -> None:
    settings = installation_settings(config, data)
    refusals: tuple[type[Exception], ...] = (SignerError, *start_refusals())
    try:
        status, roots = asyncio.run(_with_signer(settings, act))
    except refusals as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        document = {
            "state": status.state,
            "reason": status.reason,
            "notes": status.notes,
            "bootId": status.boot_id,
            "roots": [_root_document(root) for root in roots],
        }
        click.echo(json.dumps(document))
    else:
        click.echo(f"{status.state}{': ' + status.reason if status.reason else ''}")
        for note in status.notes:
            click.echo(f"  note: {note}")
        for line in _root_lines(roots):
            click.echo(f"  {line}")
    if status.state == "down":
        if not as_json:
            click.echo(
                "  Is it running, and does it talk to this user? The signer's --allow-uid says whom it talks to."
            )
        raise SystemExit(1)


def _root_document(root: RootState) -> dict[str, object]:
    return {
        "version": root.version,
        "state": root.state,
        "dateCreated": to_iso(root.created_at),
        "provider": root.provider,
        "nextProvider": root.next_provider,
        "records": root.records,
    }


def _root_lines(roots: list[RootState]) -> list[str]:
    """Each root, and how far a rotation has come."""
    lines = []
    for root in roots:
        wrapped = f"wrapped by {root.provider}, " if root.provider else ""
        exchanged = f"also by {root.next_provider}, " if root.next_provider else ""
        made = to_iso(root.created_at)[:10]
        lines.append(f"root {root.version}: {root.state}, {wrapped}{exchanged}{root.records} keys, made {made}")
    live = [root for root in roots if root.state != "Destroyed"]
    if len(live) > 1:
        total = sum(root.records for root in live)
        done = f"{live[-1].records} of {total} keys"
        lines.append(f"rotation to root {live[-1].version}: {done}; go on with 'keystore rotate-root'")
    if any(root.next_provider for root in live):
        lines.append("the key-encryption key is being exchanged: 'keystore rotate-kek --finish' or --abandon")
    return lines


@keystore.command("status")
@data_option
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status_command(data: Path | None, config: Path | None, as_json: bool) -> None:
    """Say whether the key store is sealed, which protections its host could not give, and how its roots are kept."""

    async def nothing(_client: SignerClient) -> None:
        return

    _run(config, data, nothing, as_json)


@keystore.command()
@data_option
@config_option
@click.option("--passphrase", is_flag=True, help="The key store is sealed with a passphrase: ask for it.")
@click.option("--share", is_flag=True, help="The key store is sealed by a quorum: hand in one custodian's share.")
def unseal(data: Path | None, config: Path | None, passphrase: bool, share: bool) -> None:
    """Unseal the key store, so that its keys can sign.

    Each custodian of a quorum runs this once, with their own share, until there are enough.
    """
    if passphrase and share:
        raise click.UsageError("say one of --passphrase and --share")
    secret = None
    if passphrase or share:
        secret = read_secret("Share, as it was written down" if share else "Passphrase of the key store")

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
