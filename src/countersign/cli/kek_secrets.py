"""What people hand in for a key-encryption key, a passphrase or custodians' shares, and the shares they are handed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from countersign.cli.common import handed_in
from countersign.private_files import write_whole

if TYPE_CHECKING:
    from countersign.keystores.kek import KekProvider
    from countersign.server.settings import Settings
    from countersign.storage import Database

shares_option = click.option(
    "--shares",
    "shares_directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="New directory for the shares of a quorum.",
)
custodians_option = click.option(
    "--custodian",
    "custodians",
    multiple=True,
    metavar="AGE",
    help="age recipient of a custodian, who alone can open their share; one for each share.",
)


class Secrets:
    """Secrets one after the other: lines of the descriptor in ``COUNTERSIGN_PASSPHRASE_FD``, or typed.

    Whoever makes it opens store roots, with a typed secret or without: from then on the process leaves no core dump.
    """

    def __init__(self) -> None:
        from countersign.keystores.memory import keep_out_of_dumps

        keep_out_of_dumps()
        given = handed_in()
        self._lines = None if given is None else given.split(b"\n")

    def read(self, prompt: str, *, confirm: bool = False) -> bytearray:
        """The next one, for the caller to wipe; a usage error where there is none."""
        if self._lines is not None:
            if not self._lines or not self._lines[0]:
                raise click.ClickException(f"COUNTERSIGN_PASSPHRASE_FD holds no further line: {prompt}")
            return bytearray(self._lines.pop(0))
        if not sys.stdin.isatty():
            raise click.ClickException(
                f"no terminal to type at, pass a descriptor in COUNTERSIGN_PASSPHRASE_FD: {prompt}"
            )
        return bytearray(click.prompt(prompt, hide_input=True, confirmation_prompt=confirm).encode())


def at_hand(provider: KekProvider, blobs: Sequence[bytes], secrets: Secrets) -> list[bytearray]:
    """Ask for what opens these wrapped roots: nothing, a passphrase, or shares until they suffice.

    The secrets as they were handed in, for the signer to be given too; ``last`` of them goes to the provider.
    """
    from countersign.keystores.kek import MoreShares, RootName
    from countersign.keystores.memory import wipe
    from countersign.keystores.outcome import Refusal
    from countersign.keystores.roots import parse_root

    if not provider.needs_secret:
        return []
    if provider.name != "quorum":
        return [secrets.read("Passphrase of the key store")]
    found = [parse_root(blob) for blob in blobs]
    mine = [each for each in found if not isinstance(each, Refusal) and each.provider == provider.name]
    if not mine:
        raise click.ClickException("the roots of this key store are not wrapped by a quorum")
    root, given = mine[-1], list[bytearray]()
    while True:
        given.append(secrets.read(f"Share {len(given) + 1}"))
        key = provider.key(RootName(root.store_id, root.root_version), root.parameters, given[-1])
        if isinstance(key, MoreShares):
            click.echo(key.reason.partition(";")[0], err=True)
        elif isinstance(key, Refusal):
            raise click.ClickException(key.reason)
        else:
            wipe(key)
            return given


def last(given: Sequence[bytearray]) -> bytearray:
    """What the provider's ``key`` is to be called with after ``at_hand``."""
    return given[-1] if given else bytearray()


async def prove(settings: Settings, database: Database, what: str) -> None:
    """Refuse who does not hold the key-encryption secret, which ``what`` needs."""
    from countersign.identity.local_commands import Impossible
    from countersign.keystores.kek import open_provider
    from countersign.keystores.memory import wipe
    from countersign.keystores.proof import prove_secret
    from countersign.keystores.store import list_roots
    from countersign.server.maintenance import find_installation

    if not settings.signer_kek:
        raise Impossible("signer_kek must name the key-encryption key: file:PATH or passphrase")
    try:
        provider = open_provider(settings.signer_kek)
    except ValueError as error:
        raise Impossible(str(error)) from None
    store_id = (await find_installation(database))["store_id"]
    roots = await database.read(lambda: list_roots(store_id))
    given = at_hand(provider, roots, Secrets())
    try:
        refusal = prove_secret(provider, last(given), store_id, roots)
    finally:
        for secret in given:
            wipe(secret)
    if refusal is not None:
        raise Impossible(f"{what} needs the key-encryption secret: {refusal.reason}")


def for_new(provider: KekProvider, secrets: Secrets, directory: Path | None, custodians: Sequence[str]) -> bytearray:
    """Ask for what will wrap new roots, or hand out shares; call it before anything is wrapped.

    Shares are on disk, whole, before a root is wrapped by them. Usage errors say what is missing.
    """
    if provider.name != "quorum":
        if directory is not None or custodians:
            raise click.ClickException("--shares and --custodian are for a quorum: quorum:M-of-N")
        if not provider.needs_secret:
            return bytearray()
        return secrets.read("New passphrase for the key store", confirm=True)
    if directory is None:
        raise click.ClickException("a quorum needs --shares DIRECTORY, where the custodians' shares are written")
    hand_out(provider, directory, custodians)
    return bytearray()


def hand_out(provider: KekProvider, directory: Path, custodians: Sequence[str]) -> list[Path]:
    """Split a new key and write its shares, each sealed to its custodian where recipients are given."""
    from pyrage import RecipientError, encrypt
    from pyrage.x25519 import Recipient

    from countersign.keystores.keks.quorum import QuorumProvider

    if not isinstance(provider, QuorumProvider):
        raise click.ClickException("only a quorum has shares")
    if custodians and len(set(custodians)) != provider.count:
        raise click.ClickException(f"there are {provider.count} shares: name as many different custodians, or none")
    try:
        recipients = [Recipient.from_str(each) for each in custodians]
    except RecipientError as error:
        raise click.ClickException(f"--custodian: {error}") from None
    shares = provider.split()
    try:
        directory.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        raise click.ClickException(f"{directory} exists; shares go into a new directory") from None
    written = []
    for number, share in enumerate(shares, 1):
        path = directory / f"share-{number}-of-{len(shares)}{'.age' if recipients else '.txt'}"
        content = f"{share}\n".encode()
        write_whole(path, encrypt(content, [recipients[number - 1]], armored=True) if recipients else content)
        written.append(path)
    click.echo(
        f"{len(shares)} shares are in {directory}: give each to its custodian, wipe it here. {provider.threshold} of"
        " them open the key store after a start of the signer: countersign keystore unseal --share",
        err=True,
    )
    return written
