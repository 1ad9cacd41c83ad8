"""What several commands share."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from countersign.server.settings import BadSettings, Settings
from countersign.server.settings_reading import load

if TYPE_CHECKING:
    from countersign.access.keyring import KeyRing
    from countersign.server.sandbox import SandboxFiles
    from countersign.storage import Database, Transaction
    from countersign.world import World

T = TypeVar("T")


class Group(click.Group):
    """A group whose list of commands says whole sentences; click cuts them off at the end of the line."""

    group_class = type

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the section with the commands."""
        rows = [(name, command.get_short_help_str(10_000)) for name, command in sorted(self.commands.items())]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def example(*lines: str) -> str:
    """What stands below the help of a command: how it is typed. A line that goes on ends in a backslash."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="COUNTERSIGN_CONFIG",
    help="TOML file with settings (see 'countersign settings').",
)


def read_settings(config: Path | None, overrides: dict[str, Any] | None = None) -> Settings:
    """Settings of file, environment and options; a usage error in one line when they are wrong."""
    try:
        return load(config, os.environ, overrides)
    except BadSettings as error:
        raise click.ClickException(str(error)) from None


data_option = click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), help="Data directory of a sandbox instead of settings."
)


def sandbox_files(data: Path) -> SandboxFiles:
    """The files of a data directory; one in which no server was ever made is told in one line."""
    from countersign.server.sandbox import SandboxFiles

    files = SandboxFiles(data.resolve())
    if not files.exist:
        raise click.ClickException(f"{data} holds no sandbox; start one with 'countersign up --data {data}'")
    return files


def installation_settings(config: Path | None, data: Path | None) -> Settings:
    """Settings of an installation that a local command works on: of a sandbox by its data directory."""
    overrides = None
    if data is not None:
        from countersign.server.sandbox import settings_values

        overrides = settings_values(sandbox_files(data), None, None)
    return read_settings(config, overrides)


def run_local(settings: Settings, work: Callable[[Database, bytes, World], Awaitable[T]]) -> T:
    """Do one piece of work on the installation; what is refused and the operator's to mend is told in one line."""
    from countersign.api import ApiError
    from countersign.identity.local_commands import Impossible
    from countersign.server.maintenance import with_database

    refusals: tuple[type[Exception], ...] = (Impossible, *start_refusals())
    try:
        return asyncio.run(with_database(settings, work))
    except ApiError as error:
        raise click.ClickException(f"{error.message} {error.details.get('hint', '')}".rstrip()) from None
    except refusals as error:
        raise click.ClickException(str(error)) from None


def write_local(config: Path | None, data: Path | None, make: Callable[[World], Transaction[T]]) -> T:
    """Run one transaction on the installation of the options."""

    async def work(database: Database, _secret: bytes, world: World) -> T:
        return await database.write(lambda: make(world))

    return run_local(installation_settings(config, data), work)


def write_with_keys(config: Path | None, data: Path | None, make: Callable[[KeyRing, World], Transaction[T]]) -> T:
    """The same with the server's own keys."""
    from countersign.server.maintenance import find_installation, key_ring

    settings = installation_settings(config, data)

    async def work(database: Database, _secret: bytes, world: World) -> T:
        installation = await find_installation(database)
        ring = await key_ring(settings, database, installation["installation_id"], world)
        return await database.write(lambda: make(ring, world))

    return run_local(settings, work)


def start_refusals() -> tuple[type[Exception], ...]:
    """What keeps a server or a command from its work and is the operator's to mend: told in one line."""
    from countersign.access.server_keys import ServerSecretWrong
    from countersign.server.maintenance import NotInitialised
    from countersign.server.workers import CannotServe
    from countersign.storage import SchemaError, StorageUnavailable

    return BadSettings, CannotServe, NotInitialised, SchemaError, ServerSecretWrong, StorageUnavailable


def as_date(option: str, text: str) -> int:
    """A date or time that somebody gave, in milliseconds since the epoch; a usage error for anything else."""
    from countersign.encoding.dates import from_iso

    try:
        return from_iso(text if "T" in text else f"{text}T00:00:00.000Z")
    except ValueError:
        raise click.UsageError(f"{option} takes a date such as 2026-01-01, or 2026-01-01T12:00:00.000Z") from None


def printable(name: str) -> str:
    """A name without what would move the cursor or reverse the line: names are other people's words."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name)


def handed_in() -> bytes | None:
    """What comes through the descriptor in ``COUNTERSIGN_PASSPHRASE_FD``; ``None`` where none is named."""
    descriptor = os.environ.get("COUNTERSIGN_PASSPHRASE_FD")
    if descriptor is None:
        return None
    try:
        with os.fdopen(int(descriptor), "rb") as file:
            return file.read()
    except (ValueError, OSError):
        raise click.ClickException(
            f"COUNTERSIGN_PASSPHRASE_FD is {descriptor!r}, which is no descriptor that can be read; as in 3<FILE"
        ) from None


def read_secret(prompt: str, *, confirm: bool = False) -> bytearray:
    """A passphrase: from the descriptor in ``COUNTERSIGN_PASSPHRASE_FD``, or typed at the terminal.

    The process leaves no core dump from then on.
    """
    from countersign.keystores.memory import keep_out_of_dumps

    keep_out_of_dumps()
    if (given := handed_in()) is not None:
        return bytearray(given.rstrip(b"\n"))
    if not sys.stdin.isatty():
        raise click.ClickException(
            "no terminal to type a passphrase at; pass a descriptor in COUNTERSIGN_PASSPHRASE_FD"
        )
    return bytearray(click.prompt(prompt, hide_input=True, confirmation_prompt=confirm).encode())
