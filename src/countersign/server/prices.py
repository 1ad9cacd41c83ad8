"""The price sources of a server, as its settings order them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

from countersign import __version__
from countersign.outgoing import OutgoingClient, Rules
from countersign.policies.prices import PriceRules
from countersign.policies.pricing import (
    ChainlinkSource,
    CoinGeckoSource,
    PinnedSource,
    Pricing,
    Remembered,
    Source,
    TableFile,
)
from countersign.server.settings import BadSettings, PriceSourceSettings, Settings
from countersign.world import World


def pricing(settings: Settings, world: World) -> Pricing:
    """What policies are told of prices. Raises ``BadSettings`` for a table or a key that can't be read."""
    table = TableFile(settings.price_table)
    table.read()
    if table.fault is not None:
        raise BadSettings(f"price_table {settings.price_table}: {table.fault}")
    sources: list[Source] = []
    clients: list[OutgoingClient] = []
    for each in settings.price_sources or (PriceSourceSettings(kind="pinned"),):
        if each.kind == "pinned":
            sources.append(PinnedSource(table, each.called))
            continue
        client = _client(settings, each)
        clients.append(client)
        remote = CoinGeckoSource if each.kind == "coingecko" else ChainlinkSource
        sources.append(Remembered(remote(table, client, each.url, _headers(each), each.called), world))

    async def close() -> None:
        for client in clients:
            await client.close()

    deviation = settings.price_max_deviation_percent
    rules = PriceRules(settings.price_max_age_seconds * 1000, Decimal(deviation) / 100, cross_check=deviation > 0)
    return Pricing(table, sources, rules, close)


def _client(settings: Settings, source: PriceSourceSettings) -> OutgoingClient:
    """A client for this source alone: what it may reach besides, no URL of a customer does."""
    url = urlsplit(source.url)
    rules = Rules(
        allow_http=url.scheme == "http",
        any_port=True,
        allowed=settings.outgoing_allowed_networks,
        denied=settings.outgoing_denied_networks,
        allowed_hosts=((url.hostname or "").lower(),) if source.private else (),
    )
    return OutgoingClient(
        rules,
        user_agent=f"Countersign/{__version__}",
        ca_bundle=settings.outgoing_ca_bundle,
        total_seconds=settings.price_timeout_milliseconds / 1000,
    )


def _headers(source: PriceSourceSettings) -> dict[str, str]:
    if not source.key_file:
        return {}
    try:
        key = Path(source.key_file).read_text("ascii").strip()
    except OSError as error:
        raise BadSettings(f"price_sources: key_file {source.key_file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadSettings(f"price_sources: key_file {source.key_file} holds no key") from None
    return {source.key_header: key}
