"""What becomes of jobs, as functions of values."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from countersign.jobs.plan import MOST_LOST, Bounds, RetryPlan, choose, given_up

MINUTE = 60_000
PLAN = RetryPlan((MINUTE, 12 * MINUTE, 120 * MINUTE, 1440 * MINUTE))


def test_attempts_are_due_at_their_offsets_from_the_first() -> None:
    now, due = 0, [0]
    for failed in range(1, 5):
        at = PLAN.next_at(failed, now, 0.0)
        assert at is not None
        due.append(at)
        now = at
    assert due == [0, MINUTE, 12 * MINUTE, 120 * MINUTE, 1440 * MINUTE]
    assert PLAN.next_at(5, now, 0.0) is None
    assert PLAN.attempts == 5


def test_a_job_without_a_plan_is_tried_once() -> None:
    assert RetryPlan().next_at(1, 0, 0.5) is None


@given(st.integers(1, 4), st.floats(0, 1, exclude_max=True))
def test_jitter_lengthens_a_wait_by_a_tenth_at_most(failed: int, chance: float) -> None:
    least, at = PLAN.next_at(failed, 1000, 0.0), PLAN.next_at(failed, 1000, chance)
    assert least is not None
    assert at is not None
    assert least <= at <= least + (least - 1000) * 0.1


def test_a_full_lane_leaves_room_to_the_others() -> None:
    bounds = Bounds(10, (3, 2))
    due = [("slow.test one", 20), ("quick.test two", 1)]
    assert choose(due, {}, 10, bounds) == {"slow.test one": 2, "quick.test two": 1}


def test_lanes_that_share_a_word_share_its_bound() -> None:
    bounds = Bounds(10, (3, 2))
    due = [("slow.test one", 2), ("slow.test two", 2)]
    assert choose(due, {}, 10, bounds) == {"slow.test one": 2, "slow.test two": 1}


def test_what_runs_counts() -> None:
    assert choose([("a x", 1), ("b y", 1)], {(0, "a"): 3}, 10, Bounds(10, (3, 2))) == {"b y": 1}
    assert choose([("", 3)], {}, 2, Bounds(10)) == {"": 2}


@given(st.dictionaries(st.sampled_from(["a x", "a y", "b x", "b z", ""]), st.integers(1, 9)), st.integers(0, 8))
def test_no_bound_is_ever_exceeded(due: dict[str, int], free: int) -> None:
    taken = choose(due.items(), {}, free, Bounds(8, (3, 2)))
    assert sum(taken.values()) <= free
    for place, most in enumerate((3, 2)):
        for word in {lane.split()[place] for lane in taken if lane}:
            assert sum(number for lane, number in taken.items() if lane and lane.split()[place] == word) <= most


def test_a_job_that_kills_its_workers_is_given_up() -> None:
    assert given_up(MOST_LOST - 1) is None
    assert given_up(MOST_LOST) == "10 workers were lost while they ran it"
