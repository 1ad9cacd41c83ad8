"""``countersign admin permissions``: who may do what, by database access on the server's own host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countersign.cli.common import Group, config_option, data_option, installation_settings, printable, run_local
from countersign.encoding.counted import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from countersign.identity.administration import Identity
    from countersign.permissions.administration import Holder, Listed
    from countersign.storage import Database
    from countersign.world import World


@click.group(cls=Group)
def permissions() -> None:
    """List and show permissions, give them and take them away. No policy is asked; every change is audited."""


@permissions.command("list")
@config_option
@data_option
@click.option("--org", "org_id", help="Id of one organisation [default: all].")
@click.option("--archived", is_flag=True, help="List archived ones too.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_command(config: Path | None, data: Path | None, org_id: str | None, archived: bool, as_json: bool) -> None:
    """List permissions, newest first."""
    from countersign.identity import administration as identities
    from countersign.identity.local_commands import Impossible

    async def work(database: Database, _secret: bytes, _world: World) -> list[Listed]:
        known = await database.read(identities.organisations)
        if org_id is not None and org_id not in known:
            raise Impossible(f"there is no organisation {org_id!r}")
        found: list[Listed] = []
        for organisation in known if org_id is None else (org_id,):
            before: str | None = ""
            while before is not None:
                page, before = await database.read(_page(organisation, before, archived))
                found += page
        return found

    found = run_local(installation_settings(config, data), work)
    if as_json:
        click.echo(json.dumps([each.document() for each in found], indent=2))
        return
    for each in found:
        click.echo(_line(each))


def _page(org_id: str, before: str, archived: bool) -> Callable[[], Any]:
    from countersign.permissions import administration

    return lambda: administration.list_page(org_id, before or None, archived=archived)


def _line(each: Listed) -> str:
    stored = each.permission
    state = "immutable" if stored.is_immutable else "archived" if stored.is_archived else "active"
    operations = counted(len(stored.operations), "operation")
    return f"{stored.id}  {each.org_id}  {state:<9}  {operations:>15}  {printable(stored.name)}"


@permissions.command("show")
@click.argument("named", metavar="PERMISSION")
@config_option
@data_option
@click.option("--org", "org_id", help="Id of the organisation, for a name that several have.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show_command(named: str, config: Path | None, data: Path | None, org_id: str | None, as_json: bool) -> None:
    """Show PERMISSION (id or name): its operations and who holds it."""
    from countersign.permissions import administration

    async def work(database: Database, _secret: bytes, _world: World) -> tuple[Listed, list[Holder]]:
        return await database.read(lambda: administration.show(named, org_id))

    found, holders = run_local(installation_settings(config, data), work)
    if as_json:
        document = {**found.document(), "assignments": [holder.document() for holder in holders]}
        click.echo(json.dumps(document, indent=2))
        return
    click.echo(_line(found))
    for operation in found.permission.operations:
        click.echo(f"  {printable(operation)}")
    for holder in holders:
        click.echo(f"{holder.identity_id}  {holder.state:<8}  {printable(holder.name)}".rstrip())


@permissions.command()
@click.argument("named", metavar="PERMISSION")
@click.argument("identity", metavar="IDENTITY")
@config_option
@data_option
def grant(named: str, identity: str, config: Path | None, data: Path | None) -> None:
    """Give PERMISSION (id or name) to IDENTITY: a user, service account, token or application, or a username.

    It counts from the next request on.
    """
    from countersign.permissions import administration

    async def work(database: Database, _secret: bytes, world: World) -> tuple[Listed, Identity]:
        return await database.write(lambda: administration.grant(named, identity, world))

    found, holder = run_local(installation_settings(config, data), work)
    click.echo(f"{holder.id} holds {printable(found.permission.name)}")


@permissions.command()
@click.argument("named", metavar="PERMISSION")
@click.argument("identity", metavar="IDENTITY")
@config_option
@data_option
def revoke(named: str, identity: str, config: Path | None, data: Path | None) -> None:
    """Take PERMISSION (id or name) away from IDENTITY. The last administrator keeps full access."""
    from countersign.permissions import administration

    async def work(database: Database, _secret: bytes, world: World) -> tuple[Listed, Identity]:
        return await database.write(lambda: administration.revoke(named, identity, world))

    found, holder = run_local(installation_settings(config, data), work)
    click.echo(f"{holder.id} no longer holds {printable(found.permission.name)}")


@permissions.command()
def catalogue() -> None:
    """Print all operations and their older spellings as Markdown."""
    from countersign.access.catalogue import reference

    click.echo(reference(), nl=False)
