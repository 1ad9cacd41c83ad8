"""``countersign keystore add|list|primary``: further key stores beside the one that ``init`` made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from countersign.cli.common import config_option, data_option, example, installation_settings, run_local
from countersign.cli.kek_secrets import Secrets, custodians_option, for_new, shares_option
from countersign.cli.signers import first_root
from countersign.storage import Database
from countersign.world import World

if TYPE_CHECKING:
    from countersign.keystores.registration import RegisteredStore


@click.command(
    "add",
    epilog=example(
        "countersign keystore add --config config.toml --kek file:/run/keys/kek-2 \\",
        '  --pkcs11 "pkcs11:token=T?module-path=/lib/p11.so&pin-source=/run/pin"',
    ),
)
@data_option
@config_option
@click.option(
    "--pkcs11", "token", required=True, metavar="SPEC", help="pkcs11:token=LABEL?module-path=FILE&pin-source=…"
)
@click.option("--kek", required=True, metavar="PROVIDER", help="Key-encryption key of the store, as signer_kek.")
@click.option("--name", default="Hardware module", show_default=True, help="What the list of key stores calls it.")
@click.option("--primary", is_flag=True, help="Make keys there that name no store.")
@shares_option
@custodians_option
def add_store(
    data: Path | None,
    config: Path | None,
    token: str,
    kek: str,
    name: str,
    primary: bool,
    shares_directory: Path | None,
    custodians: tuple[str, ...],
) -> None:
    """Register a hardware module as a further key store, and print the settings that serve it.

    Needs the key-encryption key of the first store too (setting signer_kek): the roster of the new store's signer
    begins with the credentials that its root names, and goes on with all that followed.
    """
    from countersign.keystores.kek import open_provider
    from countersign.keystores.pkcs11_place import parse_place

    settings = installation_settings(config, data)
    try:
        place = parse_place(token)
        provider = open_provider(kek)
    except ValueError as trouble:
        raise click.ClickException(str(trouble)) from None
    secrets = Secrets()

    async def work(database: Database, _secret: bytes, world: World) -> tuple[str, bool]:
        from countersign.keystores import create_root
        from countersign.keystores.registration import RegisteredStore, add_store

        first, known = await first_root(settings, database, secrets)
        secret = for_new(provider, secrets, shares_directory, custodians)
        store_id = world.new_id("ks")
        try:
            # Whose grants the first store takes, this one does.
            root = create_root(
                provider,
                store_id,
                known.authorisers[0],
                secret,
                installation_id=known.installation_id,
                founders=known.founders,
                authoriser_apart=known.authoriser_apart,
            )
        except ValueError as trouble:
            raise click.ClickException(str(trouble)) from None
        store = RegisteredStore(store_id, "pkcs11", name, primary)
        await database.write(lambda: add_store(store, root, first.store_id, world.now()))
        return store_id, bool(known.founders)

    store_id, has_founders = run_local(settings, work)
    click.echo(f"key store {store_id} ({name}, {place.mode}) is registered; serve it by these settings:\n")
    click.echo(f'[[key_stores]]\nid = "{store_id}"\nsocket = "/run/countersign-{place.label}/signer.sock"')
    click.echo("\nand by a signer with a state directory of its own, started with --store and --kek as given here.")
    if not has_founders:
        click.echo(f"Its roster has to be begun: countersign keystore roster adopt --store {store_id}")


@click.command("list")
@data_option
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_stores(data: Path | None, config: Path | None, as_json: bool) -> None:
    """List the key stores of the installation."""

    async def work(database: Database, _secret: bytes, _world: World) -> list[RegisteredStore]:
        from countersign.keystores.registration import stores

        return await database.read(stores)

    found = run_local(installation_settings(config, data), work)
    if as_json:
        rows = [
            {"storeId": each.store_id, "kind": each.kind, "name": each.name, "isPrimary": each.is_primary}
            for each in found
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    for each in found:
        click.echo(f"{each.store_id}  kind {each.kind:<6}  {each.name}{' (primary)' if each.is_primary else ''}")


@click.command("primary")
@data_option
@config_option
@click.argument("store_id", metavar="STORE")
def make_primary(data: Path | None, config: Path | None, store_id: str) -> None:
    """Make keys that name no store in STORE (ks-...), from the next start of the server on."""

    async def work(database: Database, _secret: bytes, _world: World) -> None:
        from countersign.keystores import registration

        if not await database.write(lambda: registration.make_primary(store_id)):
            raise click.ClickException(f"there is no key store {store_id}; see 'countersign keystore list'")

    run_local(installation_settings(config, data), work)
    click.echo(f"{store_id} is the primary key store; restart the server.")
