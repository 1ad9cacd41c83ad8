"""``countersign audit``: write an organisation's log to a file, and check such a file anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from countersign.cli.common import Group, config_option, data_option, example, installation_settings
from countersign.cli.progress import progress_bar
from countersign.encoding.counted import counted
from countersign.private_files import whole

if TYPE_CHECKING:
    from countersign.audit.export import Exported, OpenPayload
    from countersign.audit.lines import SavedCheckpoint
    from countersign.audit.report import Broken, Finding, Sound
    from countersign.storage import Database

_CODES = {"sound": 0, "broken": 1, "unreadable": 2, "self-consistent only": 3}
#: Lines of a list that people are shown; ``--json`` has more.
_SHOWN = 20


@click.group(cls=Group)
def audit() -> None:
    """The audit log: export it, and verify an export offline."""


_F = TypeVar("_F", bound=Callable[..., Any])


def _database_options(command: _F) -> _F:
    url = click.option(
        "--database", "url", help="Database URL (sqlite:///... or postgresql://...), instead of those of the settings."
    )
    return config_option(data_option(url(command)))


@audit.command(
    "export",
    epilog=example(
        "countersign audit export --config config.toml --output log.jsonl",
    ),
)
@_database_options
@click.option(
    "--server-secret",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The server secret, which opens the payloads [default: that of the settings].",
)
@click.option("--org", "org_id", help="Id of the organisation [default: the only one there is].")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File to write.")
@click.option("--redact", is_flag=True, help="Leave every payload out; the export stays verifiable.")
def export_command(
    config: Path | None,
    data: Path | None,
    url: str | None,
    server_secret: Path | None,
    org_id: str | None,
    output: Path,
    redact: bool,
) -> None:
    """Write the whole log of an organisation to a file of JSON lines that prove themselves."""
    if url is None or (data is not None and server_secret is None):
        settings = installation_settings(config, data)
        url = url or settings.database
        server_secret = server_secret or Path(settings.server_secret_file)
    if server_secret is None and not redact:
        raise click.UsageError("payloads are sealed: name the server secret with --server-secret, or use --redact")
    done = asyncio.run(_export(url, None if redact else server_secret, org_id, output))
    written = f"{counted(done.entries, 'entry')}, {counted(done.checkpoints, 'checkpoint')}"
    click.echo(f"{output}: {written}, {done.unsequenced:,} not yet in the tree")


@audit.command("fingerprint")
@_database_options
def fingerprint_command(config: Path | None, data: Path | None, url: str | None) -> None:
    """Print the fingerprints of the checkpoint keys, oldest first: what 'verify --trust' takes.

    Note the first one down when the server is made, outside of it; trust in it carries over to later keys.
    """
    for kid, fingerprint in asyncio.run(_fingerprints(url or installation_settings(config, data).database)):
        click.echo(f"{fingerprint}  {kid}")


async def _fingerprints(url: str) -> list[tuple[str, str]]:
    from countersign.audit.checkpoint import fingerprint
    from countersign.audit.export import read_checkpoint_keys

    async with _open(url) as database:
        keys = await database.read(read_checkpoint_keys)
    return [(key.kid, fingerprint(key.published().public_key)) for key in keys]


@asynccontextmanager
async def _open(url: str) -> AsyncIterator[Database]:
    from countersign.storage import SchemaError, StorageUnavailable, open_database

    try:
        database = await open_database(url, migrate=False, readonly=True)
    except (StorageUnavailable, SchemaError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    try:
        yield database
    except StorageUnavailable as error:
        raise click.ClickException(error.reason) from None
    finally:
        await database.close()


async def _export(url: str, server_secret: Path | None, named: str | None, output: Path) -> Exported:
    from countersign.audit.export import export, read_installation_id
    from countersign.identity.administration import organisation
    from countersign.identity.local_commands import Impossible
    from countersign.world import World

    async with _open(url) as database:
        installation_id = await database.read(read_installation_id)
        if installation_id is None:
            raise click.ClickException("this database holds no installation; run 'countersign init' first")
        try:
            org_id = await database.read(lambda: organisation(None)) if named is None else named
        except Impossible as error:
            raise click.ClickException(str(error)) from None
        opener = None if server_secret is None else await _opener(database, server_secret)
        try:
            with whole(output) as file, progress_bar("exporting") as show:
                done = await export(
                    database,
                    installation_id,
                    org_id,
                    file,
                    now=World().now(),
                    open_payload=opener,
                    progress=partial(show, "entries"),
                )
                if done.entries + done.unsequenced == 0:
                    raise click.ClickException(f"organisation {org_id} has no audit log in this database")
        except ValueError as error:
            raise click.ClickException(str(error)) from None
        except OSError as error:
            raise click.ClickException(f"{output}: {error.strerror}") from None
    return done


async def _opener(database: Database, server_secret: Path) -> OpenPayload:
    from countersign.access import server_keys
    from countersign.world import World

    try:
        secret = server_keys.read_server_secret(server_secret)
        keys = await database.read(lambda: server_keys.load(secret))
    except OSError as error:
        raise click.ClickException(f"{server_secret}: {error.strerror}") from None
    except (server_keys.ServerSecretWrong, ValueError) as error:
        raise click.ClickException(str(error)) from None
    return server_keys.PayloadSeal(keys.of("payload"), keys.active("payload"), World()).open


@audit.command(
    "verify",
    epilog=example(
        "countersign audit verify log.jsonl --trust SHA256:...",
    ),
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--trust", metavar="FINGERPRINT", help="Fingerprint of the server's checkpoint key, learnt out of band.")
@click.option(
    "--checkpoint",
    "saved_path",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A checkpoint saved earlier: the log must extend it.",
)
@click.option(
    "--save-checkpoint",
    "save_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the log's last checkpoint here if all is well.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def verify_command(
    context: click.Context,
    file: Path,
    trust: str | None,
    saved_path: Path | None,
    save_path: Path | None,
    as_json: bool,
) -> None:
    """Check an export without server or database.

    Exit status: 0 everything holds; 1 something doesn't, the first bad entry is named; 2 the file can't be
    read; 3 everything holds, but without --trust only by the file's own word.
    """
    from countersign.audit.checkpoint import is_fingerprint
    from countersign.audit.report import Sound
    from countersign.audit.verify import read_saved, verify_file

    if trust is not None and not is_fingerprint(trust):
        raise click.UsageError("--trust takes a fingerprint such as SHA256:nThbg6kX... (43 characters of base64)")
    saved: SavedCheckpoint | None = None
    if saved_path is not None:
        try:
            saved = read_saved(saved_path.read_bytes())
        except (ValueError, OSError) as error:
            raise click.UsageError(f"--checkpoint: {error}") from None
    with progress_bar("verifying") as show:
        finding = verify_file(file, trusted_fingerprint=trust, saved=saved, progress=show)
    outcome = _outcome(finding)
    if save_path is not None and isinstance(finding, Sound) and finding.trusted:
        try:
            save_path.write_bytes(msgspec.json.encode(finding.last) + b"\n")
        except OSError as error:
            raise click.ClickException(f"{save_path}: {error.strerror}") from None
    click.echo(msgspec.json.encode(_report(outcome, finding)).decode() if as_json else _text(file, finding, save_path))
    context.exit(_CODES[outcome])


def _outcome(finding: Finding) -> str:
    from countersign.audit.report import Broken, Unreadable

    if isinstance(finding, Unreadable):
        return "unreadable"
    if isinstance(finding, Broken):
        return "broken"
    return "sound" if finding.trusted else "self-consistent only"


def _report(outcome: str, finding: Finding) -> dict[str, Any]:
    return {"outcome": outcome, **msgspec.to_builtins(finding)}


def _text(file: Path, finding: Finding, save_path: Path | None) -> str:
    from countersign.audit.report import Broken, Unreadable

    if isinstance(finding, Unreadable):
        return f"UNREADABLE: {finding.reason}"
    if isinstance(finding, Broken):
        return f"BROKEN: {file}\n  {_where(finding)}: {finding.reason}"
    return "\n".join(_sound_lines(file, finding, save_path))


def _where(broken: Broken) -> str:
    named = []
    if broken.position is not None:
        named.append(f"position {broken.position}")
    if broken.entry_id is not None:
        named.append(f"entry {broken.entry_id}")
    return ", ".join([*named, f"line {broken.line}"])


def _sound_lines(file: Path, sound: Sound, save_path: Path | None) -> Iterator[str]:
    summary = sound.summary
    verdict = "SOUND" if sound.trusted else "SELF-CONSISTENT ONLY"
    yield f"{verdict}: {file}"
    yield f"  installation {summary.installation_id}, organisation {summary.org_id}"
    checkpoints = counted(summary.checkpoints, "checkpoint")
    yield f"  {counted(summary.entries, 'entry')} under {checkpoints}, key {sound.fingerprint}"
    actions = counted(summary.actions, "action")
    yield f"  {actions}, each countersigned by an enrolled credential for exactly this request"
    failed = f" ({summary.failed_signatures:,} failed)" if summary.failed_signatures else ""
    signatures = counted(summary.signatures, "signature")
    yield f"  {signatures} by keys{failed}, each asked for by one of these actions"
    if sound.saved_size is not None:
        yield f"  extends the saved checkpoint of {counted(sound.saved_size, 'entry')}"
    if summary.redacted_payloads:
        payloads = counted(summary.redacted_payloads, "payload is redacted", "payloads are redacted")
        yield f"  {payloads} (hashes were checked)"
    if summary.unsequenced:
        unsequenced = counted(summary.unsequenced, "entry")
        yield f"  {unsequenced} at the end without a position yet: a later export shows that all stay"
    if summary.system:
        yield f"  {counted(summary.system, 'entry')} without an assertion, done by the server or its operator:"
        weighty = [item for item in summary.unasserted if item.weighty]
        others = [item for item in summary.unasserted if not item.weighty][:_SHOWN]
        for item in [*weighty, *others]:
            enrolled = f", enrolled {', '.join(item.enrolled)}" if item.enrolled else ""
            yield f"    {item.event} {item.entry_id}{enrolled}"
        if left := summary.system - len(weighty) - len(others):
            yield f"    and {left:,} more that enrol nobody and grant nothing (--json)"
    if summary.unshown_enrolments:
        credentials = counted(len(summary.unshown_enrolments), "credential")
        yield f"  {credentials} whose key the payload of the enrolling action doesn't show (or is redacted):"
        for credential in summary.unshown_enrolments:
            yield f"    {credential}"
    if not sound.trusted:
        yield "  Nothing outside the file vouches for it: name the server's checkpoint key with --trust."
    elif save_path is not None:
        yield f"  the checkpoint is in {save_path}; hold later exports against it with --checkpoint"
    else:
        yield "  keep the checkpoint with --save-checkpoint FILE, to hold later exports against it"
