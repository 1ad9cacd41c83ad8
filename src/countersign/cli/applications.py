"""``countersign applications``: what an operator does with applications, on the server's own host."""

from __future__ import annotations

import json
from pathlib import Path

import click

from countersign.cli.common import Group, config_option, data_option, printable, write_local, write_with_keys


@click.group(cls=Group)
def applications() -> None:
    """List applications, replace their tokens, set what they demand and where their passkeys work."""


@applications.command("list")
@config_option
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_command(config: Path | None, data: Path | None, as_json: bool) -> None:
    """List every application that is not archived."""
    from countersign.identity import application_administration as administration

    found = write_local(config, data, lambda _world: administration.list_all())
    if as_json:
        rows = [
            {
                "appId": item.application.app_id,
                "orgId": item.application.org_id,
                "kind": item.application.kind,
                "name": item.application.name,
                "isActive": item.application.is_active,
                "origins": list(item.origins),
                "requireApplicationId": item.demands.application_id,
                "requireNonce": item.demands.nonce,
                "requireApiSignature": item.demands.api_signature,
            }
            for item in found
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    for item in found:
        state = "active" if item.application.is_active else "inactive"
        click.echo(f"{item.application.app_id}  {state:8}  {item.application.kind}  {printable(item.application.name)}")
        for origin in item.origins:
            click.echo(f"    passkeys at {printable(origin)}")


@applications.command("rotate-token")
@click.argument("app_id")
@config_option
@data_option
@click.option("--days", type=click.IntRange(1, 730), default=730, show_default=True, help="Life of the new token.")
def rotate_token(app_id: str, config: Path | None, data: Path | None, days: int) -> None:
    """Print a new token of a server-signed application; the old one ends at once."""
    from countersign.identity import application_administration as administration

    token = write_with_keys(config, data, lambda ring, world: administration.rotate_token(app_id, days, ring, world))
    click.echo(token)


@applications.command()
@click.argument("app_id")
@config_option
@data_option
@click.option("--application-id/--no-application-id", default=False, help="Tokens issued through it must name it.")
@click.option("--nonce/--no-nonce", default=False, help="Requests need a nonce in its strict form.")
@click.option("--api-signature/--no-api-signature", default=False, help="Requests need an API signature.")
def demand(
    app_id: str, config: Path | None, data: Path | None, application_id: bool, nonce: bool, api_signature: bool
) -> None:
    """Set what must come with requests of an application, whatever the server demands of all."""
    from countersign.access.applications import Demands
    from countersign.identity import application_administration as administration

    demands = Demands(application_id, nonce, api_signature)
    write_local(config, data, lambda world: administration.demand(app_id, demands, world))


@applications.command("add-origin")
@click.argument("app_id")
@click.argument("origin")
@config_option
@data_option
@click.option(
    "--related",
    is_flag=True,
    help="Of another host: /.well-known/webauthn of the relying party has to list it, as this server's does.",
)
def add_origin(app_id: str, origin: str, config: Path | None, data: Path | None, related: bool) -> None:
    """Let passkeys of an application be used at one more origin."""
    from countersign.identity import application_administration as administration

    click.echo(
        write_local(config, data, lambda world: administration.add_origin(app_id, origin, world, related=related))
    )


@applications.command("remove-origin")
@click.argument("app_id")
@click.argument("origin")
@config_option
@data_option
def remove_origin(app_id: str, origin: str, config: Path | None, data: Path | None) -> None:
    """Let passkeys of an application be used at an origin no longer."""
    from countersign.identity import application_administration as administration

    write_local(config, data, lambda world: administration.remove_origin(app_id, origin, world))
