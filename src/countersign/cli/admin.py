"""``countersign admin``: identities as an operator sees them, on the server's own host, with access to the database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from countersign.cli.applications import rotate_token
from countersign.cli.break_glass import break_glass
from countersign.cli.common import (
    Group,
    config_option,
    data_option,
    installation_settings,
    printable,
    run_local,
    write_with_keys,
)
from countersign.cli.identity_providers import identity_providers
from countersign.cli.key_settings import keys_command
from countersign.cli.mail import mail_test
from countersign.cli.permissions import permissions
from countersign.cli.policy_unlocks import unlock_policy
from countersign.cli.roster import endorse
from countersign.cli.server import rotate
from countersign.cli.webhooks import webhooks

if TYPE_CHECKING:
    from collections.abc import Callable

    from countersign.identity.administration import Identity, Kind, Shown, State
    from countersign.storage import Database
    from countersign.world import World

_KINDS = ("user", "service-account", "application", "token", "credential")


@click.group(cls=Group)
def admin() -> None:
    """Do what is the operator's: identities, permissions, break-glass, exports, webhooks; by database access.

    On the server's own host. Every change is audited.
    """


@admin.group()
def identities() -> None:
    """List and show users, service accounts, applications, access tokens and credentials."""


@identities.command("list")
@config_option
@data_option
@click.option(
    "--kind", "kinds", type=click.Choice(_KINDS), multiple=True, help="Only these; repeatable [default: all]."
)
@click.option("--org", "org_id", help="Id of one organisation [default: all].")
@click.option("--archived", is_flag=True, help="List archived ones too.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_command(
    config: Path | None, data: Path | None, kinds: tuple[str, ...], org_id: str | None, archived: bool, as_json: bool
) -> None:
    """List identities, newest first within their kind. Sessions are counted by 'show'."""
    from countersign.identity import administration
    from countersign.identity.local_commands import Impossible

    wanted = cast("tuple[Kind, ...]", kinds) or administration.KINDS
    listed = _Listing(as_json)

    async def work(database: Database, _secret: bytes, _world: World) -> None:
        known = await database.read(administration.organisations)
        if org_id is not None and org_id not in known:
            raise Impossible(f"there is no organisation {org_id!r}")
        for organisation in known if org_id is None else (org_id,):
            for kind in wanted:
                before: str | None = ""
                while before is not None:
                    page, before = await database.read(_page(organisation, kind, before, archived))
                    listed.add(page)

    run_local(installation_settings(config, data), work)
    listed.end()


def _page(org_id: str, kind: Kind, before: str, archived: bool) -> Callable[[], Any]:
    from countersign.identity import administration

    return lambda: administration.list_page(org_id, kind, before or None, archived=archived)


class _Listing:
    """Prints pages as they come: a listing may be longer than memory."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._count = 0

    def add(self, page: list[Identity]) -> None:
        for item in page:
            if self._as_json:
                click.echo("[" if self._count == 0 else ",")
                click.echo(f"  {json.dumps(item.document())}", nl=False)
            else:
                click.echo(_line(item))
            self._count += 1

    def end(self) -> None:
        if self._as_json:
            click.echo("\n]" if self._count else "[]")


def _line(item: Identity) -> str:
    kind = item.facts.get("tokenKind") or item.facts.get("credentialKind") or item.facts.get("userKind") or ""
    return f"{item.kind:<15}  {item.id}  {item.state:<8}  {kind:<18}  {printable(item.name)}".rstrip()


@identities.command("show")
@click.argument("named", metavar="ID")
@config_option
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show_command(named: str, config: Path | None, data: Path | None, as_json: bool) -> None:
    """Show the identity ID (us-, ap-, to- or cr-..., or a username) with what it holds."""
    from countersign.identity import administration

    async def work(database: Database, _secret: bytes, world: World) -> Shown:
        return await database.read(lambda: administration.show(named, world.now()))

    shown = run_local(installation_settings(config, data), work)
    if as_json:
        click.echo(json.dumps(shown.document(), indent=2))
        return
    for name, value in shown.identity.document().items():
        text = str(value).lower() if isinstance(value, bool) else printable(str(value))
        click.echo(f"{name:<15}  {text}".rstrip())
    if shown.identity.kind in ("user", "service-account", "application"):
        click.echo(f"{'permissions':<15}  {printable(', '.join(shown.permissions)) or 'none'}")
    if shown.identity.kind == "user":
        click.echo(f"{'live sessions':<15}  {shown.sessions}")
    for item in (*shown.credentials, *shown.tokens):
        click.echo(_line(item))


@admin.command()
@click.argument("named", metavar="ID")
@config_option
@data_option
def deactivate(named: str, config: Path | None, data: Path | None) -> None:
    """Shut out the user (id or username), service account, application, access token or credential ID.

    It counts at once for changes and within a second for reads. A user's sessions end; what was signed and not used
    is void. The last administrator and a user's last credential are kept.
    """
    _set_state(named, "Inactive", config, data)


@admin.command()
@click.argument("named", metavar="ID")
@config_option
@data_option
def activate(named: str, config: Path | None, data: Path | None) -> None:
    """Let in again what was deactivated. Sessions that ended stay ended."""
    _set_state(named, "Active", config, data)


def _set_state(named: str, state: State, config: Path | None, data: Path | None) -> None:
    from countersign.identity import administration

    async def work(database: Database, _secret: bytes, world: World) -> bool:
        return await database.write(lambda: administration.set_state(named, state, world))

    changed = run_local(installation_settings(config, data), work)
    click.echo(f"{printable(named)} is {state.lower()}{'' if changed else ' already'}")


@admin.command("reissue-code")
@click.argument("person", metavar="USER")
@config_option
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def reissue_code(person: str, config: Path | None, data: Path | None, as_json: bool) -> None:
    """Print a new registration code for USER (id or username), who is not registered yet; the old code is void."""
    from countersign.access import codes
    from countersign.encoding.dates import to_iso
    from countersign.identity import administration
    from countersign.world import World

    code = codes.new_mailed_code(World())
    made = write_with_keys(config, data, lambda ring, world: administration.reissue_code(person, code, ring, world))
    if as_json:
        document = {
            "userId": made.user_id,
            "username": made.username,
            "code": made.code,
            "dateExpires": to_iso(made.expires_at),
        }
        click.echo(json.dumps(document, indent=2))
        return
    click.echo(f"{made.code}   for {printable(made.username)}, until {to_iso(made.expires_at)}; shown once")


admin.add_command(rotate, "rotate-keys")
admin.add_command(rotate_token, "rotate-token")
admin.add_command(break_glass)
admin.add_command(endorse)
admin.add_command(identity_providers)
admin.add_command(keys_command)
admin.add_command(mail_test)
admin.add_command(permissions)
admin.add_command(unlock_policy)
admin.add_command(webhooks)
