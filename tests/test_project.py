"""What holds for the project as a whole: its lock files, its documents, and what the signer process loads."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE_LOCKS = [ROOT / "tests/clients/node/package-lock.json", ROOT / "console/package-lock.json"]
LOCKS = sorted(ROOT.glob("requirements/*.txt"))
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])

#: The parts of the package that the process with the keys may load.
OF_THE_SIGNER = {"consent", "credentials", "encoding", "keystores", "private_files", "world"}


@pytest.mark.parametrize("path", [*LOCKS, *PACKAGE_LOCKS], ids=lambda path: str(path.relative_to(ROOT)))
def test_lock_files_hold_no_address(path: Path) -> None:
    assert "://" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [path for path in LOCKS if path.name != "overrides.txt"], ids=lambda path: path.name)
def test_every_locked_package_has_hashes(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").replace("\\\n", "").splitlines()
    packages = [line for line in lines if line and not line.startswith("#")]
    assert packages
    assert [line.split()[0] for line in packages if "--hash=sha256:" not in line] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_signer_process_loads_only_what_it_may_know() -> None:
    """The import rules see imports by name; this sees what a package's ``__init__`` brings along as well."""
    program = "import sys, countersign.keystores.signer; print(*sorted(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    ours = {name.split(".")[1] for name in modules if name.startswith("countersign.")}
    assert ours <= OF_THE_SIGNER
    assert "countersign.keystores.store" not in modules
    assert {"asyncpg", "sqlite3", "uvicorn"}.isdisjoint(modules)
