"""Fixtures of the tests of permissions: a shared server, and callers that hold what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.permissions.staff import Staff
from tests.support.caller import Caller
from tests.support.inprocess import InProcess
from tests.support.server import Sandbox
from tests.support.tenants import Tenants, beside


@pytest.fixture(scope="module")
def shared_tenants(shared_sandbox: Sandbox) -> Tenants:
    """What puts further organisations and identities into the shared server's database."""
    return beside(shared_sandbox.directory, shared_sandbox.database, shared_sandbox.values["baseUrl"])


@pytest.fixture(scope="module")
def staff(shared_tenants: Tenants) -> Iterator[Staff]:
    """An organisation of its own with one administrator."""
    with Staff(shared_tenants) as staff:
        yield staff


@pytest.fixture
def firm(shared_tenants: Tenants) -> Iterator[Staff]:
    """The same for one test alone, which may leave it as it likes."""
    with Staff(shared_tenants) as staff:
        yield staff


@pytest.fixture(scope="module")
def admin(staff: Staff) -> Caller:
    """The administrator of ``staff``."""
    return staff.admin


@pytest.fixture
def in_process(runner: asyncio.Runner, tmp_path: Path, database_url: str) -> Iterator[InProcess]:
    """A server inside the test, with a clock to move."""
    with InProcess(runner, tmp_path / "data", database_url) as server:
        yield server
