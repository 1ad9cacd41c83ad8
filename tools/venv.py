"""Make the virtual environment that the Makefile runs in, from the lock files, unless it is there already.

usage: python3 tools/venv.py demo|test

``demo`` holds the server and the official Python SDK, ``test`` everything. A stamp in the environment names what was
installed: a fresh one costs no call of pip. Written so that an older Python can read it and say what is wrong.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LEVELS = ("demo", "test")  # each holds what those before it hold


def wanted(level: str) -> str:
    """Name of a level's installation: its lock file, the project's metadata, the interpreter, the place."""
    lock = ROOT / "requirements" / f"{level}.txt"
    parts = [lock.read_bytes(), (ROOT / "pyproject.toml").read_bytes(), sys.version.encode(), str(ROOT).encode()]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def stamp(level: str) -> Path:
    """The file that says what was installed for a level."""
    return VENV / f"installed-{level}"


def is_fresh(level: str) -> bool:
    """Whether this level, or one that holds it, is installed as wanted."""
    holders = LEVELS[LEVELS.index(level) :]
    return any(stamp(name).is_file() and stamp(name).read_text() == wanted(name) for name in holders)


def install(level: str) -> None:
    """Install a level with pip: hashes required, nothing resolved, everything byte-compiled."""
    python = VENV / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    for name in LEVELS:
        stamp(name).unlink(missing_ok=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]
    subprocess.run([*pip, "--require-hashes", "--requirement", f"requirements/{level}.txt"], check=True, cwd=ROOT)
    subprocess.run([*pip, "--no-build-isolation", "--editable", "."], check=True, cwd=ROOT)
    subprocess.run([str(python), "-m", "compileall", "-q", "src"], check=True, cwd=ROOT)
    stamp(level).write_text(wanted(level))


def main() -> None:
    """Bring the environment to the level named on the command line."""
    if sys.version_info < (3, 11):
        found = "{}.{}".format(*sys.version_info[:2])
        sys.exit(f"Countersign needs Python 3.11 or newer, this is {found}. Name another: make PYTHON=python3.12 ...")
    if len(sys.argv) != 2 or sys.argv[1] not in LEVELS:
        sys.exit(__doc__)
    level = sys.argv[1]
    if is_fresh(level):
        return
    print(f"Installing what this needs into {VENV.name}/ (once per lock file) ...", file=sys.stderr)
    try:
        install(level)
    except subprocess.CalledProcessError as failure:
        sys.exit(f"Could not make the environment: `{' '.join(failure.cmd[:6])} ...` ended with {failure.returncode}.")


if __name__ == "__main__":
    main()
