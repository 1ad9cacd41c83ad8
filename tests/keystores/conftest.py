"""How many signatures the check of nonces compares: ``--signatures`` for each kind of key."""

from __future__ import annotations

import pytest

DEFAULT_SIGNATURES = 500


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--signatures", type=int, default=DEFAULT_SIGNATURES, help="compared nonces of each kind of key")


@pytest.fixture
def signatures(pytestconfig: pytest.Config) -> int:
    """How many messages each kind of key signs."""
    # Read with a default: in a run over all tests this file is loaded after the command line was read.
    number: int = pytestconfig.getoption("--signatures", DEFAULT_SIGNATURES)
    return number
