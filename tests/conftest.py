"""Fixtures for all tests.

``engine``: "sqlite" and "postgresql"; whoever asks for it, or for one of the next three, runs on both.
``empty_url``: a database of that engine without any table, for this test alone.
``database_url``: a fresh, migrated database of that engine, for this test alone.
``database``: the same, opened on the event loop of the test.
``shared_sandbox``, ``sandbox``: a running server over such a database, for a module or for one test.
``start_sandbox``: starts such servers with other settings, for a module.
``postgres_server``: the session's PostgreSQL, for tests that need more than one database of it.
Tests may be ``async def``: see ``tests/support/aio.py``.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from countersign.storage import Database, open_database
from tests.support import aio, restored, tls_trust
from tests.support.databases import ENGINES, PostgresForTests, fresh_postgresql, fresh_sqlite, sqlite_template
from tests.support.postgres import PostgresServer
from tests.support.server import Sandbox

_POSTGRES = pytest.StashKey[PostgresForTests]()
#: Files that take longest, with few tests each. They come first: a worker that begins one last is waited for.
_LONG = (
    *("faults/test_kills.py", "faults/test_webhook_kills.py", "checks/test_fuzz_openapi.py", "cli/test_rotation.py"),
    *("cli/test_serve.py", "faults/test_secrets.py", "browser/test_pages.py", "browser/test_console.py"),
    *("keystores/test_signer_process.py", "keystores/test_stolen_api_process.py", "cli/test_keys.py"),
    *("backup/test_restored_server.py", "server/test_module_in_production.py", "policies/test_crash.py"),
)


def pytest_configure(config: pytest.Config) -> None:
    tls_trust.share()
    # Drivers offer TLS first, and make ready for it with each connection; no server of the tests has it.
    os.environ["PGSSLMODE"] = "disable"
    config.stash[_POSTGRES] = PostgresForTests()


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_POSTGRES].stop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first; the rest stays in its order."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(_LONG)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run ``async def`` tests, on the loop of the fixture ``runner`` if the test has one."""
    if not inspect.iscoroutinefunction(inspect.unwrap(pyfuncitem.obj)):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    runner: asyncio.Runner | None = pyfuncitem.funcargs.get("runner")
    if runner is not None:
        runner.run(pyfuncitem.obj(**arguments))
    else:
        aio.run(pyfuncitem.obj(**arguments))
    return True


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    missing = config.stash[_POSTGRES].missing
    if missing is not None:
        terminalreporter.section("POSTGRESQL WAS NOT TESTED", sep="!", red=True, bold=True)
        terminalreporter.line(f"EVERY TEST ON POSTGRESQL WAS LEFT OUT: {missing}")


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """The event loop of this test, for fixtures that need it too."""
    with aio.new_runner() as runner:
        yield runner


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> PostgresServer:
    """The session's PostgreSQL server."""
    return pytestconfig.stash[_POSTGRES].server()


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sqlite_template(tmp_path_factory.mktemp("template"))


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """The name of the engine under test."""
    name: str = request.param
    return name


@pytest.fixture
def database_url(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a fresh, migrated database."""
    if engine == "sqlite":
        yield fresh_sqlite(request.getfixturevalue("_sqlite_template"), tmp_path)
    else:
        yield from fresh_postgresql(request.getfixturevalue("postgres_server"))


@pytest.fixture
def empty_url(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without any table."""
    if engine == "sqlite":
        yield f"sqlite://{tmp_path}/empty.db"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.new_database(migrated=False)
    yield url
    server.drop_database(url)


@pytest.fixture
def database(runner: asyncio.Runner, database_url: str) -> Iterator[Database]:
    """A fresh database, opened on the event loop of this test."""
    opened = runner.run(open_database(database_url, migrate=False))
    yield opened
    runner.run(opened.close())


@pytest.fixture(scope="module", params=ENGINES)
def shared_sandbox(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A running sandbox on each engine, shared by the tests of a module: for those that leave it usable."""
    directory = tmp_path_factory.mktemp("shared") / "data"
    if request.param == "sqlite":
        with _as_told(Sandbox(directory)) as running:
            yield running
        return
    for url in fresh_postgresql(request.config.stash[_POSTGRES].server()):
        with _as_told(Sandbox(directory, url)) as running:
            yield running


def _as_told(sandbox: Sandbox) -> Sandbox:
    return restored.restored(sandbox) if restored.wanted() else sandbox


@pytest.fixture(scope="module", params=ENGINES)
def start_sandbox(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Mapping[str, str]], Sandbox]]:
    """Starts sandboxes with settings of their own (``COUNTERSIGN_...``) on each engine, for the tests of a module."""
    with ExitStack() as stack:

        def start(environment: Mapping[str, str]) -> Sandbox:
            directory = tmp_path_factory.mktemp("sandbox") / "data"
            if request.param == "sqlite":
                return stack.enter_context(Sandbox(directory, None, environment))
            urls = contextmanager(fresh_postgresql)(request.config.stash[_POSTGRES].server())
            return stack.enter_context(Sandbox(directory, stack.enter_context(urls), environment))

        yield start


@pytest.fixture
def sandbox(database_url: str, tmp_path: Path) -> Iterator[Sandbox]:
    """A running sandbox on each engine for this test alone: for tests that kill it or change its settings."""
    with Sandbox(tmp_path / "data", database_url) as running:
        yield running
