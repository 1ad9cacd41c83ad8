"""How long and how random: ``--kills`` for each engine, ``--seed`` to repeat a run."""

from __future__ import annotations

import os

import pytest

DEFAULT_KILLS = 20


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kills", type=int, default=DEFAULT_KILLS, help="how often server or signer is killed, per engine"
    )
    parser.addoption("--seed", type=int, default=None, help="seed of the random kills, as a failed run printed it")


# Read with a default: in a run over all tests this file is loaded after the command line was read.


@pytest.fixture
def kills(pytestconfig: pytest.Config) -> int:
    """How often to kill."""
    number: int = pytestconfig.getoption("--kills", DEFAULT_KILLS)
    return number


@pytest.fixture
def seed(pytestconfig: pytest.Config) -> int:
    """The seed of everything random in the test; shown when it fails."""
    chosen: int | None = pytestconfig.getoption("--seed", None)
    value = int.from_bytes(os.urandom(4)) if chosen is None else chosen
    print(f"repeat with --seed={value}")
    return value
