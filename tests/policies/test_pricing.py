"""Prices over HTTP, from a service in a process of its own: exact, fresh, or none, with the reason."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from countersign.policies.assets import Asset, native
from countersign.policies.facts import NeededFacts
from countersign.policies.prices import Priced, Unpriced, choose
from countersign.policies.pricing import Pricing
from countersign.server.prices import pricing
from countersign.server.settings import BadSettings
from countersign.server.settings_reading import load
from countersign.world import World
from tests.jobs.support import Clock
from tests.policies.house import House, open_house
from tests.policies.price_service import PriceService, price_service
from tests.support.inprocess import InProcess

ETH = native("Ethereum")
TOKEN = Asset("Base", "erc20:0x" + "ab" * 20)
NOW = 1_800_000_000_000


@pytest.fixture(scope="module")
def running_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PriceService]:
    with price_service(tmp_path_factory.mktemp("prices") / "service") as running:
        yield running


@pytest.fixture
def service(running_service: PriceService) -> PriceService:
    """The same process for all tests, as if it had just been started."""
    running_service.forget()
    return running_service


class Sources:
    """A server's sources: its table, then the service; and a clock."""

    def __init__(self, directory: Path, service: PriceService, table: str = "", **members: Any) -> None:
        self.file = directory / "prices.yaml"
        self.file.write_text(table)
        key = directory / "key"
        key.write_text("s3cret\n")
        self.clock = Clock(NOW)
        source = {"kind": "coingecko", "url": service.url, "key_file": str(key)}
        values = {
            "outgoing_allowed_networks": ["127.0.0.0/8"],
            "price_table": str(self.file),
            "price_sources": [{"kind": "pinned"}, source],
            **members,
        }
        self.pricing: Pricing = pricing(load(None, {}, values), World(clock=self.clock))

    async def price(self, asset: Asset = ETH, currency: Any = "USD") -> Priced | Unpriced:
        """What rules make of it."""
        facts = await self.pricing.facts(NeededFacts(frozenset({(asset, currency)}), frozenset({asset})))
        return choose(facts.quotes[asset, currency], facts.price_rules, self.clock.now)


def ether(price: str, age: int = 0, coin: str = "ethereum") -> str:
    return f'{{"{coin}": {{"usd": {price}, "eur": 1.5, "last_updated_at": {NOW // 1000 - age}}}}}'


async def test_a_price_is_the_number_that_was_written_to_its_last_digit(tmp_path: Path, service: PriceService) -> None:
    sources = Sources(tmp_path, service)
    service.says(ether("2500.100000000000000000000000000001"))
    assert await sources.price() == Priced(Decimal("2500.100000000000000000000000000001"), "coingecko")
    assert await sources.price(currency="EUR") == Priced(Decimal("1.5"), "coingecko")
    (asked,) = service.asked
    assert asked == (
        "/api/v3/simple/price?ids=ethereum&vs_currencies=usd%2Ceur&include_last_updated_at=true&precision=full s3cret"
    )
    await sources.pricing.close()


async def test_a_token_is_asked_for_by_its_exact_address(tmp_path: Path, service: PriceService) -> None:
    sources = Sources(tmp_path, service, "Celo/native:celo: {coingecko: celo}")
    service.says(ether("1e-7", coin=TOKEN.tid.partition(":")[2]))
    assert await sources.price(TOKEN) == Priced(Decimal("1e-7"), "coingecko")
    assert f"/simple/token_price/base?contract_addresses=0x{'ab' * 20}&" in service.asked[0]
    # Of another network, the same address is another asset.
    unlisted = await sources.price(Asset("BaseSepolia", TOKEN.tid))
    assert isinstance(unlisted, Unpriced)
    assert "coingecko: it does not list the asset" in unlisted.reason
    service.says(ether("0.5", coin="celo"))
    assert await sources.price(native("Celo")) == Priced(Decimal("0.5"), "coingecko")
    assert len(service.asked) == 2
    await sources.pricing.close()


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (ether("2500", age=601), 200, "no price is younger than 600 seconds (coingecko: 601 seconds old)"),
        (ether("2500", age=-601), 200, "(coingecko: 601 seconds ahead)"),
        (ether("2500"), 429, "coingecko: it answered 429"),
        ("{}", 200, "coingecko: it knows no price"),
        ("[]", 200, "coingecko: its answer can't be read"),
        ("<html>", 200, "coingecko: its answer can't be read"),
        (ether("2500").replace("last_updated_at", "at"), 200, "coingecko: its price has no date"),
        (ether('"2500"'), 200, "coingecko: its price is no number"),
        (ether("0"), 200, "no positive number"),
        (ether("-5"), 200, "no positive number"),
        (ether("1" * 65), 200, "no positive number"),
        (ether("2500") + " " * 20_000, 200, None),
        (" " * 20_000 + ether("2500"), 200, "coingecko: its answer can't be read"),
    ],
)
async def test_what_is_no_fresh_price_is_none_and_says_why(
    tmp_path: Path, service: PriceService, body: str, status: int, said: str | None
) -> None:
    sources = Sources(tmp_path, service)
    service.says(body, status)
    found = await sources.price()
    if said is None:
        assert isinstance(found, Priced)
    else:
        assert isinstance(found, Unpriced)
        assert said in found.reason
    await sources.pricing.close()


async def test_a_service_that_hangs_or_is_gone_holds_nobody_up(tmp_path: Path, service: PriceService) -> None:
    sources = Sources(tmp_path, service, price_timeout_milliseconds=100)
    service.hold()
    slow = await sources.price()
    assert isinstance(slow, Unpriced)
    assert "coingecko: not reached, ETIMEDOUT" in slow.reason
    await sources.pricing.close()
    # Without the allowance, loopback is no place to go to.
    closed = Sources(tmp_path, service, outgoing_allowed_networks=[])
    blocked = await closed.price()
    assert isinstance(blocked, Unpriced)
    assert "BLOCKED_ADDRESS" in blocked.reason
    await closed.pricing.close()


FEED = "0x5f4ec3df9cbd43714fe2740f5e3616155c5b8419"
ROUND, DIGITS = "0xfeaf968c", "0x313ce567"


async def test_an_aggregator_contract_is_read_through_a_node(tmp_path: Path, service: PriceService) -> None:
    table = f"Ethereum/native:eth: {{chainlink: '{FEED}'}}"
    sources = Sources(tmp_path, service, table, price_sources=[{"kind": "chainlink", "url": service.url}])
    seconds = NOW // 1000
    service.calls(DIGITS, 8)
    service.calls(ROUND, 7, 250_010_000_001, seconds, seconds, 7)
    assert await sources.price() == Priced(Decimal("2500.10000001"), "chainlink")
    assert sorted(service.asked) == [f"{FEED} {DIGITS}", f"{FEED} {ROUND}"]
    euro = await sources.price(currency="EUR")
    assert isinstance(euro, Unpriced)
    assert "chainlink: it knows dollars only" in euro.reason
    for words, said in (
        ((7, 1, seconds, seconds - 3600, 7), "no price is younger than 600 seconds"),
        ((7, -1, seconds, seconds, 7), "its price is no positive number"),
        ((7, 0, seconds, seconds, 7), "no positive number"),
        ((7, 1, seconds, seconds, 6), "its round has no answer yet"),
        ((7, 1, seconds, 0, 7), "its round has no answer yet"),
        ((7, 1), "its answer can't be read"),
    ):
        sources.clock.now += 16_000
        service.calls(ROUND, *words)
        found = await sources.price()
        assert isinstance(found, Unpriced)
        assert said in found.reason
    sources.clock.now += 16_000
    service.fails(ROUND)
    failed = await sources.price()
    assert isinstance(failed, Unpriced)
    assert "its answer can't be read" in failed.reason
    unnamed = await sources.price(native("Base"))
    assert isinstance(unnamed, Unpriced)
    assert "chainlink: no aggregator is named for the asset" in unnamed.reason
    await sources.pricing.close()


async def test_sources_stand_in_their_order_and_the_next_one_may_contradict(
    tmp_path: Path, service: PriceService
) -> None:
    sources = Sources(tmp_path, service, "Ethereum/native:eth: {USD: 2500}")
    service.says(ether("2600"))
    assert await sources.price() == Priced(Decimal(2500), "pinned")
    sources.clock.now += 16_000
    service.says(ether("2625.01"))
    assert await sources.price() == Unpriced("pinned and coingecko differ by more than 5%")
    # The table is read again when it changes; a price with a date ages.
    sources.file.write_text("Ethereum/native:eth: {USD: 100, at: 2026-01-01T00:00:00.000Z}")
    assert await sources.price() == Priced(Decimal("2625.01"), "coingecko")
    await sources.pricing.close()
    alone = Sources(tmp_path, service, "Ethereum/native:eth: {USD: 1}", price_max_deviation_percent=0)
    assert await alone.price() == Priced(Decimal(1), "pinned")
    await alone.pricing.close()


async def test_a_table_that_is_broken_later_counts_for_nothing_until_it_is_mended(
    tmp_path: Path, service: PriceService
) -> None:
    table = "Ethereum/native:eth: {USD: 2500}"
    sources = Sources(tmp_path, service, table, price_sources=[])
    assert await sources.price() == Priced(Decimal(2500), "pinned")
    sources.file.write_text(f"{table}\n{table}")
    for _ in range(2):
        broken = await sources.price()
        assert isinstance(broken, Unpriced)
        assert "pinned: its file is broken" in broken.reason
    sources.file.write_text(table)
    os.utime(sources.file, (0, 0))
    assert await sources.price() == Priced(Decimal(2500), "pinned")
    sources.file.unlink()
    assert isinstance(await sources.price(), Unpriced)
    await sources.pricing.close()


async def test_several_who_ask_at_once_cause_one_request(tmp_path: Path, service: PriceService) -> None:
    sources = Sources(tmp_path, service)
    service.says(ether("2500"))
    assert set(await asyncio.gather(*(sources.price() for _ in range(20)))) == {Priced(Decimal(2500), "coingecko")}
    assert len(service.asked) == 1
    # An answer that is kept ages nonetheless.
    sources.clock.now += 14_999
    service.says(ether("2500", age=700))
    assert isinstance(await sources.price(), Priced)
    sources.clock.now += 1
    assert isinstance(await sources.price(), Unpriced)
    await sources.pricing.close()


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"price_table": "/nowhere/prices.yaml"}, "price_table /nowhere/prices.yaml: No such file"),
        ({"price_sources": [{"kind": "coingecko", "key_file": "/nowhere/key"}]}, "key_file /nowhere/key"),
        ({"price_sources": [{"kind": "coingecko", "url": "http://prices.test/api"}]}, "url is https"),
        ({"price_sources": [{"kind": "coingecko", "url": "https://prices.test/api/"}]}, "url is a base"),
        ({"price_sources": [{"kind": "pinned"}, {"kind": "pinned"}]}, "same name"),
        ({"price_sources": [{"kind": "dice"}]}, "price_sources"),
        ({"price_sources": [{"kind": "chainlink"}]}, "url is the JSON-RPC of a node"),
    ],
)
def test_settings_that_lead_nowhere_are_refused_at_the_start(members: dict[str, Any], said: str) -> None:
    with pytest.raises(BadSettings, match=said):
        pricing(load(None, {}, members), World())


def test_a_limit_in_money_is_simulated_with_the_price_of_the_moment_and_holds_without_one(
    runner: asyncio.Runner, tmp_path: Path, service: PriceService
) -> None:
    database = f"sqlite://{tmp_path}/data/countersign.db"
    sources = [{"kind": "coingecko", "url": service.url}]
    with (
        InProcess(runner, tmp_path / "data", database, background=False, price_sources=sources) as server,
        open_house(server, tmp_path / "data", database) as house,
    ):
        updated = server.clock() // 1000
        service.says({"ethereum": {"usd": 2000.5, "last_updated_at": updated}})
        rule = {"kind": "TransactionAmountLimit", "configuration": {"limit": 1000, "currency": "USD"}}
        house.policy({"kind": "Block"}, rule=rule)
        cleared, blocked = _transfer(house, "499875031242189452"), _transfer(house, "500000000000000000")
        assert (cleared["outcome"], blocked["outcome"]) == ("Cleared", "Blocked")
        assert blocked["policies"][0]["reason"] == "the value of 1000.25 USD is above the limit of 1000"
        server.clock.move(seconds=700)
        stale = _transfer(house, "1")
        assert stale["outcome"] == "Blocked"
        assert stale["policies"][0]["reason"].startswith(
            "the value is not known: the price of Ethereum/native:eth in USD is not known: "
            "no price is younger than 600 seconds (coingecko: 7"
        )


def _transfer(house: House, amount: str) -> dict[str, Any]:
    body = {"kind": "Native", "to": "0x" + "ab" * 20, "amount": amount}
    activity = {"kind": "Wallets:Sign", "walletId": "wa-1", "network": "Ethereum", "api": "transfer", "body": body}
    answer = house.ada.caller.send("POST", "/policies/simulate", {"activity": activity})
    assert answer.status_code == 200, answer.text
    simulated: dict[str, Any] = answer.json()
    return simulated
