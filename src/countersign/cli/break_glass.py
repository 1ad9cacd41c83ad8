"""``countersign admin break-glass``: a new credential for someone who lost every way in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from countersign.cli import waiting
from countersign.cli.common import (
    Group,
    config_option,
    data_option,
    example,
    installation_settings,
    printable,
    run_local,
    write_local,
)
from countersign.cli.kek_secrets import prove

if TYPE_CHECKING:
    from countersign.identity.break_glass import Completed, Request
    from countersign.storage import Database
    from countersign.world import World


@click.group("break-glass", cls=Group)
def break_glass() -> None:
    """Let in an administrator who lost every credential: asked for, waited for, then done.

    'request' and 'complete' need the key-encryption secret of the key store (setting signer_kek). The wait is what the
    setting break_glass_hours was at init; meanwhile the server warns in its log, and anyone with this host can cancel.
    """


@break_glass.command(
    "request",
    epilog=example(
        "countersign admin break-glass request alice@example.com \\",
        "  --public-key new-key.pem",
    ),
)
@click.argument("person", metavar="USER")
@click.option(
    "--public-key",
    "public_key_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="PEM public key that becomes the user's only credential; the private key stays with them.",
)
@config_option
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def request_command(person: str, public_key_file: Path, config: Path | None, data: Path | None, as_json: bool) -> None:
    """Ask for a new credential for USER (id or username)."""
    from countersign.credentials import public_key as public_keys
    from countersign.identity import break_glass as requests

    settings = installation_settings(config, data)
    try:
        key = public_keys.load(public_key_file.read_text(encoding="ascii", errors="replace"))
    except OSError as error:
        raise click.ClickException(f"{public_key_file}: {error.strerror}") from None
    if not isinstance(key, public_keys.PublicKey):
        raise click.ClickException(f"{public_key_file}: {key.reason}")

    async def work(database: Database, _secret: bytes, world: World) -> Request:
        await prove(settings, database, "break-glass")
        return await database.write(lambda: requests.request(person, key, world))

    made = run_local(settings, work)
    waiting.show_made(made, f"key {made.fingerprint} for {made.username}", "break-glass", as_json)


@break_glass.command("list")
@config_option
@data_option
@click.option("--all", "ended_too", is_flag=True, help="Those that ended too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_command(config: Path | None, data: Path | None, ended_too: bool, as_json: bool) -> None:
    """List the requests that wait."""
    from countersign.identity import break_glass as requests

    found = write_local(config, data, lambda _world: requests.list_requests())
    waiting.show_all(found, lambda item: f"{item.fingerprint}  {item.username}", ended_too, as_json)


@break_glass.command()
@click.argument("request_id", metavar="ID")
@config_option
@data_option
def cancel(request_id: str, config: Path | None, data: Path | None) -> None:
    """Cancel the request ID; nothing of the user changes."""
    from countersign.identity import break_glass as requests

    ended = write_local(config, data, lambda world: requests.cancel(request_id, world))
    click.echo(f"{ended.id} is cancelled")


@break_glass.command()
@click.argument("request_id", metavar="ID")
@config_option
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def complete(request_id: str, config: Path | None, data: Path | None, as_json: bool) -> None:
    """Do what the request ID asked for, once it has waited.

    Archives all credentials, sessions and personal access tokens of the user, enrols the key and prints a session
    token, once.
    """
    from countersign.cli.roster import vouch
    from countersign.identity import break_glass as requests
    from countersign.keystores import Founder
    from countersign.server.maintenance import find_installation, key_ring

    settings = installation_settings(config, data)

    async def work(database: Database, _secret: bytes, world: World) -> Completed:
        await prove(settings, database, "break-glass")
        installation = await find_installation(database)
        ring = await key_ring(settings, database, installation["installation_id"], world)
        lifetime = settings.session_seconds
        return await database.write(lambda: requests.complete(request_id, ring, lifetime, world))

    async def told(database: Database, _secret: bytes, _world: World) -> bool:
        return await vouch(settings, database, founder)

    done = run_local(settings, work)
    of = done.request
    founder = Founder(of.org_id, of.user_id, done.credential_uuid, "Key", of.public_key)
    document = {
        "orgId": of.org_id,
        "userId": of.user_id,
        "username": of.username,
        "credentialUuid": done.credential_uuid,
        "credentialId": done.credential_id,
        "authToken": done.token,
    }
    # The token is shown once, and so before anything else is tried.
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        for name, value in document.items():
            click.echo(f"{name:<15} {printable(value)}")
        click.echo("\nThe token is shown once. The new key is the user's only credential: add another at once.")
    if not run_local(settings, told):
        named = f"{done.credential_uuid} --public-key {of.fingerprint}"
        click.echo(f"\nFor the signer it counts after: countersign admin endorse {named}", err=as_json)
