"""Rate limits: who is counted with whom, and how long they are told to wait."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from countersign.access.limits import RateLimits, Rates
from countersign.api import ApiError
from countersign.world import World

RATES = Rates(organisation=4, address=3, public=2, username=2, code=2, codes_an_hour=5)


class Clock:
    now = 1_790_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limits(clock: Clock) -> RateLimits:
    return RateLimits(RATES, World(clock=clock))


def admitted(take: Callable[[], None], tries: int = 20) -> int:
    """How many of so many tries are admitted."""
    refused = [error for _ in range(tries) if (error := refusal(take)) is not None]
    assert {(error.code, error.status) for error in refused} == {("RATE_LIMITED", 429)}
    assert all(int(error.headers["Retry-After"]) >= 1 for error in refused)
    return tries - len(refused)


def refusal(take: Callable[[], None]) -> ApiError | None:
    try:
        take()
    except ApiError as error:
        return error
    return None


def test_an_organisation_is_counted_wherever_it_calls_from(limits: RateLimits) -> None:
    addresses = iter(range(100))
    assert admitted(lambda: limits.admit("or-1", str(next(addresses)))) == RATES.organisation
    assert admitted(lambda: limits.admit("or-2", "a")) == RATES.organisation


def test_addresses_of_one_network_are_counted_together(limits: RateLimits) -> None:
    """Whoever has one IPv6 address has 2^64 of them, and must not have as many tries of a code."""
    numbers = iter(range(1000))
    assert admitted(lambda: limits.admit(None, f"2001:db8::{next(numbers):x}")) == RATES.address
    assert admitted(lambda: limits.public(f"2001:db8::1:{next(numbers):x}")) == RATES.public
    assert admitted(lambda: limits.code(f"2001:db8:0:0:{next(numbers):x}::")) == RATES.code
    limits.admit(None, "2001:db8:0:1::1")
    limits.admit(None, "fe80::1%eth0")
    assert admitted(lambda: limits.admit(None, "::ffff:192.0.2.1")) == RATES.address
    assert isinstance(refusal(lambda: limits.admit(None, "192.0.2.1")), ApiError)


def test_strangers_are_counted_by_address_and_not_with_an_organisation(limits: RateLimits) -> None:
    assert admitted(lambda: limits.admit(None, "a")) == RATES.address
    assert admitted(lambda: limits.admit(None, "b")) == RATES.address
    limits.admit("or-1", "a")


def test_a_user_is_counted_in_one_organisation_and_for_who_asks_alone(limits: RateLimits) -> None:
    assert admitted(lambda: limits.username("or-1", "ada", "198.51.100.1")) == RATES.username
    assert admitted(lambda: limits.username("or-1", "bob", "198.51.100.1")) == RATES.username
    assert admitted(lambda: limits.username("or-2", "ada", "198.51.100.1")) == RATES.username
    # Whoever keeps asking about somebody does not keep that person out.
    assert admitted(lambda: limits.username("or-1", "ada", "198.51.100.2")) == RATES.username


def test_public_operations_have_a_count_of_their_own(limits: RateLimits) -> None:
    assert admitted(lambda: limits.public("a")) == RATES.public
    limits.admit(None, "a")


def test_tries_of_codes_are_counted_by_address_and_all_together(limits: RateLimits) -> None:
    assert admitted(lambda: limits.code("a")) == RATES.code
    addresses = iter(range(100))
    assert admitted(lambda: limits.code(str(next(addresses)))) == RATES.codes_an_hour - RATES.code


def test_tries_of_mailed_codes_are_counted_by_address_alone(limits: RateLimits) -> None:
    for address in range(100):
        assert admitted(lambda address=address: limits.mailed_code(str(address))) == RATES.code


def test_after_the_seconds_that_were_named_the_request_is_admitted(limits: RateLimits, clock: Clock) -> None:
    assert admitted(lambda: limits.public("a")) == RATES.public
    with pytest.raises(ApiError) as refused:
        limits.public("a")
    clock.now += int(refused.value.headers["Retry-After"]) * 1000
    limits.public("a")


def test_a_clock_that_goes_back_gives_nothing_away(limits: RateLimits, clock: Clock) -> None:
    assert admitted(lambda: limits.public("a")) == RATES.public
    clock.now -= 3_600_000
    assert admitted(lambda: limits.public("a")) == 0
