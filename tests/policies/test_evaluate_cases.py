"""The published policy cases: what is held, blocked and cleared, who may vote, and which policies are refused."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from countersign.policies import trial
from countersign.policies.scenario import Case, read_scenario

DATA = Path(__file__).parents[1] / "data" / "policy_cases.json"
SCENARIO = read_scenario(json.loads(DATA.read_text(), parse_float=Decimal))


def test_z6_all_cases_are_here() -> None:
    assert len(SCENARIO.cases) == 118


@pytest.mark.parametrize("case", SCENARIO.cases, ids=lambda case: case.id)
def test_z6_case_comes_out_as_it_is_written(case: Case) -> None:
    result = trial.run_case(case, SCENARIO)
    assert not result.differences, "\n".join((*result.differences, *result.explanation))
