"""``countersign keystore``: look at the signer, unseal and seal its key store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from countersign.cli.authoriser import make_authoriser
from countersign.cli.ceremony import ceremony, show_transcript
from countersign.cli.common import Group, config_option, data_option, installation_settings, read_secret, start_refusals
from countersign.cli.key_stores import add_store, list_stores, make_primary
from countersign.cli.recover import recover
from countersign.cli.roster import roster
from countersign.cli.rotation import rotate_kek, rotate_root
from countersign.cli.signers import (
    ServedStore,
    one_store_option,
    roster_keepers,
    roster_line,
    served_stores,
    signer_of,
    store_option,
)
from countersign.encoding.counted import counted
from countersign.encoding.dates import to_iso
from countersign.keystores import SignerClient, SignerError, SignerStatus
from countersign.server.settings import Settings

if TYPE_CHECKING:
    from countersign.keystores.rotation import RootState


@click.group(cls=Group)
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
keystore.add_command(make_authoriser)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A key store as it was found."""

    store: ServedStore
    status: SignerStatus
    roots: list[RootState]


async def _look_at_authoriser(settings: Settings) -> tuple[ServedStore, SignerStatus] | None:
    """The authoriser, where it is a process of its own."""
    from countersign.keystores import AuthoriserClient
    from countersign.storage import open_database

    database = await open_database(settings.database, migrate=False, readonly=True)
    try:
        keeper = (await roster_keepers(settings, database))[-1]
        if not keeper.key_file:
            return None
        async with roster_line(database, keeper, wait=5.0, patient=False) as line:
            assert isinstance(line, AuthoriserClient)
            return keeper, await line.status()
    finally:
        await database.close()


async def _look(
    settings: Settings,
    store_id: str | None,
    act: Callable[[SignerClient], Awaitable[None]] | None,
    *,
    first_only: bool,
) -> list[_Seen]:
    from countersign.keystores.rotation import describe
    from countersign.storage import open_database

    database = await open_database(settings.database, migrate=False, readonly=True)
    try:
        stores = await served_stores(settings, database, store_id)
        seen, refused = [], list[str]()
        for store in stores[:1] if first_only else stores:
            # Who acts may have started the signer a moment ago; who looks wants to know how it is now.
            async with signer_of(database, store, wait=5.0, patient=act is not None) as client:
                try:
                    if act is not None:
                        await act(client)
                except SignerError as error:
                    # What one of them refuses must not keep the others from being sealed.
                    refused.append(str(error) if len(stores) == 1 else f"key store {store.store_id}: {error}")
                seen.append(_Seen(store, await client.status(), await describe(database, store.store_id)))
        if refused:
            raise click.ClickException("; ".join(refused))
        return seen
    finally:
        await database.close()


def _run(
    config: Path | None,
    data: Path | None,
    store_id: str | None,
    act: Callable[[SignerClient], Awaitable[None]] | None,
    *,
    as_json: bool = False,
    first_only: bool = False,
) -> None:
    """Act on every key store, or on the one that is named, and show how it is then; without ``act`` only look.

    Who only looks is shown the authoriser too.
    """
    settings = installation_settings(config, data)
    try:
        found = asyncio.run(_look(settings, store_id, act, first_only=first_only and store_id is None))
        beside = asyncio.run(_look_at_authoriser(settings)) if act is None and store_id is None else None
    except start_refusals() as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        first, *others = map(_document, found)
        more = {} if beside is None else {"authoriser": _authoriser_document(*beside)}
        click.echo(json.dumps({**first, "furtherStores": others, **more}))
    else:
        for seen in found:
            _show(seen, named=len(found) > 1)
        if beside is not None:
            _show_status(beside[1], f"{beside[0].title}: ")
    down = [(seen.store, seen.status) for seen in found] + ([] if beside is None else [beside])
    down = [(keeper, status) for keeper, status in down if status.state == "down"]
    if down:
        if not as_json:
            for keeper, _ in down:
                click.echo(_while_down(settings, keeper))
        raise SystemExit(1)


def _while_down(settings: Settings, keeper: ServedStore) -> str:
    """What it means that nobody answers, and what is to do."""
    if settings.signer_embedded:
        todo = "It runs with the server: start that. If that is up, its log says what is wrong."
    else:
        of_stores = {"sealed": "countersign-signer", "pkcs11": "countersign-signer-hsm"}
        unit = "countersign-authoriser" if keeper.key_file else of_stores[keeper.kind]
        todo = (
            f"Start it (in the production guide: systemctl start {unit}). If it is up, --allow-uid and --socket-group"
            " among its options say which users it talks to."
        )
    who, whose = ("authoriser", "") if keeper.key_file else ("signer", f" of key store {keeper.store_id}")
    return (
        f"The {who} should answer at {keeper.socket}. Until it does, no key{whose} can be used: requests that need one"
        f" get 503, spend nothing, and may be sent again.\n{todo}"
    )


def _document(seen: _Seen) -> dict[str, object]:
    return {
        "storeId": seen.store.store_id,
        "name": seen.store.name,
        "state": seen.status.state,
        "reason": seen.status.reason,
        "notes": seen.status.notes,
        "bootId": seen.status.boot_id,
        "roots": [_root_document(root) for root in seen.roots],
    }


def _authoriser_document(keeper: ServedStore, status: SignerStatus) -> dict[str, object]:
    return {
        "authoriserId": keeper.store_id,
        "state": status.state,
        "reason": status.reason,
        "notes": status.notes,
    }


def _show_status(status: SignerStatus, which: str) -> None:
    click.echo(f"{which}{status.state}{': ' + status.reason if status.reason else ''}")
    for note in status.notes:
        click.echo(f"  note: {note}")


def _show(seen: _Seen, *, named: bool) -> None:
    _show_status(seen.status, f"{seen.store.title} ({seen.store.name}): " if named else "")
    for line in _root_lines(seen.roots):
        click.echo(f"  {line}")


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
        lines.append(
            f"root {root.version}: {root.state}, {wrapped}{exchanged}{counted(root.records, 'key')}, made {made}"
        )
    live = [root for root in roots if root.state != "Destroyed"]
    if len(live) > 1:
        done = f"{live[-1].records:,} of {counted(sum(root.records for root in live), 'key')}"
        lines.append(f"rotation to root {live[-1].version}: {done}; go on with 'keystore rotate-root'")
    if any(root.next_provider for root in live):
        lines.append("the key-encryption key is being exchanged: 'keystore rotate-kek --finish' or --abandon")
    return lines


@keystore.command("status")
@data_option
@config_option
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status_command(data: Path | None, config: Path | None, store_id: str | None, as_json: bool) -> None:
    """Say of each key store whether it is sealed, what its host could not protect, and how its roots are kept.

    And of an authoriser in a process of its own whether it is up.
    """
    _run(config, data, store_id, None, as_json=as_json)


@keystore.command()
@data_option
@config_option
@one_store_option
@click.option("--passphrase", is_flag=True, help="The key store is sealed with a passphrase: ask for it.")
@click.option("--share", is_flag=True, help="The key store is sealed by a quorum: hand in one custodian's share.")
def unseal(data: Path | None, config: Path | None, store_id: str | None, passphrase: bool, share: bool) -> None:
    """Unseal the key store that 'init' made, or the one that is named, so that its keys can sign.

    Each custodian of a quorum runs this once, with their own share, until there are enough.
    """
    if passphrase and share:
        raise click.UsageError("say one of --passphrase and --share")
    secret = None
    if passphrase or share:
        secret = read_secret("Share, as it was written down" if share else "Passphrase of the key store")

    async def act(client: SignerClient) -> None:
        await client.unseal(secret)

    _run(config, data, store_id, act, first_only=True)


@keystore.command()
@data_option
@config_option
@store_option
def seal(data: Path | None, config: Path | None, store_id: str | None) -> None:
    """Seal every key store, or the one that is named: wipe its root key from memory; its keys sign nothing more."""

    async def act(client: SignerClient) -> None:
        await client.seal()

    _run(config, data, store_id, act)
