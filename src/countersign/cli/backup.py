"""``countersign backup``, ``restore`` and ``drill``: one encrypted file with everything but the key-encryption key."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from countersign.cli.common import config_option, data_option, example, installation_settings, read_settings
from countersign.cli.progress import progress_bar
from countersign.encoding.counted import counted
from countersign.private_files import new_file, write_whole
from countersign.server.settings import Settings

if TYPE_CHECKING:
    from pyrage import x25519

    from countersign.backup.archive import Head
    from countersign.backup.drill import Report

SECRET = "server.secret"
"""Name of the server secret among the files of a backup."""

ROSTER = "signer-roster.log"
"""Name of the signer's roster of credentials among them; those of further stores have the store's id in it."""

identity_option = click.option(
    "--identity",
    "identity",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="File with the age identity (AGE-SECRET-KEY-...) that opens the backup; made by 'age-keygen'.",
)


def saved_files(values: Settings) -> dict[str, Path]:
    """What lies beside the database and belongs into a backup. The keys of the signers and the authoriser never do."""
    from countersign.server.key_stores import state_directory

    authoriser = {"authoriser-roster.log": Path(values.authoriser_state) / "roster.log"}
    return {
        SECRET: Path(values.server_secret_file),
        ROSTER: Path(values.signer_state) / "roster.log",
        **(authoriser if values.authoriser_apart else {}),
        **{
            f"signer-roster-{store.id}.log": state_directory(values, store) / "roster.log"
            for store in values.key_stores
        },
    }


@click.command(
    epilog=example(
        "countersign backup backup.age --config config.toml --recipient age1...",
    ),
)
@click.argument("output", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@config_option
@data_option
@click.option(
    "--recipient",
    "recipients",
    multiple=True,
    help="An age recipient (age1...) that can open it; repeatable [default: the setting backup_recipients].",
)
def backup(output: Path, config: Path | None, data: Path | None, recipients: tuple[str, ...]) -> None:
    """Write everything into one encrypted FILE, while the server runs.

    It holds sealed keys, the database, the audit log and the server secret, and NOT the key-encryption key: keep that
    elsewhere. The server can't read its own backups; only who has the identity of a recipient can.
    """
    from countersign.backup import archive
    from countersign.backup.save import NothingToSave, save
    from countersign.storage import StorageUnavailable
    from countersign.world import World

    values = installation_settings(config, data)
    try:
        keys = [archive.recipient(text) for text in recipients or values.backup_recipients]
        if not keys:
            raise click.UsageError(
                "name who can open the backup: --recipient age1..., or the setting backup_recipients"
            )
        with progress_bar("backing up") as show:
            done = save(
                values.database,
                saved_files(values),
                keys,
                output,
                now=World().now(),
                progress=lambda done, total: show("rows", done, total),
            )
    except (NothingToSave, StorageUnavailable, ValueError) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or output}: {error.strerror}") from None
    sealed = counted(done.summary.tables["key_records"].count, "sealed key")
    click.echo(f"{output}: {counted(done.size, 'byte')}, {sealed}, {counted(done.manifest.rows, 'row')}")
    _tell_heads(done.manifest.audit_heads)
    for name, path in saved_files(values).items():
        if name != SECRET and name not in done.summary.files:
            click.echo(f"  note: {path} is not there: the backup lacks this roster, which its process keeps elsewhere")
    click.echo("  without the key-encryption key, which has to be kept elsewhere, nothing in it signs")


@click.command(
    epilog=example(
        "countersign restore backup.age --identity backup-identity.txt \\",
        "  --config config.toml",
    ),
)
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@identity_option
@config_option
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Data directory to make for a sandbox, instead of settings.",
)
def restore(source: Path, identity: Path, config: Path | None, data: Path | None) -> None:
    """Restore the backup FILE into the empty database of the settings, which may be of the other engine.

    Puts the server secret and the signer's own file where the settings say. The key-encryption key is not in a backup:
    put it back where the setting signer_kek has it before the signer starts.
    """
    from countersign.backup.load import load
    from countersign.storage.migrate import shipped

    values = restore_target(config, data)
    for path in saved_files(values).values():
        if path.exists():
            raise click.ClickException(f"{path} exists already; restore into an empty place")
    with refusals(), progress_bar("restoring") as show:
        done = load(
            source,
            read_identities(identity),
            values.database,
            # First, so that a database that is there is never without its secret and rosters.
            before_commit=lambda restored: put_files(restored.files, values),
            progress=lambda done, total: show("rows", done, total),
        )
    made = done.manifest
    click.echo(f"restored installation {made.installation_id} as of {made.created_at}: {counted(made.rows, 'row')}")
    _tell_heads(made.audit_heads)
    for name in sorted(done.files.keys() - saved_files(values).keys()):
        click.echo(f"  note: {name} is left out: these settings have no such store, or no authoriser of its own")
    if len(made.migrations) < len(shipped()):
        click.echo("  its schema is of an earlier version: run 'countersign migrate' before you start the server")
    click.echo("  put the key-encryption key in place, then start signer and server")


def restore_target(config: Path | None, data: Path | None) -> Settings:
    """The settings of a place to restore into; of a sandbox to be made by its data directory."""
    if data is None:
        return read_settings(config)
    from countersign.server.sandbox import SandboxFiles, settings_values

    files = SandboxFiles(data.resolve())
    # An attempt that failed may have left an empty database, which is looked into later.
    if files.database_url.exists():
        raise click.ClickException(f"{data} holds a server already; restore into an empty place")
    files.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return read_settings(config, settings_values(files, None, None))


def put_files(files: dict[str, bytes], values: Settings, *, roster: bool = True) -> None:
    """Write the files of a backup where the settings say, mode 0600; without ``roster`` not the first store's."""
    for name, path in saved_files(values).items():
        if name in files and (roster or name != ROSTER):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(path, files[name])


def read_identities(path: Path) -> Sequence[x25519.Identity]:
    """The age identities of a file. Raises ``ValueError`` and ``OSError``."""
    from countersign.backup import archive

    return archive.identities(path.read_text(encoding="utf-8", errors="replace"))


def _tell_heads(heads: Sequence[Head]) -> None:
    for head in heads:
        click.echo(f"  audit log of {head.org_id}: {counted(head.size, 'entry')}, root {head.root_hash}")


@contextmanager
def refusals(*more: type[Exception]) -> Iterator[None]:
    """Tells in one line what is wrong with a backup or the place it goes to."""
    from countersign.backup.archive import BadBackup
    from countersign.backup.probe import Failed
    from countersign.storage import SchemaError, StorageUnavailable
    from countersign.storage.copying import NotEmpty

    known: tuple[type[Exception], ...] = (BadBackup, Failed, NotEmpty, SchemaError, StorageUnavailable, ValueError)
    try:
        yield
    except (*known, *more) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None


@click.command(
    epilog=example(
        "countersign drill backup.age --identity backup-identity.txt \\",
        "  --kek file:/run/keys/kek --trust SHA256:...",
    ),
)
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@identity_option
@click.option(
    "--kek",
    metavar="PROVIDER",
    required=True,
    help="The key-encryption key, as in the setting signer_kek: file:PATH, passphrase, quorum:M-of-N, ...",
)
@click.option("--trust", metavar="FINGERPRINT", help="Fingerprint of the checkpoint key, learnt out of band.")
@click.option(
    "--report",
    "report_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write the report [default: drill-DATE.json here].",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_context
def drill(
    context: click.Context,
    source: Path,
    identity: Path,
    kek: str,
    trust: str | None,
    report_path: Path | None,
    as_json: bool,
) -> None:
    """Prove that the backup FILE can be restored: do it in a throw-away place, use every key, compare the audit root.

    Run it where the key-encryption key may be, on a machine of its own; nothing of the running server is touched.
    Writes a dated report. Exit status: 0 everything could be used and compared, 1 something could not.
    """
    import msgspec

    from countersign.audit.checkpoint import is_fingerprint
    from countersign.backup.drill import drill as run
    from countersign.cli.kek_secrets import Secrets, at_hand
    from countersign.encoding.dates import to_iso
    from countersign.keystores.kek import open_provider
    from countersign.world import World

    if trust is not None and not is_fingerprint(trust):
        raise click.UsageError("--trust takes a fingerprint such as SHA256:nThbg6kX... (43 characters of base64)")
    now = World().now()
    path = report_path or Path(f"drill-{to_iso(now)[:19].replace(':', '')}Z.json")
    with (
        refusals(),
        new_file(path) as write,
        tempfile.TemporaryDirectory(prefix="countersign-drill-") as directory,
    ):
        provider = open_provider(kek)
        secrets = Secrets()
        with progress_bar("drill") as show:
            report = run(
                source,
                read_identities(identity),
                provider,
                lambda blobs: at_hand(provider, blobs, secrets),
                Path(directory),
                now=now,
                trust=trust,
                progress=show,
            )
        write(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    click.echo(msgspec.json.encode(report).decode() if as_json else "\n".join(_lines(report, path)))
    context.exit(0 if report.outcome == "passed" else 1)


def _lines(report: Report, path: Path) -> list[str]:
    keys = report.keys
    lines = [
        f"{report.outcome.upper()}: {report.backup} of {report.backup_created_at}, {counted(report.rows, 'row')}",
        f"  installation {report.installation_id}, key store {report.store_id} ({report.key_encryption})",
        f"  {keys.used:,} of {counted(keys.total, 'key')} opened, compared with the public key, and used",
    ]
    lines += [f"    {count:>10,}  {scheme}" for scheme, count in keys.by_scheme.items()]
    lines += [f"    FAILED {key.key_id}: {key.reason}" for key in keys.failures]
    if keys.failed > len(keys.failures):
        lines.append(f"    and {keys.failed - len(keys.failures):,} more")
    for log in report.audit:
        verdict = (
            f"{counted(log.size, 'entry')}, root {log.root_hash}" if log.reason is None else f"BROKEN: {log.reason}"
        )
        lines.append(f"  audit log of {log.org_id}: {verdict}")
    lines += [f"  note: {note}" for note in report.notes]
    lines.append(f"  report: {path}")
    return lines
