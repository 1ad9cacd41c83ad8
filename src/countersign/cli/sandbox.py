"""``countersign up`` and ``countersign sandbox``: a server for development and CI."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from countersign.cli.common import Group, config_option, example, read_settings, sandbox_files, start_refusals
from countersign.cli.listening import listen

if TYPE_CHECKING:
    from countersign.server.sandbox import SandboxFiles
    from countersign.storage import Database
    from countersign.world import World

data_option = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".local/sandbox"),
    show_default=True,
    help="Data directory of the sandbox; 'up' and 'ca' make it when missing.",
)


@click.command(
    epilog=example(
        "countersign up --data ./sandbox --port 8170",
    ),
)
@data_option
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 picks a free one [default: 8170].")
@click.option("--host", help="Address to listen on [default: 127.0.0.1].")
@click.option("--database", help="Database URL [default: a SQLite file in the data directory].")
@click.option("--tls-certificate", type=click.Path(dir_okay=False), help="Serve TLS with this certificate chain (PEM).")
@click.option("--tls-key", type=click.Path(dir_okay=False), help="Private key of the certificate (PEM).")
@click.option("--force", is_flag=True, help="Listen on an address that others can reach. The sandbox guards no money.")
@config_option
def up(
    data: Path,
    port: int | None,
    host: str | None,
    database: str | None,
    tls_certificate: str | None,
    tls_key: str | None,
    force: bool,
    config: Path | None,
) -> None:
    """Run a sandbox server in the foreground.

    The first start sets everything up: organisation, administrator, a service account with a key credential. Each
    start writes connection.json in the data directory, with what a client needs.
    """
    from countersign.audit.checkpoint import fingerprint
    from countersign.server import logs, sandbox
    from countersign.server.runtime import Runtime
    from countersign.server.serve import run
    from countersign.world import World

    files = sandbox.SandboxFiles(data.resolve())
    values = sandbox.settings_values(files, port, database)
    values.update(host=host, tls_certificate=tls_certificate, tls_key=tls_key)
    values.setdefault("admin_port", 0)
    if "COUNTERSIGN_LOG_LEVEL" not in os.environ:
        values["log_level"] = "warning"
    if sys.stderr.isatty():
        values["log_format"] = "console"
    if "COUNTERSIGN_ADMIN_PORT" in os.environ:
        del values["admin_port"]
    for name in list(values):
        # Laid under file and environment: what the user sets wins, except what makes it a sandbox.
        if f"COUNTERSIGN_{name.upper()}" in os.environ and name not in ("profile", "database", "port", "host"):
            del values[name]
    settings = read_settings(config, values)
    if settings.host not in ("127.0.0.1", "::1", "localhost") and not force:
        raise click.ClickException(f"{settings.host} is not a loopback address; the sandbox needs --force for that")
    logs.configure(settings.log_level, settings.log_format)
    refusals: tuple[type[Exception], ...] = (sandbox.NotASandbox, *start_refusals())
    first = False

    async def ready(runtime: Runtime, listening: int) -> None:
        connection = await sandbox.announce(files, runtime, listening)
        audit = fingerprint(runtime.services.ring.keys.of("checkpoint")[0].public_key)
        _tell(connection, files, first, audit, console=settings.console)

    try:
        with sandbox.held(files):
            first = sandbox.prepare(files, settings, World())
            run(settings, migrate=True, ready=ready)
    except refusals as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        if error.filename is None:
            raise
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None


def _tell(connection: dict[str, str], files: SandboxFiles, first: bool, audit: str, *, console: bool) -> None:
    from countersign.server.sandbox import console_address

    click.echo("Countersign sandbox (for development: its keys are sealed with a key that lies beside the data)")
    if first:
        click.echo("  made      an organisation, an administrator, a service account, a key store")
    click.echo(f"  serving   {connection['baseUrl']}")
    if console:
        click.echo(
            f"  console   {console_address(files)}   (for people; 'countersign sandbox mail' has their invitations)"
        )
    click.echo(f"  orgId     {connection['orgId']}")
    click.echo(f"  client    {files.connection}   (what a client needs; readable by you only)")
    click.echo(f"  audit     {audit}   (what 'countersign audit verify --trust' takes)")
    click.echo("Stop with Ctrl-C.")


@click.group(cls=Group)
def sandbox() -> None:
    """Helpers for a sandbox."""


@sandbox.command()
@data_option
def token(data: Path) -> None:
    """Renew the administrator's session token in connection.json, and print it."""
    from countersign.access.installation import read_installation
    from countersign.access.keyring import KeyRing
    from countersign.access.server_keys import ServerSecretWrong, read_server_secret
    from countersign.server import sandbox as box
    from countersign.storage import SchemaError, StorageUnavailable, open_database
    from countersign.world import World

    files = sandbox_files(data)

    async def renew() -> str:
        database = await open_database(files.database, migrate=False)
        try:
            installation = await database.read(read_installation)
            installation_id = installation["installation_id"]
            ring = KeyRing(database, read_server_secret(files.server_secret), installation_id, World())
            await ring.load()
            return await box.renew_token(files, database, ring, installation_id, 86_400)
        finally:
            await database.close()

    try:
        click.echo(asyncio.run(renew()))
    except (SchemaError, ServerSecretWrong, StorageUnavailable) as error:
        raise click.ClickException(str(error)) from None


@sandbox.command()
@data_option
@click.option(
    "--host",
    "hosts",
    multiple=True,
    default=("localhost", "127.0.0.1"),
    show_default=True,
    help="Name or address; repeatable.",
)
def ca(data: Path, hosts: tuple[str, ...]) -> None:
    """Make a development certificate authority and a server certificate, for clients that insist on https."""
    from countersign.cli.certificates import BadHost, make

    try:
        authority, certificate, key = make(data.resolve(), hosts)
    except BadHost as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    click.echo(f"authority    {authority}   (trust this one in your client)")
    click.echo(f"certificate  {certificate}")
    click.echo(f"key          {key}")
    click.echo(f"\ncountersign up --data {data} --tls-certificate {certificate} --tls-key {key}")


@sandbox.command("mail")
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def mail_command(data: Path, as_json: bool) -> None:
    """Print the mail that the sandbox would have sent, oldest first, with the codes in it.

    The newest 500 letters of the last three days. A sandbox sends no mail.
    """
    from countersign.cli.common import installation_settings, run_local
    from countersign.encoding.dates import to_iso
    from countersign.identity import mail
    from countersign.server.maintenance import find_installation, key_ring
    from countersign.server.sandbox import console_address

    settings = installation_settings(None, data)
    console = console_address(sandbox_files(data)) if settings.console else None

    async def work(database: Database, _secret: bytes, world: World) -> list[mail.Mail]:
        installation = await find_installation(database)
        ring = await key_ring(settings, database, installation["installation_id"], world)
        return await database.read(lambda: mail.newest(ring, console))

    letters = run_local(settings, work)
    if as_json:
        click.echo(json.dumps([letter.document() for letter in letters], indent=2))
        return
    if not letters:
        click.echo("no mail yet")
    for letter in letters:
        click.echo(f"To:       {letter.recipient}\nSubject:  {letter.subject}\nDate:     {to_iso(letter.created_at)}\n")
        click.echo(letter.body)


sandbox.add_command(listen)
