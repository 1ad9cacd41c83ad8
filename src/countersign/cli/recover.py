"""``countersign keystore recover``: the way back when the key-encryption key is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from countersign.cli.backup import identity_option, put_files, read_identities, refusals, restore_target, saved_files
from countersign.cli.common import config_option, example
from countersign.cli.kek_secrets import Secrets, custodians_option, for_new, shares_option
from countersign.cli.progress import progress_bar
from countersign.encoding.counted import counted

if TYPE_CHECKING:
    from countersign.keystores.roots import NamedAuthoriser
    from countersign.server.settings import Settings

_SHOWN = 20


@click.command(
    epilog=example(
        "countersign keystore recover backup.age --identity backup-identity.txt \\",
        "  --recovery-identity recovery-identity.txt --config new.toml",
    ),
)
@click.argument("source", metavar="BACKUP", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@identity_option
@click.option(
    "--recovery-identity",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="File with the age identity of a recovery recipient, which opens the copies of the keys.",
)
@config_option
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Data directory to make for a sandbox.")
@shares_option
@custodians_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def recover(
    source: Path,
    identity: Path,
    recovery_identity: Path,
    config: Path | None,
    data: Path | None,
    shares_directory: Path | None,
    custodians: tuple[str, ...],
    as_json: bool,
) -> None:
    """Restore BACKUP with every key sealed anew, when the key-encryption key is lost.

    The settings name an empty database and, in signer_kek, a NEW key-encryption key, which has to be there already.
    Keys without a recovery copy can't be brought back; they are named.
    """
    from countersign.backup.recover import CannotRecover
    from countersign.backup.recover import recover as run
    from countersign.keystores.kek import open_provider

    values = restore_target(config, data)
    for path in saved_files(values).values():
        if path.exists():
            raise click.ClickException(f"{path} exists already; recover into an empty place")
    with refusals(CannotRecover), progress_bar("recovering") as show:
        provider = open_provider(values.signer_kek)
        secret = for_new(provider, Secrets(), shares_directory, custodians)
        apart = _authoriser(values)
        done = run(
            source,
            read_identities(identity),
            read_identities(recovery_identity),
            values.database,
            provider,
            secret,
            authoriser=apart,
            before_commit=lambda restored: put_files(restored.files, values, roster=False),
            progress=show,
        )
    if as_json:
        document = {
            "storeId": done.store_id,
            "rootVersion": done.root_version,
            "recovered": done.recovered,
            "withoutCopy": done.lost,
            "refused": done.refused,
        }
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(
            f"{counted(done.recovered, 'key is', 'keys are')} sealed anew under root version {done.root_version}"
        )
        if done.lost:
            gone = counted(len(done.lost), "key has no recovery copy and is", "keys have no recovery copy and are")
            click.echo(f"{gone} gone: {', '.join(done.lost[:_SHOWN])}")
        for key_id, reason in list(done.refused.items())[:_SHOWN]:
            click.echo(f"{key_id} can't be recovered: {reason}")
        click.echo("The signer's roster is begun anew: countersign keystore roster adopt")
    if done.lost or done.refused:
        raise SystemExit(1)


def _authoriser(values: Settings) -> NamedAuthoriser | None:
    """Whose grants the new root takes, where that is not the server."""
    from countersign.keystores import charter
    from countersign.keystores.roots import NamedAuthoriser

    if not values.authoriser_apart:
        return None
    return NamedAuthoriser(charter.read(Path(values.authoriser_key)).public_key, apart=True)
