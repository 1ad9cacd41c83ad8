"""``countersign``: every command, loaded only when it is used."""

from __future__ import annotations

import json
import logging
from typing import Any

import click

from countersign import __version__
from countersign.cli.admin import admin
from countersign.cli.applications import applications
from countersign.cli.audit import audit
from countersign.cli.backup import backup, drill, restore
from countersign.cli.common import Group
from countersign.cli.jobs import jobs
from countersign.cli.keys import keys
from countersign.cli.keystore import keystore
from countersign.cli.policy import policy
from countersign.cli.sandbox import sandbox, up
from countersign.cli.server import init, migrate, serve, server_keys, settings


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="countersign")
def main() -> None:
    """A custody server whose keys sign only what was countersigned."""
    # What parts of a server log inside of a command it tells itself; servers set up their own log.
    logging.getLogger("countersign").addHandler(logging.NullHandler())


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the whole reference as Markdown.")
def routes(as_json: bool, as_markdown: bool) -> None:
    """Print the table of operations."""
    from countersign.server.documents import routes as rows
    from countersign.server.table import operations

    if as_markdown:
        from countersign.server.reference import markdown

        click.echo(markdown(operations()), nl=False)
        return
    names = ("method", "path", "authentication", "permission", "operation")
    table = rows(operations())
    if as_json:
        click.echo(json.dumps([dict(zip(names, row, strict=True)) for row in table], indent=2))
        return
    widths = [max(len(row[column]) for row in (names, *table)) for column in range(len(names))]
    for row in (names, *table):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@main.command()
@click.option("--postman", is_flag=True, help="Print a Postman 2.1 collection instead.")
@click.option("--base-url", default="http://127.0.0.1:8170", show_default=True, help="Address of the server.")
def openapi(postman: bool, base_url: str) -> None:
    """Print the OpenAPI 3.1 document of this server."""
    from countersign.server import documents
    from countersign.server.table import operations

    document: dict[str, Any] = documents.openapi(operations(), base_url)
    click.echo(json.dumps(documents.postman(document) if postman else document, indent=2))


for command in (
    admin,
    applications,
    audit,
    backup,
    drill,
    init,
    jobs,
    keys,
    keystore,
    migrate,
    policy,
    restore,
    sandbox,
    serve,
    server_keys,
    settings,
    up,
):
    main.add_command(command)
