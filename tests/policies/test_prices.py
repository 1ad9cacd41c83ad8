from __future__ import annotations

from decimal import Decimal

import pytest

from countersign.policies.prices import Priced, PriceRules, Quote, Unpriced, choose, total, value

NOW = 1_700_000_000_000
RULES = PriceRules()


def quote(price: str | None, source: str = "first", age: int | None = 0) -> Quote:
    return Quote(source, None if price is None else Decimal(price), None if age is None else NOW - age)


def test_first_fresh_answer_wins() -> None:
    assert choose([quote(None), quote("10", "second"), quote("10.1", "third")], RULES, NOW) == Priced(
        Decimal(10), "second"
    )
    assert choose([quote("10", age=600_001), quote("11", "second")], RULES, NOW) == Priced(Decimal(11), "second")


@pytest.mark.parametrize("age", [600_001, -600_001, 10**12])
def test_stale_price_is_no_price(age: int) -> None:
    assert isinstance(choose([quote("10", age=age)], RULES, NOW), Unpriced)


@pytest.mark.parametrize("age", [600_000, 0, None])
def test_price_within_its_age_or_pinned_is_used(age: int | None) -> None:
    assert choose([quote("10", age=age)], RULES, NOW) == Priced(Decimal(10), "first")


def test_no_answer_is_no_price() -> None:
    assert isinstance(choose([], RULES, NOW), Unpriced)
    assert isinstance(choose([quote(None), quote(None)], RULES, NOW), Unpriced)


def test_threat_61_sources_that_differ_by_more_than_the_deviation_leave_the_price_unknown() -> None:
    assert choose([quote("100"), quote("105", "second")], RULES, NOW) == Priced(Decimal(100), "first")
    assert isinstance(choose([quote("100"), quote("105.01", "second")], RULES, NOW), Unpriced)
    assert isinstance(choose([quote("105.01"), quote("100", "second")], RULES, NOW), Unpriced)
    alone = PriceRules(cross_check=False)
    assert choose([quote("100"), quote("105.01", "second")], alone, NOW) == Priced(Decimal(100), "first")


@pytest.mark.parametrize("price", ["0", "-1", "NaN", "Infinity", "1" * 65, "1e5000", "1e-5000"])
def test_price_that_is_no_sane_number_leaves_the_price_unknown(price: str) -> None:
    assert isinstance(choose([quote(price)], RULES, NOW), Unpriced)
    assert isinstance(choose([quote("10"), quote(price, "second")], RULES, NOW), Unpriced)


def test_value_is_exact_for_the_largest_amounts_and_smallest_prices() -> None:
    assert value(2**256 - 1, 18, Decimal("0.000000000000000001")) == Decimal(f"{2**256 - 1}e-36")
    assert value(3_000_000, 6, Decimal("0.1")) == Decimal("0.3")
    assert value(1, 256, Decimal(1)) is None
    assert value(1, -1, Decimal(1)) is None
    assert value(1, 0, Decimal("Infinity")) is None


def test_sum_is_exact_or_nothing() -> None:
    assert total([Decimal("0.1")] * 3) == Decimal("0.3")
    assert total([Decimal("1e1500"), Decimal("1e-1500")]) is None
