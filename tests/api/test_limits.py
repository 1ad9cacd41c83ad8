"""How many requests pass, and when the next one does."""

from __future__ import annotations

from countersign.api.limits import TokenBuckets


def test_a_burst_of_the_size_of_a_minute_passes_then_one_by_one() -> None:
    buckets = TokenBuckets(60)
    assert [buckets.take("a", 0) for _ in range(61)] == [None] * 60 + [1]
    assert buckets.take("a", 999) == 1
    assert buckets.take("a", 1_000) is None
    assert buckets.take("a", 1_000) == 1


def test_keys_do_not_share_a_bucket() -> None:
    buckets = TokenBuckets(1)
    assert [buckets.take(key, 0) for key in ("a", "b", "a", "b")] == [None, None, 60, 60]


def test_being_refused_costs_nothing() -> None:
    buckets = TokenBuckets(1)
    buckets.take("a", 0)
    assert [buckets.take("a", now) for now in (15_000, 30_000, 45_000, 60_000)] == [45, 30, 15, None]


def test_no_more_than_a_minutes_worth_is_saved_up() -> None:
    buckets = TokenBuckets(2)
    assert [buckets.take("a", 10**9) for _ in range(3)] == [None, None, 30]


def test_a_clock_that_steps_back_gives_nothing_and_takes_nothing() -> None:
    buckets = TokenBuckets(2)
    buckets.take("a", 100_000)
    assert buckets.take("a", 0) is None
    assert buckets.take("a", 0) == 30


def test_memory_is_bounded_and_the_longest_unused_key_is_forgotten_first() -> None:
    buckets = TokenBuckets(1, most_keys=2)
    for key in ("a", "b", "a", "c"):
        buckets.take(key, 0)
    assert buckets.take("a", 0) == 60
    assert buckets.take("c", 0) == 60
    assert buckets.take("b", 0) is None
