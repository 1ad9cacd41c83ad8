"""What building the console takes: Node and its packages, which ``tools/setup-test`` installs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

CONSOLE = Path(__file__).parents[2] / "console"
STATIC = Path(__file__).parents[2] / "src" / "countersign" / "console" / "static"


def require_build_tools() -> str:
    """Path of the Node program. Skips the test, or fails it with ``COUNTERSIGN_REQUIRE_NODE=1``, if it takes more."""
    node = shutil.which("node")
    if node is not None and (CONSOLE / "node_modules" / "esbuild").is_dir():
        return node
    missing = "Node or the packages of the console are not installed (tools/setup-test does it)"
    if os.environ.get("COUNTERSIGN_REQUIRE_NODE") == "1":
        pytest.fail(f"{missing}, and COUNTERSIGN_REQUIRE_NODE=1 asks for it")
    pytest.skip(f"NOT TESTED: {missing}")
