"""``countersign policy prices``: what the sources of a server say of assets, and what rules would make of it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countersign.cli.common import config_option, data_option, installation_settings

if TYPE_CHECKING:
    from countersign.policies.assets import Asset
    from countersign.server.settings import Settings


@click.command("prices")
@click.argument("names", metavar="ASSET...", nargs=-1, required=True)
@config_option
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def prices_command(names: tuple[str, ...], config: Path | None, data: Path | None, as_json: bool) -> None:
    """Ask the price sources of the settings for ASSET, such as Ethereum/native:eth, and say which price would count.

    The exit status is 1 if one of them has no price in dollars, or no decimals.
    """
    from countersign.policies.price_table import BadTable, read_asset
    from countersign.server import logs
    from countersign.server.settings import BadSettings

    settings = installation_settings(config, data)
    # What a source did is printed with its price.
    logs.configure("error", settings.log_format)
    try:
        found = asyncio.run(_ask(settings, [read_asset(name) for name in names]))
    except (BadSettings, BadTable) as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        for each in found:
            _print(each)
    if any("price" not in each["USD"] or each["decimals"] is None for each in found):
        raise click.exceptions.Exit(1)


async def _ask(settings: Settings, assets: list[Asset]) -> list[dict[str, Any]]:
    from countersign.encoding.dates import to_iso
    from countersign.policies.facts import NeededFacts
    from countersign.policies.prices import Priced, choose
    from countersign.policies.pricing import CURRENCIES
    from countersign.server.prices import pricing
    from countersign.world import World

    world = World()
    sources = pricing(settings, world)
    try:
        wanted = frozenset((asset, currency) for asset in assets for currency in CURRENCIES)
        facts = await sources.facts(NeededFacts(wanted, frozenset(assets)))
    finally:
        await sources.close()
    documents = []
    for asset in assets:
        document: dict[str, Any] = {"asset": str(asset), "decimals": facts.decimals.get(asset)}
        for currency in CURRENCIES:
            quotes = facts.quotes[asset, currency]
            chosen = choose(quotes, facts.price_rules, world.now())
            said = [
                {"source": one.source, "fault": one.fault or "none"}
                if one.price is None
                else {"source": one.source, "price": f"{one.price:f}"}
                | ({} if one.at is None else {"at": to_iso(one.at)})
                for one in quotes
            ]
            verdict = (
                {"price": f"{chosen.price:f}", "source": chosen.source}
                if isinstance(chosen, Priced)
                else {"reason": chosen.reason}
            )
            document[currency] = {**verdict, "sources": said}
        documents.append(document)
    return documents


def _print(found: dict[str, Any]) -> None:
    decimals = "unknown" if found["decimals"] is None else found["decimals"]
    click.echo(f"{found['asset']}  decimals: {decimals}")
    for currency, said in found.items():
        if not isinstance(said, dict):
            continue
        verdict = f"{said['price']} from {said['source']}" if "price" in said else f"unknown: {said['reason']}"
        click.echo(f"  {currency}  {verdict}")
        for one in said["sources"]:
            words = one["fault"] if "fault" in one else f"{one['price']}  {one.get('at', 'pinned')}"
            click.echo(f"    {one['source']:<12}  {words}")
