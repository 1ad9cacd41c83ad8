"""The evaluator against a slow and obvious one, on generated cases."""

from __future__ import annotations

from collections import Counter
from random import Random

from countersign.policies import trial
from countersign.policies.scenario import read_scenario
from tests.policies import generated, reference


def test_z6_evaluator_equals_the_reference_on_generated_cases(policy_cases: int, policy_seed: int) -> None:
    seen: Counter[str] = Counter()
    for number in range(policy_cases):
        case = generated.case(Random(policy_seed + number))
        case["expect"] = reference.expected(case)
        outcome = case["expect"]["outcome"]
        if outcome != "PendingApproval":
            case["decisions"] = []
        scenario = read_scenario({"cases": [case]})
        result = trial.run_case(scenario.cases[0], scenario)
        assert not result.differences, f"--policy-seed={policy_seed + number}: {result.differences}\n{case}"
        seen[outcome] += 1
        seen[case["expect"].get("finalApprovalStatus", "nothing to vote on")] += 1
    print(dict(seen))
    assert {"Cleared", "PendingApproval", "Blocked", "Approved", "Denied", "Expired", "Pending"} <= seen.keys()
