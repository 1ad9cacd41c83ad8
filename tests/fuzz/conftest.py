"""How many mutations: ``--mutations`` in all, ``--fuzz-seed`` to repeat a run."""

from __future__ import annotations

import os

import pytest

DEFAULT_MUTATIONS = 3000


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--mutations", type=int, default=DEFAULT_MUTATIONS, help="mutated messages in all")
    parser.addoption("--fuzz-seed", type=int, default=None, help="seed of the mutations, as an earlier run printed it")


# Read with a default: in a run over all tests this file is loaded after the command line was read.


@pytest.fixture
def mutations(pytestconfig: pytest.Config) -> int:
    """How many mutated messages in all: nine of ten for the functions that verify, the rest as requests."""
    number: int = pytestconfig.getoption("--mutations", DEFAULT_MUTATIONS)
    return number


@pytest.fixture
def seed(pytestconfig: pytest.Config) -> int:
    """The seed of every mutation; shown when a test fails."""
    chosen: int | None = pytestconfig.getoption("--fuzz-seed", None)
    value = int.from_bytes(os.urandom(4)) if chosen is None else chosen
    print(f"repeat with --fuzz-seed={value}")
    return value
