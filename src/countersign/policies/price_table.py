"""The operator's own table of assets: their decimals, pinned prices, and what price services call them.

Ethereum/erc20:0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48: {decimals: 6}
EthereumSepolia/native:eth: {USD: 2500.5, EUR: 2300}
Solana/native:sol: {USD: 140.25, at: 2026-03-01T12:00:00.000Z, coingecko: solana}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, get_args

from countersign.encoding.dates import from_iso
from countersign.policies import assets
from countersign.policies.assets import Asset
from countersign.policies.networks import KNOWN_NETWORKS, NATIVE_DECIMALS, is_evm_address
from countersign.policies.types import Currency

_CURRENCIES: tuple[Currency, ...] = get_args(Currency)
_MEMBERS = {"decimals", "at", "coingecko", "chainlink", *_CURRENCIES}
_COIN = re.compile(r"[a-z0-9._-]{1,100}", re.ASCII)
_MOST_DECIMALS = 77


class BadTable(ValueError):
    """The table can't be read as a whole, so none of it counts; the text names the line to mend."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """A price of one whole unit, and since when it ages (milliseconds; None: it holds until it is changed)."""

    price: Decimal
    at: int | None


@dataclass(frozen=True, slots=True)
class PriceTable:
    """``coins``: ids at CoinGecko; ``aggregators``: addresses of Chainlink's contracts that answer in dollars."""

    decimals: Mapping[Asset, int] = field(default_factory=dict)
    prices: Mapping[tuple[Asset, Currency], Pinned] = field(default_factory=dict)
    coins: Mapping[Asset, str] = field(default_factory=dict)
    aggregators: Mapping[Asset, str] = field(default_factory=dict)

    def decimals_of(self, asset: Asset) -> int | None:
        """How many digits an asset has behind the point, if that is known."""
        found = self.decimals.get(asset)
        if found is None and asset == assets.native(asset.network):
            return NATIVE_DECIMALS.get(asset.network)
        return found


def read_table(value: Any) -> PriceTable:
    """A table out of what the YAML of it holds; raises ``BadTable``."""
    if value is None:
        return PriceTable()
    if not isinstance(value, dict):
        raise BadTable("expected assets, each as network/tid with its members")
    decimals: dict[Asset, int] = {}
    prices: dict[tuple[Asset, Currency], Pinned] = {}
    coins: dict[Asset, str] = {}
    aggregators: dict[Asset, str] = {}
    for name, members in value.items():
        asset = read_asset(name)
        if not isinstance(members, dict) or not members.keys() <= _MEMBERS:
            raise BadTable(f"{name}: expected some of {', '.join(sorted(_MEMBERS))}")
        at = _at(name, members)
        for currency in _CURRENCIES:
            if currency in members:
                prices[asset, currency] = Pinned(_price(f"{name} {currency}", members[currency]), at)
        if "decimals" in members:
            decimals[asset] = _decimals(name, asset, members["decimals"])
        if "coingecko" in members:
            coin = members["coingecko"]
            if not isinstance(coin, str) or not _COIN.fullmatch(coin):
                raise BadTable(f"{name} coingecko: expected the id of a coin, such as ethereum")
            coins[asset] = coin
        if "chainlink" in members:
            aggregator = members["chainlink"]
            if not isinstance(aggregator, str) or not is_evm_address(aggregator):
                raise BadTable(f"{name} chainlink: expected the address of an aggregator, 0x and 40 hex digits")
            aggregators[asset] = aggregator
    return PriceTable(decimals, prices, coins, aggregators)


def read_asset(name: str) -> Asset:
    """An asset as ``network/tid``, in its canonical spelling; raises ``BadTable`` for any other."""
    network, _, tid = name.partition("/")
    if network not in KNOWN_NETWORKS:
        raise BadTable(f"{name}: {network} is no network that is known")
    asset = assets.of_tid(network, tid)
    if asset is None:
        raise BadTable(f"{name}: {tid} is no asset as {network} spells it, such as {assets.native(network).tid}")
    return asset


def _at(name: str, members: Mapping[str, Any]) -> int | None:
    if "at" not in members:
        return None
    try:
        return from_iso(members["at"])
    except (ValueError, TypeError, AttributeError):
        raise BadTable(f"{name} at: expected a date such as 2026-03-01T12:00:00.000Z") from None


def _price(name: str, value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or value <= 0:
        raise BadTable(f"{name}: expected a decimal number above 0")
    return Decimal(value)


def _decimals(name: str, asset: Asset, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST_DECIMALS:
        raise BadTable(f"{name} decimals: expected a whole number from 0 to {_MOST_DECIMALS}")
    known = NATIVE_DECIMALS.get(asset.network) if asset == assets.native(asset.network) else None
    if known is not None and value != known:
        raise BadTable(f"{name} decimals: the native asset of {asset.network} has {known}")
    return value
