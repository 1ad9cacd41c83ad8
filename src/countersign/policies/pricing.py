"""Prices and decimals as facts for policies: fetched from the operator's sources, in their order, before a transaction.

    facts = await pricing.facts(needed_facts(activity, policies))

What evaluates them is pure; here they are only brought. A source that does not answer is a quote without a price.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, get_args
from weakref import WeakValueDictionary

import structlog

from countersign.encoding import strictyaml
from countersign.outgoing import Answer, OutgoingClient, Unreached
from countersign.policies import chainlink, coingecko
from countersign.policies.assets import Asset
from countersign.policies.facts import Facts, NeededFacts
from countersign.policies.price_table import BadTable, PriceTable, read_table
from countersign.policies.prices import PriceRules, Quote
from countersign.policies.types import Currency
from countersign.world import World

log = structlog.get_logger("countersign.prices")

#: All that prices are asked in.
CURRENCIES: tuple[Currency, ...] = get_args(Currency)
_KNOWN = 10_000
#: An answer is used again for that long, a failure shorter; how old its price may be is another matter.
_KEPT_MS = 15_000
_FAILURE_KEPT_MS = 2_000

Quotes = Mapping[Currency, Quote]


class TableFile:
    """The operator's table in a file, read again whenever the file changes; empty without a path.

    One that is broken or gone counts for nothing: its decimals and prices are unknown until it is mended.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path) if path else None
        self._seen: tuple[int, int, int] | None = None
        self._table = PriceTable()
        self.fault: str | None = None

    def read(self) -> PriceTable:
        """The table as it is now."""
        if self._path is None:
            return self._table
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen != self._seen:
                self._table = read_table(strictyaml.parse(self._path.read_text("utf-8")))
                self._seen, self.fault = seen, None
        except (OSError, UnicodeDecodeError, strictyaml.BadYaml, BadTable) as error:
            said = error.strerror or "can't be read" if isinstance(error, OSError) else str(error)
            if said != self.fault:
                log.error("price_table counts for nothing until it is mended", file=str(self._path), reason=said)  # noqa: TRY400 - the reason says it
            self._table, self._seen, self.fault = PriceTable(), None, said
        return self._table


class Source(Protocol):
    """Somebody who knows prices."""

    async def quotes(self, asset: Asset) -> Quotes:
        """What it says of an asset, in every currency; never raises."""
        ...


@dataclass(frozen=True, slots=True)
class PinnedSource:
    """The prices of the operator's table."""

    table: TableFile
    name: str = "pinned"

    async def quotes(self, asset: Asset) -> Quotes:
        """What the table says now."""
        prices = self.table.read().prices
        found: dict[Currency, Quote] = {}
        for currency in CURRENCIES:
            pinned = prices.get((asset, currency))
            found[currency] = (
                Quote(self.name, None, None, "its file is broken" if self.table.fault else None)
                if pinned is None
                else Quote(self.name, pinned.price, pinned.at)
            )
        return found


@dataclass(frozen=True, slots=True)
class CoinGeckoSource:
    """A service that speaks CoinGecko's API. ``url``: its base; ``headers``: the key, if it wants one."""

    table: TableFile
    client: OutgoingClient
    url: str
    headers: Mapping[str, str]
    name: str = "coingecko"

    async def quotes(self, asset: Asset) -> Quotes:
        """What it says now."""
        asked = coingecko.question(asset, self.table.read().coins)
        if asked is None:
            return _none(self.name, "it does not list the asset")
        path, member = asked
        given = await self.client.get(self.url + path, self.headers, most=coingecko.MOST_BYTES)
        body = _body(self.name, given)
        if isinstance(body, Fault):
            return _none(self.name, body.reason)
        return {one: coingecko.answer(self.name, body, member, one) for one in CURRENCIES}


@dataclass(frozen=True, slots=True)
class ChainlinkSource:
    """Aggregator contracts, read through a node. ``url``: its JSON-RPC; ``headers``: the key, if it wants one."""

    table: TableFile
    client: OutgoingClient
    url: str
    headers: Mapping[str, str]
    name: str = "chainlink"

    async def quotes(self, asset: Asset) -> Quotes:
        """What the asset's aggregator says now; it knows dollars only."""
        aggregator = self.table.read().aggregators.get(asset)
        if aggregator is None:
            return _none(self.name, "no aggregator is named for the asset")
        selectors = (chainlink.LATEST_ROUND_DATA, chainlink.DECIMALS)
        bodies = []
        for given in await asyncio.gather(*(self._call(aggregator, selector) for selector in selectors)):
            body = _body(self.name, given)
            if isinstance(body, Fault):
                return _none(self.name, body.reason)
            bodies.append(body)
        return {**_none(self.name, "it knows dollars only"), "USD": chainlink.answer(self.name, bodies[0], bodies[1])}

    async def _call(self, aggregator: str, selector: str) -> Answer | Unreached:
        headers = {**self.headers, "Content-Type": "application/json"}
        return await self.client.post(self.url, chainlink.call(aggregator, selector), headers)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a source has no answer."""

    reason: str


def _body(source: str, given: Answer | Unreached) -> bytes | Fault:
    if isinstance(given, Unreached):
        log.warning("a price source was not reached", source=source, reason=given.code)
        return Fault(f"not reached, {given.code}")
    if given.status != 200:
        log.warning("a price source refused", source=source, status=given.status)
        return Fault(f"it answered {given.status}")
    return given.body


def _none(source: str, fault: str) -> dict[Currency, Quote]:
    return {currency: Quote(source, None, None, fault) for currency in CURRENCIES}


@dataclass(frozen=True, slots=True)
class Remembered:
    """A source whose answers are used again for some seconds; several who ask at once cause one request."""

    source: Source
    world: World
    _kept: OrderedDict[Asset, tuple[int, Quotes]] = field(default_factory=OrderedDict)
    _turns: WeakValueDictionary[Asset, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    async def quotes(self, asset: Asset) -> Quotes:
        """What the source says, or said."""
        async with self._turns.setdefault(asset, asyncio.Lock()):
            kept = self._kept.get(asset)
            if kept is not None and abs(kept[0] - self.world.now()) < _lasts(kept[1]):
                return kept[1]
            found = await self.source.quotes(asset)
            self._kept[asset] = (self.world.now(), found)
            if len(self._kept) > _KNOWN:
                self._kept.popitem(last=False)
            return found


def _lasts(quotes: Quotes) -> int:
    answered = any(quote.price is not None for quote in quotes.values())
    return _KEPT_MS if answered else _FAILURE_KEPT_MS


async def _nothing() -> None:
    """Of sources without connections."""


@dataclass(frozen=True, slots=True)
class Pricing:
    """All sources in the operator's order. ``close``: ends their connections."""

    table: TableFile
    sources: Sequence[Source] = ()
    rules: PriceRules = field(default_factory=PriceRules)
    close: Callable[[], Awaitable[None]] = _nothing

    async def facts(self, needed: NeededFacts) -> Facts:
        """Quotes and decimals, of those that are needed; all sources are asked at once, and keep their order."""
        if not needed.quotes and not needed.decimals:
            return Facts(price_rules=self.rules)
        table = self.table.read()
        wanted = sorted({asset for asset, _ in needed.quotes}, key=str)
        quotes: dict[tuple[Asset, Currency], Sequence[Quote]] = {}
        for asset in wanted:
            said = await asyncio.gather(*(source.quotes(asset) for source in self.sources))
            for currency in CURRENCIES:
                quotes[asset, currency] = [one[currency] for one in said]
        known = ((asset, table.decimals_of(asset)) for asset in needed.decimals)
        decimals = {asset: digits for asset, digits in known if digits is not None}
        return Facts(quotes=quotes, decimals=decimals, price_rules=self.rules)
