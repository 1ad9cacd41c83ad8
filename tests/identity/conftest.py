"""Fixtures of credentials: a server for the module, a person in it with every right, and a passkey's origin."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.caller import Caller
from tests.support.databases import ENGINES, fresh_postgresql
from tests.support.enrolment import ORIGIN, RP_ID
from tests.support.identity_provider import IdentityProvider
from tests.support.inprocess import InProcess
from tests.support.server import Sandbox
from tests.support.tenants import Identity, Tenants, beside
from tests.support.trusting import Trusting, trusting_server


@pytest.fixture(scope="module")
def shared_tenants(shared_sandbox: Sandbox) -> Tenants:
    """What puts identities into the shared server's database; passkeys may be used from one known origin."""
    tenants = beside(shared_sandbox.directory, shared_sandbox.database, shared_sandbox.values["baseUrl"])
    allow_origin(tenants, shared_sandbox.values["orgId"])
    return tenants


@pytest.fixture
def person(shared_sandbox: Sandbox, shared_tenants: Tenants) -> Identity:
    """Somebody new with every right and one key, which the signer knows."""
    made = shared_tenants.session(shared_sandbox.values["orgId"], everything=True)
    shared_tenants.introduce(made)
    return made


@pytest.fixture
def caller(person: Identity) -> Iterator[Caller]:
    """The person's session."""
    with Caller(person.connection) as caller:
        yield caller


@pytest.fixture
def in_process(runner: asyncio.Runner, tmp_path: Path, database_url: str) -> Iterator[InProcess]:
    """A server inside the test, with a clock to move."""
    with InProcess(runner, tmp_path / "data", database_url) as server:
        yield server


@pytest.fixture
def tenants(in_process: InProcess, database_url: str) -> Tenants:
    """What writes beside ``in_process``."""
    tenants = beside(in_process.files.directory, database_url, in_process.values["baseUrl"])
    allow_origin(tenants, in_process.values["orgId"])
    return tenants


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    """The identity provider of the module."""
    with IdentityProvider() as running:
        yield running


@pytest.fixture(scope="module", params=ENGINES)
def trusting(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, provider: IdentityProvider
) -> Iterator[Trusting]:
    """A server that trusts it, with the clock of its process, shared by the tests of a module."""
    directory = tmp_path_factory.mktemp("trusting")
    if request.param == "sqlite":
        yield from trusting_server(directory, f"sqlite://{directory / 'countersign.db'}", provider)
        return
    for url in fresh_postgresql(request.getfixturevalue("postgres_server")):
        yield from trusting_server(directory, url, provider)


@pytest.fixture
def admin(in_process: InProcess) -> Iterator[Caller]:
    """The administrator of ``in_process``, or of the server that a module puts in its place."""
    with in_process.caller(in_process.admin) as caller:
        yield caller


@pytest.fixture
def program(in_process: InProcess) -> Iterator[Caller]:
    """The service account of the same."""
    with in_process.caller(in_process.service) as caller:
        yield caller


def allow_origin(tenants: Tenants, org_id: str) -> None:
    """Let passkeys of the organisation's relying party be used from ``ORIGIN``."""
    tenants.execute(
        "INSERT INTO origins (org_id, app_id, rp_id, origin, created_at) VALUES (?, '', ?, ?, 0)", org_id, RP_ID, ORIGIN
    )
