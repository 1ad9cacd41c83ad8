"""The published test vectors of the authentication half, by section."""

import json
from functools import cache
from pathlib import Path
from typing import Any


@cache
def auth_vectors() -> dict[str, Any]:
    return json.loads((Path(__file__).parents[1] / "data" / "auth_vectors.json").read_text("utf-8"))


def named(cases: list[dict[str, Any]]) -> dict[str, Any]:
    """Arguments for ``pytest.mark.parametrize`` that show the name of each case."""
    return {"argvalues": cases, "ids": [case["name"] for case in cases]}
