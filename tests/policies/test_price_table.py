from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from countersign.encoding import strictyaml
from countersign.encoding.dates import from_iso
from countersign.policies.assets import Asset, native
from countersign.policies.networks import KNOWN_NETWORKS, NATIVE_DECIMALS
from countersign.policies.price_table import BadTable, Pinned, read_table

USDC = "Ethereum/erc20:0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"


def read(text: str) -> Any:
    return read_table(strictyaml.parse(text))


def test_a_table_holds_exact_prices_decimals_and_ids_by_asset() -> None:
    table = read(f"""
Ethereum/native:eth: {{USD: 2500.10, EUR: 2300}}
{USDC}: {{decimals: 6, USD: 0.9998, at: 2026-03-01T12:00:00.000Z}}
Celo/native:celo: {{coingecko: celo}}
""")
    usdc = Asset("Ethereum", USDC.partition("/")[2])
    assert table.prices[native("Ethereum"), "USD"] == Pinned(Decimal("2500.10"), None)
    assert table.prices[native("Ethereum"), "EUR"].price == 2300
    assert table.prices[usdc, "USD"] == Pinned(Decimal("0.9998"), from_iso("2026-03-01T12:00:00.000Z"))
    assert (native("Base"), "USD") not in table.prices
    assert table.coins == {native("Celo"): "celo"}
    # What a network itself says needs no entry; what a token is, nobody guesses.
    assert (table.decimals_of(usdc), table.decimals_of(native("Solana"))) == (6, 9)
    assert table.decimals_of(Asset("Base", "erc20:0x" + "00" * 20)) is None


def test_an_empty_file_is_an_empty_table() -> None:
    assert read("# nothing yet\n").prices == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a", "expected assets"),
        ("Nowhere/native:eth: {USD: 1}", "no network"),
        ("Ethereum/native:btc: {USD: 1}", "such as native:eth"),
        ("Ethereum/ETH: {USD: 1}", "no asset"),
        (f"{USDC.upper().replace('ETHEREUM', 'Ethereum')}: {{USD: 1}}", "no asset"),
        ("Ethereum/native:eth: 5", "expected some of"),
        ("Ethereum/native:eth: {GBP: 5}", "expected some of"),
        ("Ethereum/native:eth: {USD: 0}", "above 0"),
        ("Ethereum/native:eth: {USD: -1}", "above 0"),
        ('Ethereum/native:eth: {USD: "5"}', "above 0"),
        ("Ethereum/native:eth: {USD: true}", "above 0"),
        ("Ethereum/native:eth: {decimals: 6}", "has 18"),
        (f"{USDC}: {{decimals: 6.5}}", "whole number"),
        (f"{USDC}: {{decimals: 78}}", "whole number"),
        ("Ethereum/native:eth: {at: yesterday}", "date"),
        ("Ethereum/native:eth: {at: 5}", "date"),
        ("Ethereum/native:eth: {coingecko: 'a&b=c'}", "id of a coin"),
        ("Ethereum/native:eth: {chainlink: eth-usd.data.eth}", "address of an aggregator"),
    ],
)
def test_a_table_with_a_mistake_counts_for_nothing(text: str, said: str) -> None:
    with pytest.raises(BadTable, match=said):
        read(text)


def test_decimals_of_native_assets_are_of_networks_that_exist() -> None:
    assert set(NATIVE_DECIMALS) <= KNOWN_NETWORKS
    assert {network: NATIVE_DECIMALS[network] for network in ("Base", "Bitcoin", "Near", "XrpLedger")} == {
        "Base": 18,
        "Bitcoin": 8,
        "Near": 24,
        "XrpLedger": 6,
    }
