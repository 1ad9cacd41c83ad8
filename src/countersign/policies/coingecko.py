"""What CoinGecko is asked for a price, and what its answer says: values in, values out.

``GET /simple/price`` for what has an id there, ``GET /simple/token_price/{platform}`` for tokens of EVM networks, by
their exact address. A price without the time when it was last updated is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import msgspec

from countersign.policies import assets
from countersign.policies.assets import Asset
from countersign.policies.prices import Quote
from countersign.policies.types import Currency

#: An answer about one asset is some hundred bytes long.
MOST_BYTES = 16_384

#: Ids of native assets that trade; what is missing here is named in the operator's table.
_COINS = {
    "Algorand": "algorand",
    "Aptos": "aptos",
    "ArbitrumOne": "ethereum",
    "AvalancheC": "avalanche-2",
    "Base": "ethereum",
    "Bitcoin": "bitcoin",
    "BitcoinCash": "bitcoin-cash",
    "Bsc": "binancecoin",
    "Cardano": "cardano",
    "CosmosHub4": "cosmos",
    "Dogecoin": "dogecoin",
    "Ethereum": "ethereum",
    "EthereumClassic": "ethereum-classic",
    "Hedera": "hedera-hashgraph",
    "InternetComputer": "internet-computer",
    "Kusama": "kusama",
    "Litecoin": "litecoin",
    "Near": "near",
    "Optimism": "ethereum",
    "Polkadot": "polkadot",
    "Polygon": "polygon-ecosystem-token",
    "Solana": "solana",
    "Stellar": "stellar",
    "Sui": "sui",
    "Tezos": "tezos",
    "Ton": "the-open-network",
    "Tron": "tron",
    "XrpLedger": "ripple",
}
_PLATFORMS = {
    "ArbitrumOne": "arbitrum-one",
    "AvalancheC": "avalanche",
    "Base": "base",
    "Bsc": "binance-smart-chain",
    "Celo": "celo",
    "Ethereum": "ethereum",
    "Optimism": "optimistic-ethereum",
    "Polygon": "polygon-pos",
}


def question(asset: Asset, coins: Mapping[Asset, str]) -> tuple[str, str] | None:
    """Path with query behind the base URL, and the member of the answer; None for what has no price there.

    ``coins``: ids that the operator names, before the known ones.
    """
    options = {"vs_currencies": "usd,eur", "include_last_updated_at": "true", "precision": "full"}
    coin = coins.get(asset)
    if coin is None and asset == assets.native(asset.network):
        coin = _COINS.get(asset.network)
    if coin is not None:
        return f"/simple/price?{urlencode({'ids': coin, **options})}", coin
    standard, _, address = asset.tid.partition(":")
    platform = _PLATFORMS.get(asset.network)
    if standard != "erc20" or platform is None:
        return None
    return f"/simple/token_price/{platform}?{urlencode({'contract_addresses': address, **options})}", address


_decode = msgspec.json.Decoder(dict[str, dict[str, Any]], float_hook=Decimal).decode


def answer(source: str, body: bytes, member: str, currency: Currency) -> Quote:
    """The price in the body of an answer, exactly as it was written; ``fault`` says what else it was."""
    try:
        found = _decode(body).get(member)
    except (msgspec.MsgspecError, ValueError, ArithmeticError):
        return Quote(source, None, None, "its answer can't be read")
    price = None if found is None else found.get(currency.lower())
    if found is None or price is None:
        return Quote(source, None, None, "it knows no price")
    at = found.get("last_updated_at")
    if isinstance(at, bool) or not isinstance(at, int) or not 0 < at < 1 << 40:
        return Quote(source, None, None, "its price has no date")
    if isinstance(price, bool) or not isinstance(price, int | Decimal):
        return Quote(source, None, None, "its price is no number")
    return Quote(source, Decimal(price), at * 1000)
