"""Which operation a path leads to."""

from __future__ import annotations

import pytest

from countersign.api import Operation
from countersign.server.router import NoMethod, Route, Router
from countersign.server.table import operations

TABLE = operations()
ROUTER = Router(TABLE)


def segments(path: str) -> list[str]:
    return path.strip("/").split("/")


@pytest.mark.parametrize("operation", TABLE, ids=lambda operation: f"{operation.method} {operation.path}")
def test_every_operation_is_found_at_its_path(operation: Operation) -> None:
    path = [part if not part.startswith("{") else f"value of {part}" for part in segments(operation.path)]
    found = ROUTER.find(operation.method, path)
    assert isinstance(found, Route)
    assert found.operation is operation
    expected = {part[1:-1]: f"value of {part}" for part in segments(operation.path) if part.startswith("{")}
    assert found.params == expected


def test_a_literal_wins_over_a_parameter() -> None:
    found = ROUTER.find("POST", ["auth", "action", "init"])
    assert isinstance(found, Route)
    assert (found.operation.path, found.params) == ("/auth/action/init", {})
    # Where the literal leads nowhere, the parameter still matches.
    other = ROUTER.find("GET", ["auth", "action", "logs", "init"])
    assert isinstance(other, Route)
    assert other.params == {"id": "init"}


def test_another_method_is_told_which_ones_there_are() -> None:
    assert ROUTER.find("PATCH", ["keys", "a"]) == NoMethod(("DELETE", "GET", "PUT"))
    assert ROUTER.find("get", ["keys"]) == NoMethod(("GET", "POST"))


@pytest.mark.parametrize(
    "path",
    [[], [""], ["key"], ["Keys"], ["keys", "a", "b"], ["keys", "a", "signatures", "b", "c"], ["auth"], ["{keyId}"]],
)
def test_nothing_else_is_a_route(path: list[str]) -> None:
    assert ROUTER.find("GET", path) is None
