"""``countersign policy prices``: what the sources say."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.commands import countersign


def test_the_price_that_would_count_is_printed_with_what_each_source_said(tmp_path: Path) -> None:
    table = tmp_path / "prices.yaml"
    table.write_text("EthereumSepolia/native:eth: {USD: 2500.10, EUR: 1}\n")
    sources = json.dumps([{"kind": "coingecko", "url": "https://127.0.0.1:1/api"}, {"kind": "pinned"}])
    env = {"COUNTERSIGN_PRICE_TABLE": str(table), "COUNTERSIGN_PRICE_SOURCES": sources}
    sepolia = "EthereumSepolia/native:eth"
    done = countersign("policy", "prices", sepolia, env=env)
    assert (done.status, "USD  2500.10 from pinned" in done.output) == (0, True)
    done = countersign("policy", "prices", sepolia, "Ethereum/native:eth", "--json", env=env)
    assert done.status == 1
    first, second = json.loads(done.output)
    assert (first["decimals"], first["EUR"]["price"], first["EUR"]["source"]) == (18, "1", "pinned")
    assert second["USD"]["sources"] == [
        {"source": "coingecko", "fault": "not reached, BLOCKED_ADDRESS"},
        {"source": "pinned", "fault": "none"},
    ]
    assert "BLOCKED_ADDRESS" in second["USD"]["reason"]


def test_an_asset_is_named_exactly(tmp_path: Path) -> None:
    done = countersign("policy", "prices", "Ethereum/ETH")
    assert (done.status, "such as native:eth" in done.errors) == (1, True)
