"""``countersign keystore ceremony`` and ``transcript``: several people look at a key store and sign what they saw."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from countersign.cli.backup import read_identities, refusals, saved_files
from countersign.cli.common import config_option, data_option, example, installation_settings
from countersign.private_files import new_file

if TYPE_CHECKING:
    from countersign.backup.ceremony import Person
    from countersign.cli.kek_secrets import Secrets
    from countersign.server.settings import Settings

_PERSON = "NAME=KEY.pem"


@click.command(
    epilog=example(
        "countersign keystore ceremony --config config.toml \\",
        "  --operator alice=alice.pem --operator bob=bob.pem \\",
        "  --witness carol=carol.pem \\",
        "  --backup ceremony.age --identity backup-identity.txt \\",
        "  --transcript ceremony.jsonl",
    ),
)
@config_option
@data_option
@click.option("--operator", "operators", metavar=_PERSON, multiple=True, help="An operator; at least two.")
@click.option("--witness", "witnesses", metavar=_PERSON, multiple=True, help="A witness; at least one.")
@click.option("--backup", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Backup to write.")
@click.option("--recipient", "recipients", multiple=True, help="Who can open it [default: backup_recipients].")
@click.option(
    "--identity",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Identity that opens the backup, to restore it at once; without it a drill has to follow.",
)
@click.option(
    "--transcript",
    "transcript_path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Transcript to write.",
)
def ceremony(
    config: Path | None,
    data: Path | None,
    operators: tuple[str, ...],
    witnesses: tuple[str, ...],
    backup: Path,
    recipients: tuple[str, ...],
    identity: Path | None,
    transcript_path: Path,
) -> None:
    """Prove a new key store with people present, right after 'init', on a machine without a network.

    Writes down what runs and what the store's root holds, unseals it, makes test keys and uses them, takes a backup,
    restores it and uses the test keys again. Every step is signed by everyone with the Ed25519 key (PEM, PKCS#8, with
    or without a passphrase) of their own. The digest at the end belongs into the setting ceremony_transcript.
    """
    from countersign.backup import archive
    from countersign.backup.ceremony import Ceremony, Place
    from countersign.cli.kek_secrets import Secrets, at_hand, last
    from countersign.keystores.kek import open_provider
    from countersign.world import World

    values = installation_settings(config, data)
    if len(operators) < 2 or not witnesses:
        raise click.UsageError("a ceremony has at least two operators and one witness")
    secrets, world = Secrets(), World()
    if asyncio.run(_written_down(values)):
        raise click.ClickException("this installation had its ceremony already; its digest stays")
    with refusals(), tempfile.TemporaryDirectory(prefix="countersign-ceremony-") as directory:
        people = [_person(text, "operator", secrets) for text in operators]
        people += [_person(text, "witness", secrets) for text in witnesses]
        if len({person.name for person in people}) != len(people):
            raise click.UsageError("each name stands once")
        keys = [archive.recipient(text) for text in recipients or values.backup_recipients]
        if not keys:
            raise click.UsageError(
                "name who can open the backup: --recipient age1..., or the setting backup_recipients"
            )
        provider = open_provider(values.signer_kek)
        place = Place(
            database=values.database,
            files=saved_files(values),
            kek=provider,
            at_hand=lambda blobs: at_hand(provider, blobs, secrets),
            last=last,
            recipients=keys,
            identities=read_identities(identity) if identity is not None else (),
            backup=backup,
            directory=Path(directory),
        )
        # What was signed is kept even if the ceremony ends early: it happened.
        with new_file(transcript_path, kept=True) as write:
            held = Ceremony(people, write, world.now)
            held.run(place, lambda step: click.echo(f"  signed by all: {step}"))
        asyncio.run(_write_down(values, held.digest))
    click.echo(f"{transcript_path} and {backup} are written. Put this into the settings of the server:")
    click.echo(f'ceremony_transcript = "{held.digest}"')


def _person(text: str, role: str, secrets: Secrets) -> Person:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from countersign.backup.ceremony import Person

    name, found, path = text.partition("=")
    if not found or not name or not path:
        raise click.UsageError(f"say {_PERSON}, not {text!r}")
    pem = Path(path).read_bytes()
    passphrase = bytes(secrets.read(f"Passphrase of {name}'s key")) if b"ENCRYPTED" in pem else None
    key = load_pem_private_key(pem, passphrase)
    if not isinstance(key, Ed25519PrivateKey):
        raise click.UsageError(f"{path}: a ceremony is signed with Ed25519 keys")
    return Person(name, role, key.private_bytes_raw())


async def _written_down(values: Settings) -> bool:
    from countersign.access.installation import read_installation
    from countersign.storage import StorageUnavailable, open_database

    try:
        database = await open_database(values.database, migrate=False, readonly=True)
    except StorageUnavailable as error:
        raise click.ClickException(error.reason) from None
    try:
        return "ceremony_transcript" in await database.read(read_installation)
    finally:
        await database.close()


async def _write_down(values: Settings, digest: str) -> None:
    from countersign.access.installation import write_installation
    from countersign.storage import open_database

    database = await open_database(values.database, migrate=False)
    try:
        if not await database.write(lambda: write_installation({"ceremony_transcript": digest})):
            raise click.ClickException("this installation had its ceremony already; its digest stays")
    finally:
        await database.close()


@click.command("transcript")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--digest", help="The digest that it has to have.")
def show_transcript(file: Path, digest: str | None) -> None:
    """Check the transcript FILE of a ceremony, and print it.

    Exit status 1 when it does not hold, or does not have the digest given.
    """
    from countersign.backup.ceremony import summary
    from countersign.keystores import transcript

    held = transcript.verify(file.read_bytes())
    if isinstance(held, transcript.Broken):
        raise click.ClickException(f"{file}: line {held.line}: {held.reason}")
    _print(summary(held))
    click.echo(f"digest {held.digest}")
    if digest is None:
        click.echo("Hold it against the setting ceremony_transcript, or give it with --digest.")
    elif digest != held.digest:
        raise click.ClickException("this is not the transcript with that digest")


def _print(lines: Sequence[str]) -> None:
    for line in lines:
        click.echo(line)
