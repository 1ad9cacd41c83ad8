"""``countersign keystore authoriser``: an authoriser in a process of its own, for grant level G2 or beside G3."""

from __future__ import annotations

from pathlib import Path

import click

from countersign.cli.common import config_option, data_option, installation_settings, run_local
from countersign.cli.kek_secrets import Secrets
from countersign.cli.roster import confirmed_credentials
from countersign.cli.signers import first_root, served_stores
from countersign.storage import Database
from countersign.world import World


@click.command("authoriser")
@data_option
@config_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def make_authoriser(data: Path | None, config: Path | None, yes: bool) -> None:
    """Make an authoriser: its key file (setting authoriser_key), and its place among those who keep a roster.

    Needs the key-encryption key of the first store: the authoriser's roster begins with the credentials that its root
    names, or else with every active one. An authoriser that was made before is replaced; move its key file away first.
    Signers take its grants once their roots name it: 'keystore rotate-root --authoriser' for every store.
    """
    settings = installation_settings(config, data)
    secrets = Secrets()

    async def work(database: Database, _secret: bytes, world: World) -> tuple[str, list[str]]:
        from countersign.access.installation import read_installation
        from countersign.keystores import charter
        from countersign.keystores.registration import put_authoriser

        first, known = await first_root(settings, database, secrets)
        # A root from before there were rosters, or a recovered one, names nobody.
        founders = known.founders or await confirmed_credentials(database, ask=not yes)
        installation_id = (await database.read(read_installation))["installation_id"]
        authoriser_id = world.new_id("au")
        try:
            charter.create(Path(settings.authoriser_key), authoriser_id, installation_id, founders)
        except FileExistsError:
            raise click.ClickException(
                f"{settings.authoriser_key} exists already; move it away to replace the authoriser"
            ) from None
        except OSError as error:
            raise click.ClickException(f"authoriser_key {settings.authoriser_key}: {error.strerror}") from None
        await database.write(lambda: put_authoriser(authoriser_id, first.store_id))
        return authoriser_id, [store.store_id for store in await served_stores(settings, database)]

    authoriser_id, store_ids = run_local(settings, work)
    click.echo(f"authoriser {authoriser_id}: its key is in {settings.authoriser_key}, for its own user alone. Next:")
    click.echo("  1. have the signers take its grants, and those of nobody else; the server answers 503 from then on")
    for store_id in store_ids:
        click.echo(f"       countersign keystore rotate-root --authoriser {settings.authoriser_key} --store {store_id}")
    click.echo('  2. set authoriser = "process", start the authoriser, and start the server again')
    click.echo("  3. for level G2 start the signers with --grant-level G2")
