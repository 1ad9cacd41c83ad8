"""D3: what was restored passes the tests of the official clients, as the server did that it was made from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.restored import VARIABLE

ROOT = Path(__file__).parents[2]


def test_d3_the_tests_of_the_clients_pass_against_a_restored_server() -> None:
    """Those of the Python SDK here; all of them by hand: RESTORED_SANDBOXES=1 make test ARGS=tests/clients."""
    command = [sys.executable, "-m", "pytest", "-q", "--numprocesses=0", "tests/clients/test_python_sdk.py"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        command, cwd=ROOT, env={**environment, VARIABLE: "1"}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert " passed" in done.stdout
