"""``countersign keys``: the customer's side of import and export, against any server that speaks the API."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from countersign.cli.common import Group, example, printable, read_secret
from countersign.private_files import new_file

if TYPE_CHECKING:
    from countersign.cli.customer import Customer
    from countersign.cli.key_formats import HeldKey

_WITH_PASSPHRASE: Final = frozenset({"age", "ethereum", "pkcs8"})
_WARNING: Final = (
    "Warning: the private key is now outside of any key store. Whoever reads the file{} can sign for it, unseen by any "
    "policy or audit log, and nothing takes that back. Keep it offline, and destroy it when it has served."
)


class _Connection(msgspec.Struct, frozen=True, rename="camel"):
    """What a server wrote for its clients, as far as it is needed."""

    auth_token: str = ""
    base_url: str = ""
    credential_id: str = ""
    private_key_path: str = ""


@click.group(cls=Group)
def keys() -> None:
    """Export keys from a server and import keys into one, as its customer."""


@dataclass(frozen=True, slots=True)
class _Way:
    """How a customer reaches a server, as the options name it."""

    connection: Path | None
    base_url: str | None
    token_file: Path | None
    credential_id: str | None
    credential_key: Path | None
    certificates: Path | None
    installation: str | None

    def open(self) -> Customer:
        from countersign.cli.customer import Customer, Refused, signing_key

        values = _Connection()
        if self.connection is not None:
            try:
                values = msgspec.json.decode(_private(self.connection), type=_Connection)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise click.ClickException(f"{self.connection} is no connection file: {error}") from None
        key_path = self.credential_key or (Path(values.private_key_path) if values.private_key_path else None)
        token = values.auth_token
        if self.token_file is not None:
            token = _private(self.token_file).decode(errors="replace").strip()
        base_url, credential_id = self.base_url or values.base_url, self.credential_id or values.credential_id
        if not (key_path and token and base_url and credential_id):
            raise click.UsageError(
                "name the server with --connection, or with --base-url, --token-file, --credential-id, --credential-key"
            )
        try:
            key = signing_key(_private(key_path))
            return Customer(base_url, token, credential_id, key, self.certificates, self.installation)
        except Refused as error:
            raise click.ClickException(str(error)) from None


_file = click.Path(path_type=Path, dir_okay=False, exists=True)


def _way_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(
        (
            click.option("--connection", type=_file, help="What a server wrote for its clients: connection.json."),
            click.option("--base-url", help="Address of the server, instead of the connection's."),
            click.option("--token-file", type=_file, help="File with the token."),
            click.option("--credential-id", help="Id of the credential that signs."),
            click.option("--credential-key", type=_file, help="PEM file with the credential's private key."),
            click.option("--ca", "certificates", type=_file, help="PEM file with the certificate authority to trust."),
            click.option("--installation", help="Id of the installation (in-...), where the server does not say it."),
        )
    ):
        command = option(command)
    return command


@keys.command(
    "export",
    epilog=example(
        "countersign keys export key-... --output key.age \\",
        "  --i-understand-that-the-key-leaves-its-store --connection connection.json",
    ),
)
@click.argument("key_id", metavar="KEY_ID")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="New file for the key, mode 0600.")
@click.option(
    "--format",
    "form",
    type=click.Choice(("age", "pkcs8", "ethereum", "wif")),
    default="age",
    show_default=True,
    help="age: for 'keys import', encrypted with a passphrase. The others are for other programs.",
)
@click.option("--testnet", is_flag=True, help="WIF for Bitcoin's test network.")
@click.option(
    "--no-passphrase", is_flag=True, help="PKCS#8 in plain text; WIF is that anyway. Anyone who reads it has the key."
)
@click.option(
    "--i-understand-that-the-key-leaves-its-store",
    "understood",
    is_flag=True,
    help="Needed: from then on the key is only as safe as the file.",
)
@click.option(
    "--request",
    type=click.Path(path_type=Path),
    help="New file for what others are to approve, where the server wants that [default: OUTPUT.request.json].",
)
@_way_options
def export_command(
    key_id: str,
    output: Path,
    form: str,
    testnet: bool,
    no_passphrase: bool,
    understood: bool,
    request: Path | None,
    **way: Any,
) -> None:
    """Export the key KEY_ID from a server, put it together on this machine, and write it to a new file.

    The server must allow it ('countersign admin keys --enable-export'), and its key signs no longer afterwards. Where
    others have to approve, the command says so and waits for them. The passphrase of the file is asked for, or read
    from the descriptor in COUNTERSIGN_PASSPHRASE_FD.
    """
    from countersign.cli import key_transfer
    from countersign.cli.key_formats import check_form

    _require(understood)
    customer = _Way(**way).open()
    passphrase = ""
    if form in _WITH_PASSPHRASE and not (no_passphrase and form == "pkcs8"):
        passphrase = read_secret("Passphrase of the new file", confirm=True).decode()
        if not passphrase:
            raise click.ClickException("the passphrase is empty")
    with _told(), _new_file(output) as write:
        shown = key_transfer.show(customer, key_id)
        check_form(form, shown.curve)
        request = request or output.with_name(f"{output.name}.request.json")
        write(_encode(key_transfer.fetch(customer, shown, request), form, passphrase, testnet))
    click.echo(f"{key_id}  {shown.scheme} {shown.curve}  {shown.public_key}  written to {output}")
    click.echo(_WARNING.format(" and knows its passphrase" if passphrase else ""), err=True)


@keys.command(
    "approve-export",
    epilog=example(
        "countersign keys approve-export key.age.request.json \\",
        "  --connection connection.json",
    ),
)
@click.argument("request", type=_file)
@click.option("--yes", is_flag=True, help="Do not ask.")
@_way_options
def approve_export_command(request: Path, yes: bool, **way: Any) -> None:
    """Approve the export that REQUEST asks for: a file of a 'keys export' that waits for approvals.

    Compare the fingerprint with the one that the other command shows, by a way that you trust: whoever holds that
    encryption key gets the private key.
    """
    from countersign.cli import export_approvals, key_transfer

    customer = _Way(**way).open()
    with _told():
        wanted = export_approvals.read(request)
        shown = key_transfer.show(customer, wanted.key_id)
        click.echo(f"{shown.id}  {shown.scheme} {shown.curve}  {shown.public_key}")
        click.echo(f"goes to whoever holds the encryption key  {wanted.fingerprint}")
        if not yes:
            click.confirm("Approve that this key leaves its store?", abort=True)
        until = export_approvals.approve(customer, wanted)
    click.echo(f"approved, for one export until {printable(until)}")


@keys.command(
    "import",
    epilog=example(
        "countersign keys import key.age --i-understand-that-copies-may-exist \\",
        "  --connection connection.json",
    ),
)
@click.argument("file", type=_file)
@click.option(
    "--format",
    "form",
    type=click.Choice(("age", "pkcs8", "ethereum", "wif", "mnemonic")),
    default="age",
    show_default=True,
    help="age: a file of 'keys export'. mnemonic: a file with a BIP-39 phrase in English.",
)
@click.option("--scheme", type=click.Choice(("ECDSA", "EdDSA", "Schnorr", "DH")), help="Where the file does not say.")
@click.option("--path", "derivation", help="Below a phrase, such as m/44'/60'/0'/0/0 or m/44'/501'/0'/0'.")
@click.option("--phrase-passphrase", is_flag=True, help="The phrase has a BIP-39 passphrase: ask for it.")
@click.option("--no-passphrase", is_flag=True, help="The PKCS#8 file is in plain text.")
@click.option("--name", help="Name of the key.")
@click.option("--master", is_flag=True, help="Others are to be derived from it.")
@click.option(
    "--i-understand-that-copies-may-exist",
    "understood",
    is_flag=True,
    help="Needed: a key that was outside of a key store may be in others' hands, and the file still is a copy.",
)
@_way_options
def import_command(
    file: Path,
    form: str,
    scheme: str | None,
    derivation: str | None,
    phrase_passphrase: bool,
    no_passphrase: bool,
    name: str | None,
    master: bool,
    understood: bool,
    **way: Any,
) -> None:
    """Share the private key in FILE on this machine, and import the shares into a server.

    The server must allow it ('countersign admin keys --enable-import'); it gets the shares encrypted. FILE must be
    readable by its owner only.
    """
    from countersign.cli import key_transfer

    _require(understood)
    customer = _Way(**way).open()
    data, passphrase = _private(file), ""
    if phrase_passphrase or (form in _WITH_PASSPHRASE and not (no_passphrase and form == "pkcs8")):
        passphrase = read_secret("Passphrase of the phrase" if form == "mnemonic" else f"Passphrase of {file}").decode()
    with _told():
        key = _decode(data, form, passphrase, derivation, scheme)
        chosen = key.scheme or scheme or "ECDSA"
        if scheme not in (None, chosen) or not key_transfer.supported(chosen, key.curve):
            raise click.ClickException(f"the file holds a key for {chosen} on {key.curve}, not for {scheme}")
        made = key_transfer.submit(customer, key, chosen, name, master)
    click.echo(f"{made.id}  {made.scheme} {made.curve}  {made.public_key}")
    click.echo(
        f"Warning: {file} and any other copy can still sign for this key. Destroy them when it is known to work.",
        err=True,
    )


def _require(understood: bool) -> None:
    """Refuse who does not say so; the private key that comes next is in no core dump."""
    from countersign.keystores.memory import keep_out_of_dumps

    keep_out_of_dumps()
    if not understood:
        command = click.get_current_context().command
        flag = next(option for option in command.params if option.name == "understood").opts[0]
        raise click.UsageError(f"a private key outside of its store is a risk that nothing takes back; say {flag}")


def _encode(key: HeldKey, form: str, passphrase: str, testnet: bool) -> bytes:
    from countersign.cli import key_formats

    match form:
        case "age":
            return key_formats.to_age(key, passphrase)
        case "pkcs8":
            return key_formats.to_pkcs8(key, passphrase)
        case "ethereum":
            return key_formats.to_ethereum(key, passphrase)
        case _:
            return key_formats.to_wif(key, testnet=testnet)


def _decode(data: bytes, form: str, passphrase: str, derivation: str | None, scheme: str | None) -> HeldKey:
    from countersign.cli import key_formats

    match form:
        case "age":
            return key_formats.from_age(data, passphrase)
        case "pkcs8":
            return key_formats.from_pkcs8(data, passphrase)
        case "ethereum":
            return key_formats.from_ethereum(data, passphrase)
        case "wif":
            return key_formats.from_wif(data)
        case _:
            if derivation is None:
                raise click.UsageError("a phrase needs --path")
            curve = "ed25519" if scheme == "EdDSA" else "secp256k1"
            return key_formats.from_mnemonic(data.decode(errors="replace"), passphrase, derivation, curve)


def _private(path: Path) -> bytes:
    """Content of a file that nobody but its owner reads; of a pipe as it is."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) & 0o077:
                raise click.ClickException(f"{path} can be read by others; make it yours alone: chmod 600 {path}")
            return file.read()
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from None


@contextmanager
def _new_file(path: Path) -> Iterator[Callable[[bytes], None]]:
    """A new file made before the key leaves its store, and gone again if that fails; says in a line what is wrong."""
    with ExitStack() as stack:
        try:
            on_disk = stack.enter_context(new_file(path))
        except OSError as error:
            raise click.ClickException(f"{path}: {error.strerror}") from None

        def write(content: bytes) -> None:
            try:
                on_disk(content)
            except OSError as error:
                raise click.ClickException(
                    f"{path}: {error.strerror}. The key was exported all the same, and is on no disk: export it again"
                ) from None

        yield write


@contextmanager
def _told() -> Iterator[None]:
    """What is wrong, in one line."""
    from countersign.cli.customer import Refused
    from countersign.cli.key_formats import Unusable

    try:
        yield
    except (Refused, Unusable) as error:
        raise click.ClickException(printable(str(error))) from None
