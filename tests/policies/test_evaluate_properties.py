"""What holds for every set of policies: more of them never let more through, and their order is of no account."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.policies import trial
from countersign.policies.evaluate import Blocked, Cleared, Outcome, PendingApproval, evaluate, needed_facts
from countersign.policies.facts import Facts
from countersign.policies.scenario import read_scenario
from countersign.policies.validate import Invalid, read
from tests.policies import generated

STRICTNESS = {"Cleared": 0, "PendingApproval": 1, "Blocked": 2}
EXAMPLES = settings(max_examples=60, deadline=None)

chance = st.randoms(use_true_random=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def outcome_of(case: dict[str, Any]) -> Outcome:
    case = {**case, "decisions": [], "expect": {"outcome": "Cleared"}}
    scenario = read_scenario({"cases": [case]})
    prepared = trial.prepare(scenario.cases[0], scenario)
    return evaluate(prepared.activity, prepared.policies, prepared.facts)


def strictness(outcome: Outcome) -> int:
    return STRICTNESS[type(outcome).__name__]


@EXAMPLES
@given(chance)
def test_z6_adding_a_policy_never_allows_more(random: Random) -> None:
    case = generated.case(random)
    before = outcome_of(case)
    added = generated.policy(random, "added")
    after = outcome_of({**case, "policies": [*case["policies"], added]})
    assert strictness(after) >= strictness(before)
    if isinstance(before, PendingApproval) and isinstance(after, PendingApproval):
        assert set(before.triggered) <= set(after.triggered)
        assert len(after.groups) >= len(before.groups)
        if before.expires_at is not None:
            assert after.expires_at is not None
            assert after.expires_at <= before.expires_at


@EXAMPLES
@given(chance)
def test_z6_adding_a_block_policy_never_allows_more(random: Random) -> None:
    case = generated.case(random)
    added = {**generated.policy(random, "added"), "activityKind": "Wallets:Sign", "action": {"kind": "Block"}}
    added = {**added, "rule": generated.rule(random, "Wallets:Sign"), "filters": {}, "status": "Active"}
    after = outcome_of({**case, "policies": [*case["policies"], added]})
    before = outcome_of(case)
    assert strictness(after) >= strictness(before)
    if "added" in after.triggered:
        assert isinstance(after, Blocked)
    else:
        assert type(after) is type(before)


@EXAMPLES
@given(chance)
def test_z6_no_action_changes_nothing_but_what_is_reported(random: Random) -> None:
    case = generated.case(random)
    added = {**generated.policy(random, "added"), "activityKind": "Wallets:Sign", "action": {"kind": "NoAction"}}
    added = {**added, "rule": {"kind": "AlwaysTrigger"}, "filters": {}}
    before, after = outcome_of(case), outcome_of({**case, "policies": [*case["policies"], added]})
    assert type(after) is type(before)


@EXAMPLES
@given(chance)
def test_z6_order_of_policies_does_not_matter(random: Random) -> None:
    case = generated.case(random)
    shuffled = copy.deepcopy(case["policies"])
    random.shuffle(shuffled)
    first, second = outcome_of(case), outcome_of({**case, "policies": shuffled})
    assert type(first) is type(second)
    assert set(first.triggered) == set(second.triggered)
    assert set(first.skipped) == set(second.skipped)
    if isinstance(first, PendingApproval) and isinstance(second, PendingApproval):
        assert first.expires_at == second.expires_at
        assert sorted(map(repr, first.groups)) == sorted(map(repr, second.groups))


@EXAMPLES
@given(chance)
def test_z6_the_needed_facts_are_enough(random: Random) -> None:
    case = {**generated.case(random), "decisions": [], "expect": {"outcome": "Cleared"}}
    scenario = read_scenario({"cases": [case]})
    prepared = trial.prepare(scenario.cases[0], scenario)
    activity, policies, facts = prepared.activity, prepared.policies, prepared.facts
    needed = needed_facts(activity, policies)
    fewer = Facts(
        quotes={key: facts.quotes.get(key, ()) for key in needed.quotes},
        decimals={asset: number for asset, number in facts.decimals.items() if asset in needed.decimals},
        history={
            subject: [one for one in facts.history.get(subject, ()) if one.at > windows[0]]
            for subject, windows in needed.history.items()
        },
        screenings={name: one for name, one in facts.screenings.items() if name in needed.screenings},
        price_rules=facts.price_rules,
    )
    assert evaluate(activity, policies, fewer) == evaluate(activity, policies, facts)


@EXAMPLES
@given(chance)
def test_z6_without_facts_nothing_passes_that_facts_would_have_held(random: Random) -> None:
    case = {**generated.case(random), "decisions": [], "expect": {"outcome": "Cleared"}}
    scenario = read_scenario({"cases": [case]})
    prepared = trial.prepare(scenario.cases[0], scenario)
    informed = evaluate(prepared.activity, prepared.policies, prepared.facts)
    # A nominal limit and a list of recipients need no facts; all other rules trigger when they know nothing.
    blind = evaluate(prepared.activity, prepared.policies, Facts())
    assert set(informed.triggered) <= set(blind.triggered)
    if isinstance(blind, Cleared):
        assert isinstance(informed, Cleared)


@settings(max_examples=150, deadline=None)
@given(json_values)
def test_z6_validation_never_raises_for_any_value(value: object) -> None:
    assert isinstance(read(value, users=(), integrations=()), Invalid)


@settings(max_examples=150, deadline=None)
@given(chance, json_values)
def test_z6_validation_never_raises_for_a_policy_with_one_part_replaced(random: Random, value: object) -> None:
    policy = generated.policy(random, "p1")
    body = {name: part for name, part in policy.items() if name not in ("id", "status")}
    target: Any = body
    while isinstance(target, dict | list) and target:
        key = random.choice(list(target) if isinstance(target, dict) else range(len(target)))
        if not isinstance(target[key], dict | list) or not target[key] or random.random() < 0.4:
            target[key] = value
            break
        target = target[key]
    read(body, users=generated.IDS, integrations=("Chainalysis",))


@settings(max_examples=60, deadline=None)
@given(chance)
def test_z6_a_valid_policy_stays_as_it_was_written(random: Random) -> None:
    policy = generated.policy(random, "p1")
    body = {name: part for name, part in policy.items() if name not in ("id", "status")}
    first = read(json.loads(json.dumps(body, default=str)))
    assert not isinstance(first, Invalid)
