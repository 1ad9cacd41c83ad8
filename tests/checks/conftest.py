"""Fixtures of the security checks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.inprocess import InProcess
from tests.support.server import Sandbox
from tests.support.tenants import Tenants, beside

DEFAULT_REQUESTS = 10


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--requests", type=int, default=DEFAULT_REQUESTS, help="generated per operation and kind of data")


@pytest.fixture(scope="session")
def requests_per_operation(pytestconfig: pytest.Config) -> int:
    """How many requests are generated; in a run over all tests this file is loaded after the command line was read."""
    number: int = pytestconfig.getoption("--requests", DEFAULT_REQUESTS)
    return number


@pytest.fixture(scope="module")
def shared_tenants(shared_sandbox: Sandbox) -> Tenants:
    """What puts further organisations and identities into the shared server's database."""
    return beside(shared_sandbox.directory, shared_sandbox.database, shared_sandbox.values["baseUrl"])


@pytest.fixture
def in_process(runner: asyncio.Runner, tmp_path: Path, database_url: str) -> Iterator[InProcess]:
    """A server inside the test, with a clock to move."""
    with InProcess(runner, tmp_path / "data", database_url) as server:
        yield server


@pytest.fixture
def tenants(in_process: InProcess, database_url: str) -> Tenants:
    """What puts further organisations and identities into the database of ``in_process``."""
    return beside(in_process.files.directory, database_url, in_process.values["baseUrl"])
