"""Identifiers: time first, then chance."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.encoding.identifiers import is_identifier
from countersign.world import World, encode_id


def test_identifiers_have_the_published_shape() -> None:
    world = World()
    for prefix in ("us", "key", "sig"):
        assert is_identifier(world.new_id(prefix), prefix)
    assert encode_id("us", 0) == "us-00000-00000-0000000000000000"
    assert encode_id("us", (1 << 130) - 1) == "us-vvvvv-vvvvv-vvvvvvvvvvvvvvvv"


def test_clock_and_chance_are_those_passed_in() -> None:
    world = World(clock=lambda: 1_790_000_000_000, randomness=lambda size: bytes(range(size)))
    assert world.now() == 1_790_000_000_000
    assert world.new_id("us") == "us-06gc8-k3c00-041061050o3gg28a"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, (1 << 48) - 1), min_size=2, max_size=10, unique=True))
def test_later_identifiers_sort_after_earlier_ones(times: list[int]) -> None:
    made = [World(clock=lambda moment=moment: moment).new_id("us") for moment in sorted(times)]
    assert all(earlier < later for earlier, later in pairwise(made))


def test_identifiers_of_one_moment_differ() -> None:
    world = World(clock=lambda: 1)
    assert len({world.new_id("us") for _ in range(1000)}) == 1000


@settings(max_examples=100, deadline=None)
@given(st.integers(0, (1 << 48) - 1))
def test_drawn_in_bulk_or_passed_in_chance_fills_the_same_places(moment: int) -> None:
    drawn = World(clock=lambda: moment).new_id("us")
    lowest = World(clock=lambda: moment, randomness=bytes).new_id("us")
    highest = World(clock=lambda: moment, randomness=lambda size: b"\xff" * size).new_id("us")
    assert lowest <= drawn <= highest
    assert is_identifier(drawn, "us")


def test_every_digit_of_chance_takes_every_value() -> None:
    made = [World(clock=lambda: 1).new_id("us")[-16:] for _ in range(1000)]
    assert all(len({each[place] for each in made}) == 32 for place in range(16))
