"""The demo is run as a visitor runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

DEMO = Path(__file__).parents[2] / "demo"

#: A demo that is told that the first cheat was not refused.
WITH_A_FAULT = """
import sys
sys.path.insert(0, sys.argv[1])
import ceremony, demo
ceremony.refused = lambda show, answer, status, code: demo.check(False, "it was not refused")
sys.exit(demo.main())
"""


def run(*command: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run it with ``directory`` for its temporary files."""
    environment = {**os.environ, "TMPDIR": str(directory), "HOME": str(directory)}
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment)


def test_the_demo_holds_and_leaves_nothing_behind() -> None:
    with tempfile.TemporaryDirectory(prefix="countersign-") as directory:
        done = run(str(DEMO / "demo.py"), directory=Path(directory))
        assert done.returncode == 0, done.stdout + done.stderr
        assert list(Path(directory).iterdir()) == []
    assert "All of it held" in done.stdout
    assert "USER_ACTION_REUSED" in done.stdout
    assert "SOUND" in done.stdout
    assert "BROKEN" in done.stdout
    assert "\x1b" not in done.stdout
    assert done.stderr == ""


def test_a_demo_that_does_not_hold_says_where_and_shows_the_log() -> None:
    with tempfile.TemporaryDirectory(prefix="countersign-") as directory:
        done = run("-c", WITH_A_FAULT, str(DEMO), directory=Path(directory))
        assert list(Path(directory).iterdir()) == []
    assert done.returncode == 1
    assert "Step 6 did not hold (Cheat: send another body than the one that was countersigned)" in done.stdout
    assert "it was not refused" in done.stdout
    assert "serving" in done.stdout.partition("The end of the server's log:")[2]
