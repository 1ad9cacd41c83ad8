"""People over a server; how many generated cases the evaluator is compared on.

``--policy-cases`` sets that number, ``--policy-seed`` repeats a run.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.policies.house import House, open_house
from tests.support.inprocess import InProcess

DEFAULT_CASES = 1500


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--policy-cases", type=int, default=DEFAULT_CASES, help="generated policy cases")
    parser.addoption("--policy-seed", type=int, default=None, help="seed of the cases, as an earlier run printed it")


# Read with a default: in a run over all tests this file is loaded after the command line was read.


@pytest.fixture
def policy_cases(pytestconfig: pytest.Config) -> int:
    number: int = pytestconfig.getoption("--policy-cases", DEFAULT_CASES)
    return number


@pytest.fixture
def policy_seed(pytestconfig: pytest.Config) -> int:
    """The seed of every case; shown when a test fails."""
    chosen: int | None = pytestconfig.getoption("--policy-seed", None)
    value = int.from_bytes(os.urandom(4)) if chosen is None else chosen
    print(f"repeat with --policy-seed={value}")
    return value


@pytest.fixture
def house(runner: asyncio.Runner, tmp_path: Path, database_url: str) -> Iterator[House]:
    """People over a fresh server on each engine, without background work."""
    with (
        InProcess(runner, tmp_path / "data", database_url, background=False) as server,
        open_house(server, tmp_path / "data", database_url) as house,
    ):
        yield house
