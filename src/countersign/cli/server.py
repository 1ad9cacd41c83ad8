"""Production commands: settings, migrations, ``init``, ``serve``, the server's own keys."""

from __future__ import annotations

import asyncio
import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import click

from countersign.cli.common import (
    Group,
    config_option,
    data_option,
    example,
    installation_settings,
    read_settings,
    run_local,
    start_refusals,
)
from countersign.cli.kek_secrets import Secrets, custodians_option, for_new, shares_option
from countersign.encoding.counted import counted
from countersign.private_files import write_whole
from countersign.server.settings import BadSettings, Settings

if TYPE_CHECKING:
    from countersign.access.server_keys import KeySet, Purpose
    from countersign.credentials.public_key import PublicKey
    from countersign.identity.bootstrap import Founded
    from countersign.storage import Database, Transaction
    from countersign.world import World


@click.command()
def settings() -> None:
    """Print every setting with its default and meaning."""
    from countersign.server.settings_reading import reference

    click.echo(reference(), nl=False)


@click.command()
@config_option
@data_option
@click.option("--dry-run", is_flag=True, help="Say what is to be applied, and change nothing.")
def migrate(config: Path | None, data: Path | None, dry_run: bool) -> None:
    """Bring the database's schema up to date: the step of an upgrade between stopping the servers and starting them.

    Back up first: there is no way back but a backup. Each migration is applied as a whole or not at all; after a
    failure or a crash, run it again. Refuses while a server has the database open.
    """
    from countersign.storage import SchemaError, StorageUnavailable, migrate_database, pending_migrations

    values = installation_settings(config, data)
    under_way = False

    def tell(name: str, stage: str) -> None:
        nonlocal under_way
        under_way = stage == "applying"
        click.echo(f"{name} ... " if under_way else stage, nl=not under_way)

    try:
        if dry_run:
            missing = asyncio.run(pending_migrations(values.database))
            for name in missing:
                click.echo(f"{name} is to be applied")
        else:
            missing = asyncio.run(migrate_database(values.database, tell, unless_in_use=True))
    except (SchemaError, StorageUnavailable, ValueError) as error:
        if under_way:
            click.echo("undone")
        raise click.ClickException(str(error)) from None
    if not missing:
        click.echo("the schema is up to date")


@click.command(
    epilog=example(
        "countersign init --config /etc/countersign/config.toml --org Acme \\",
        "  --owner alice@example.com --public-key alice.pem",
    ),
)
@config_option
@click.option("--org", "organisation", required=True, help="Name of the organisation.")
@click.option("--owner", required=True, help="Username of the first administrator, such as a mail address.")
@click.option(
    "--public-key",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="PEM public key of the administrator's first credential; the private key stays with them.",
)
@click.option("--rp-id", default="localhost", show_default=True, help="Host name that passkeys are bound to.")
@click.option("--origin", default="http://localhost:8170", show_default=True, help="Web origin of the console.")
@shares_option
@custodians_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def init(
    config: Path | None,
    organisation: str,
    owner: str,
    public_key: Path,
    rp_id: str,
    origin: str,
    shares_directory: Path | None,
    custodians: tuple[str, ...],
    as_json: bool,
) -> None:
    """Create the organisation, its first administrator and the key store; once, on the server's own host.

    Needs access to the key-encryption key (setting signer_kek) and makes the server secret if its file is missing.
    Prints a session token for the administrator.
    """
    from countersign.credentials import public_key as public_keys
    from countersign.identity.bootstrap import AlreadyInitialised, BadName

    values = read_settings(config)
    refusals: tuple[type[Exception], ...] = (BadName, ValueError, *start_refusals())
    try:
        key = public_keys.load(public_key.read_text(encoding="ascii", errors="replace"))
        if not isinstance(key, public_keys.PublicKey):
            raise click.ClickException(f"{public_key}: {key.reason}")
        custody = shares_directory, custodians
        made = asyncio.run(_init(values, organisation, owner, key, rp_id, origin, custody))
    except AlreadyInitialised:
        raise click.ClickException("this database is initialised already; init is done once") from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    except refusals as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps(made, indent=2))
        return
    for name, value in made.items():
        click.echo(f"{name:<22} {value}")
    click.echo("\nThe token is shown once. Start the signer and 'countersign serve' next.")


async def _init(
    values: Settings,
    organisation: str,
    owner: str,
    key: PublicKey,
    rp_id: str,
    origin: str,
    custody: tuple[Path | None, tuple[str, ...]],
) -> dict[str, str]:
    from countersign.access.installation import read_installation
    from countersign.access.keyring import KeyRing
    from countersign.audit.checkpoint import fingerprint
    from countersign.identity.bootstrap import (
        AlreadyInitialised,
        Plan,
        first_session,
        found,
        founding_credential,
        prepare_keys,
    )
    from countersign.keystores import create_root
    from countersign.keystores.kek import open_provider
    from countersign.server.authorising import new_authoriser
    from countersign.storage import open_database, read_unmigrated
    from countersign.world import World

    world = World()
    if not values.signer_kek:
        raise BadSettings("signer_kek must name the key-encryption key at init, such as file:PATH")
    provider = open_provider(values.signer_kek)
    # Before anything is migrated: it may be an installation of an earlier version.
    if await read_unmigrated(values.database, "installation", read_installation):
        raise AlreadyInitialised
    database = await open_database(values.database, migrate=True)
    try:
        server_secret = _make_server_secret(Path(values.server_secret_file))
        passphrase = for_new(provider, Secrets(), *custody)
        store_id, installation_id = world.new_id("ks"), world.new_id("in")
        founder = founding_credential(key, world.new_id("or"), world)
        apart = new_authoriser(values, installation_id, (founder,), world)

        def everything() -> Transaction[tuple[KeySet, Founded]]:
            # In one transaction, so that an attempt that fails leaves nothing behind.
            made_keys = yield from prepare_keys(server_secret, world)
            root = create_root(
                provider,
                store_id,
                made_keys.active("authoriser").public_key if apart is None else apart.public_key,
                passphrase,
                installation_id=installation_id,
                founders=(founder,),
                recovery_recipients=values.recovery_recipients,
                authoriser_apart=apart is not None,
            )
            plan = Plan(
                installation_id=installation_id,
                profile=values.profile,
                organisation=organisation,
                administrator=owner,
                administrator_key=key,
                relying_party=rp_id,
                origin=origin,
                store_id=store_id,
                wrapped_root=root,
                founder=founder,
                break_glass_hours=values.break_glass_hours,
                authoriser_id=None if apart is None else apart.authoriser_id,
            )
            return made_keys, (yield from found(plan, world))

        try:
            keys, made = await database.write(everything)
        except BaseException:
            if apart is not None:
                _remove(values.authoriser_key)
            raise
        ring = KeyRing(database, server_secret, values.issuer or installation_id, world)
        await ring.load()
        lifetime = values.session_seconds
        token = await database.write(
            lambda: first_session(made.org_id, made.user_id, owner, installation_id, ring, lifetime, world)
        )
        return {
            "installationId": installation_id,
            "orgId": made.org_id,
            "appId": made.app_id,
            "userId": made.user_id,
            "credentialId": made.credential_id,
            "authToken": token,
            "auditFingerprint": fingerprint(keys.active("checkpoint").public_key),
        }
    finally:
        await database.close()


def _remove(path: str) -> None:
    """An attempt that failed leaves nothing behind."""
    Path(path).unlink(missing_ok=True)


def _make_server_secret(path: Path) -> bytes:
    """The server secret, made when the file is missing. Raises ``OSError``, and ``ValueError`` for a wrong file."""
    from countersign.access.server_keys import read_server_secret

    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(path, secrets.token_bytes(32))
    return read_server_secret(path)


@click.command(
    epilog=example(
        "countersign serve --config /etc/countersign/config.toml",
    ),
)
@config_option
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on.")
@click.option("--processes", type=click.IntRange(1, 64), help="Server processes over one PostgreSQL.")
def serve(config: Path | None, host: str | None, port: int | None, processes: int | None) -> None:
    """Run the production server."""
    from countersign.server.serve import run

    values = read_settings(config, {"host": host, "port": port, "processes": processes})
    embedded = values.database.startswith("sqlite")
    try:
        run(values, migrate=embedded)
    except start_refusals() as error:
        raise click.ClickException(str(error)) from None


@click.group("server-keys", cls=Group)
def server_keys() -> None:
    """The server's own keys: tokens, challenges, audit checkpoints."""


@server_keys.command("list")
@config_option
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_keys(config: Path | None, data: Path | None, as_json: bool) -> None:
    """List the keys that are in use, and the audit fingerprint."""
    from countersign.access import server_keys as keys
    from countersign.audit.checkpoint import fingerprint

    async def read(database: Database, secret: bytes, _world: World) -> keys.KeySet:
        return await database.read(lambda: keys.load(secret))

    rows = [
        {
            "kid": key.kid,
            "purpose": key.purpose,
            "state": key.state,
            "fingerprint": fingerprint(key.public_key) if key.public_key else "",
        }
        for key in run_local(installation_settings(config, data), read).keys
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        click.echo(f"{row['purpose']:<12} {row['state']:<11} {row['kid']}  {row['fingerprint']}")


@server_keys.command()
@config_option
@data_option
@click.argument(
    "purpose", metavar="PURPOSE", type=click.Choice(["token", "challenge", "action", "checkpoint", "payload"])
)
def rotate(config: Path | None, data: Path | None, purpose: Purpose) -> None:
    """Supersede the active key of PURPOSE; what the old key signed stays valid until it is retired.

    PURPOSE is token, challenge, action, checkpoint or payload.
    """
    from countersign.identity.bootstrap import rotate_server_key

    values = installation_settings(config, data)
    made = run_local(values, lambda database, secret, world: rotate_server_key(database, purpose, secret, world))
    within = counted(values.key_refresh_seconds, "second")
    click.echo(f"{purpose}: {made} is active; running servers take it up within {within}")


@server_keys.command()
@config_option
@data_option
@click.argument("kid")
def retire(config: Path | None, data: Path | None, kid: str) -> None:
    """End the superseded key KID: everything it signed is refused from then on."""
    from countersign.identity.bootstrap import retire_server_key

    values = installation_settings(config, data)
    purpose = run_local(values, lambda database, _secret, world: retire_server_key(database, kid, world))
    if purpose is None:
        raise click.ClickException(f"{kid} cannot be retired: not superseded, or the audit log is read with it")
    click.echo(f"{purpose}: {kid} is retired")
