"""``countersign admin webhooks``: what became of them, and events sent again, on the server's own host."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from countersign.cli.common import (
    Group,
    as_date,
    config_option,
    data_option,
    example,
    installation_settings,
    printable,
    run_local,
)
from countersign.encoding.counted import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from countersign.storage import Database, Transaction
    from countersign.webhooks.administration import Listed
    from countersign.world import World


_AT_ONCE = 200


@click.group(cls=Group)
def webhooks() -> None:
    """List webhooks, and send events again."""


@webhooks.command("list")
@config_option
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_command(config: Path | None, data: Path | None, as_json: bool) -> None:
    """List all webhooks, with how many events in a row failed for good."""
    from countersign.webhooks.administration import list_all

    async def work(database: Database, _secret: bytes, _world: World) -> list[Listed]:
        return await database.read(list_all)

    found = run_local(installation_settings(config, data), work)
    if as_json:
        click.echo(json.dumps([asdict(each) for each in found], indent=2))
        return
    for each in found:
        failing = f"{each.failing} failed in a row" if each.failing else ""
        click.echo(f"{each.webhook_id}  {each.org_id}  {each.status:<8}  {printable(each.url)}  {failing}".rstrip())
    if not found:
        click.echo("no webhook yet")


@webhooks.command(
    "resend",
    epilog=example(
        "countersign admin webhooks resend wh-... --since 2026-01-01T12:00:00.000Z",
    ),
)
@click.argument("webhook_id", metavar="WEBHOOK")
@click.option("--since", required=True, help="Of the attempts since this date, such as 2026-01-01.")
@config_option
@data_option
def resend_command(webhook_id: str, since: str, config: Path | None, data: Path | None) -> None:
    """Send again, now, each event for WEBHOOK whose last attempt failed: after an endpoint was down for long.

    They are attempts of their own and follow the plan if they fail. It is an entry in the audit log.
    """
    from countersign.identity.local_commands import Impossible, tell
    from countersign.webhooks.administration import organisation_of, resend_some
    from countersign.webhooks.resending import unheard

    first = as_date("--since", since) // 1000

    async def work(database: Database, _secret: bytes, world: World) -> int:
        org_id = await database.read(lambda: organisation_of(webhook_id))
        if org_id is None:
            raise Impossible(f"there is no webhook {webhook_id!r}")

        def resend(events: Sequence[tuple[str, str | None]]) -> Transaction[int]:
            done = yield from resend_some(org_id, webhook_id, events, world)
            yield from tell(org_id, "WebhookEventsResent", (webhook_id,), {"events": str(done)}, world)
            return done

        found = await database.read(lambda: unheard(org_id, webhook_id, first))
        # In parts: a server beside it waits for each transaction.
        parts = [found[at : at + _AT_ONCE] for at in range(0, len(found), _AT_ONCE)]
        return sum([await database.write(partial(resend, part)) for part in parts])

    sent = run_local(installation_settings(config, data), work)
    click.echo(f"{counted(sent, 'event is', 'events are')} sent again")
