from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from countersign.cli.main import main

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "policies.yaml"
CASES = Path(__file__).parents[1] / "data" / "policy_cases.json"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["policy", *map(str, arguments)])


@pytest.mark.parametrize(("file", "passed"), [(EXAMPLE, 7), (CASES, 118)])
def test_z6_example_and_published_cases_pass(file: Path, passed: int) -> None:
    result = run("test", file)
    assert result.exit_code == 0, result.output
    assert result.output == f"{passed} passed, 0 failed\n"


def test_example_has_no_errors_for_the_linter() -> None:
    result = run("lint", EXAMPLE)
    assert result.exit_code == 0, result.output
    assert "0 errors, 0 warnings, 1 info" in result.output


def test_failing_case_is_explained_and_fails_the_command(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(EXAMPLE.read_text().replace("outcome: Cleared, triggered: []", "outcome: Blocked, triggered: []"))
    result = run("test", file)
    assert result.exit_code == 1
    assert "FAILED  small-transfer-passes\n" in result.output
    assert "expected Blocked, got Cleared" in result.output
    assert "reason: the value of 2500 USD is not above the limit of 10000" in result.output
    assert "exactly-the-limit-passes" not in result.output
    assert result.output.endswith("6 passed, 1 failed\n")
    assert "ok  exactly-the-limit-passes" in run("test", file, "--verbose").output


def test_json_holds_every_case_with_its_tree(tmp_path: Path) -> None:
    document = json.loads(run("test", EXAMPLE, "--json").output)
    assert (document["passed"], document["failed"]) == (7, 0)
    case = next(one for one in document["cases"] if one["id"] == "large-transfer-needs-the-two-others")
    assert case["explanation"]["outcome"] == "PendingApproval"
    assert case["explanation"]["policies"][0]["rule"] == "TransactionAmountLimit"


def test_lint_fails_for_an_error(tmp_path: Path) -> None:
    file = tmp_path / "locked.yaml"
    file.write_text(EXAMPLE.read_text().replace("quorum: 1, approvers: {}", "quorum: 3, approvers: {}"))
    result = run("lint", file)
    assert result.exit_code == 1
    assert "error: policies-guarded:" in result.output
    findings = json.loads(run("lint", file, "--json").output)["findings"]
    assert findings[0]["code"] == "governance-lock"


ACTIVITY = "activity: {kind: Wallets:Sign, api: transfer, walletId: wa-1, initiator: us-1}"
CASE = f"cases: [{{id: a, expect: {{outcome: Cleared}}, {ACTIVITY}}}]"
WALLET = "wallets: [{id: wa-1, network: Ethereum}]"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cases: []", "holds no cases"),
        ("casess: []", "casess"),
        ("a: 1\na: 2", "occurs twice"),
        ("cases: [{id: a, expect: {outcome: Cleared}}]", "case a: needs an activity"),
        ("cases: [{id: a, expect: {outcome: Perhaps}}]", "outcome"),
        (f"policies: [{{id: p}}]\n{WALLET}\n{CASE}", "case a: policy p:"),
        (CASE, "no wallet wa-1"),
        (f"prices: {{ETH: {{USD: 1}}}}\n{WALLET}\n{CASE}", "ETH is no asset"),
        (f"history: [{{walletId: wa-1, at: noon, status: Pending}}]\n{WALLET}\n{CASE}", "case a: not an ISO"),
    ],
)
def test_file_that_cannot_be_read_is_told_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    result = run("test", file)
    assert result.exit_code == 1
    assert words in result.output
    assert "Traceback" not in result.output
