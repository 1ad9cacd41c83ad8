"""``countersign admin identity-providers``: whom an organisation trusts to say who somebody is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TextIO

import click

from countersign.cli.common import (
    Group,
    config_option,
    data_option,
    example,
    installation_settings,
    printable,
    write_local,
    write_with_keys,
)
from countersign.encoding.counted import counted

_secret_option = click.option(
    "--client-secret-file",
    "secret_file",
    type=click.File("r"),
    help="File with the client's secret at the provider, '-' for standard input; without one PKCE alone.",
)


@click.group("identity-providers", cls=Group)
def identity_providers() -> None:
    """Say which identity providers (OpenID Connect) are trusted, and where they may send people back to."""


@identity_providers.command(
    "add",
    epilog=example(
        "countersign admin identity-providers add --kind sso \\",
        "  --issuer https://login.example.com --client-id countersign \\",
        "  --client-secret-file client-secret \\",
        "  --redirect-uri https://app.example.com/sso",
    ),
)
@config_option
@data_option
@click.option("--org", "org_id", help="Id of the organisation [default: the only one].")
@click.option(
    "--kind",
    type=click.Choice(("sso", "social")),
    required=True,
    help="sso: employees sign in; social: end users register and log in with ID tokens of your app.",
)
@click.option("--issuer", required=True, help="The provider's issuer, to the letter.")
@click.option("--client-id", required=True, help="The client at the provider: this server (sso) or your app (social).")
@_secret_option
@click.option("--redirect-uri", "redirect_uris", multiple=True, help="Where people come back to (sso); repeatable.")
@click.option("--offline", is_flag=True, help="Do not look whether the provider answers.")
def add_command(
    config: Path | None,
    data: Path | None,
    org_id: str | None,
    kind: str,
    issuer: str,
    client_id: str,
    secret_file: TextIO | None,
    redirect_uris: tuple[str, ...],
    offline: bool,
) -> None:
    """Trust an identity provider; prints its id."""
    from countersign.identity import provider_administration as administration
    from countersign.server.outgoing import provider_rules

    settings = installation_settings(config, data)
    wanted = administration.NewProvider(
        org_id, "Sso" if kind == "sso" else "Social", issuer, client_id, _read(secret_file), redirect_uris
    )
    rules = provider_rules(settings)
    if not offline:
        _look(config, data, issuer)
    click.echo(write_with_keys(config, data, lambda ring, world: administration.add(wanted, rules, ring, world)))


@identity_providers.command("list")
@config_option
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_command(config: Path | None, data: Path | None, as_json: bool) -> None:
    """List the identity providers that are trusted."""
    from countersign.identity import provider_administration as administration

    found = write_local(config, data, lambda _world: administration.list_all())
    if as_json:
        click.echo(json.dumps([each.document() for each in found], indent=2))
        return
    for each in found:
        click.echo(f"{each.provider_id}  {each.kind:6}  {printable(each.issuer)}  {printable(each.client_id)}")
        for uri in each.redirect_uris:
            click.echo(f"    comes back to {printable(uri)}")
    if not found:
        click.echo("no identity provider is trusted")


@identity_providers.command("check")
@click.argument("provider_id", metavar="PROVIDER")
@config_option
@data_option
def check_command(provider_id: str, config: Path | None, data: Path | None) -> None:
    """Look whether a provider answers as it must, with the server's own rules for outgoing requests."""
    from countersign.identity import provider_administration as administration

    provider = write_local(config, data, lambda _world: administration.find(provider_id))
    keys = counted(_look(config, data, provider.issuer), "key")
    click.echo(f"{provider.issuer} answers: {keys} that ID tokens may be signed with")


@identity_providers.command("set-secret")
@click.argument("provider_id", metavar="PROVIDER")
@click.argument("secret_file", metavar="FILE", type=click.File("r"))
@config_option
@data_option
def set_secret_command(provider_id: str, secret_file: TextIO, config: Path | None, data: Path | None) -> None:
    """Replace the client's secret at the provider by that in FILE ('-' for standard input)."""
    from countersign.identity import provider_administration as administration

    secret = _read(secret_file)
    assert secret is not None
    write_with_keys(config, data, lambda ring, world: administration.set_secret(provider_id, secret, ring, world))


@identity_providers.command("add-redirect")
@click.argument("provider_id", metavar="PROVIDER")
@click.argument("uri")
@config_option
@data_option
def add_redirect_command(provider_id: str, uri: str, config: Path | None, data: Path | None) -> None:
    """Let a provider send people back to one more URI."""
    from countersign.identity import provider_administration as administration

    write_local(config, data, lambda world: administration.allow_redirect(provider_id, uri, world))


@identity_providers.command("remove-redirect")
@click.argument("provider_id", metavar="PROVIDER")
@click.argument("uri")
@config_option
@data_option
def remove_redirect_command(provider_id: str, uri: str, config: Path | None, data: Path | None) -> None:
    """Let a provider send nobody to this URI any more."""
    from countersign.identity import provider_administration as administration

    write_local(config, data, lambda world: administration.forbid_redirect(provider_id, uri, world))


@identity_providers.command("remove")
@click.argument("provider_id", metavar="PROVIDER")
@config_option
@data_option
def remove_command(provider_id: str, config: Path | None, data: Path | None) -> None:
    """Trust a provider no longer, and end sessions and registrations that identities of its issuer opened and began."""
    from countersign.identity import provider_administration as administration

    write_local(config, data, lambda world: administration.remove(provider_id, world))


@identity_providers.command("link")
@click.argument("person", metavar="USER")
@click.argument("provider_id", metavar="PROVIDER")
@click.argument("subject")
@config_option
@data_option
def link_command(person: str, provider_id: str, subject: str, config: Path | None, data: Path | None) -> None:
    """Let SUBJECT (claim 'sub') of a provider be USER (id or username): for providers that verify no mail address."""
    from countersign.identity import provider_administration as administration

    click.echo(write_local(config, data, lambda world: administration.link(person, provider_id, subject, world)))


@identity_providers.command("unlink")
@click.argument("person", metavar="USER")
@config_option
@data_option
def unlink_command(person: str, config: Path | None, data: Path | None) -> None:
    """Forget who USER (id or username) is at a provider, for instance because it is replaced; sessions by it end."""
    from countersign.identity import provider_administration as administration

    click.echo(write_local(config, data, lambda world: administration.unlink(person, world)))


def _read(file: TextIO | None) -> str | None:
    if file is None:
        return None
    secret = file.read().strip()
    if not secret:
        raise click.ClickException("the client secret is empty")
    return secret


def _look(config: Path | None, data: Path | None, issuer: str) -> int:
    """How many keys the provider has; a provider that is of no use is told in one line."""
    import asyncio

    from countersign.federation import IdentityProviders, Unavailable
    from countersign.server import logs
    from countersign.server.outgoing import outgoing_client, provider_rules
    from countersign.world import World

    # What a server would log of it is what this prints.
    logs.configure("error", "console")
    settings = installation_settings(config, data)

    async def look() -> int | Unavailable:
        providers = IdentityProviders(outgoing_client(settings, provider_rules(settings), "Countersign"), World())
        try:
            keys = await providers.keys(issuer)
            return keys if isinstance(keys, Unavailable) else len(keys)
        finally:
            await providers.close()

    found = asyncio.run(look())
    if isinstance(found, Unavailable):
        raise click.ClickException(f"{issuer}: {found.reason}")
    return found
