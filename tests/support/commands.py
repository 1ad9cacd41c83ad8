"""``countersign`` as a user runs it: a process of its own, with only those settings that a test gives it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PATIENCE = 60


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    status: int
    output: str
    errors: str


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without settings of the server, and ``extra``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COUNTERSIGN_")}
    return {**kept, **(extra or {})}


def command(*arguments: object) -> list[str]:
    """The command line of ``countersign`` with these arguments."""
    return [sys.executable, "-m", "countersign", *(str(argument) for argument in arguments)]


def countersign(
    *arguments: object, env: Mapping[str, str] | None = None, passphrase: str | None = None, cwd: object = None
) -> Done:
    """Run a command to its end; ``passphrase`` reaches it through a descriptor, as an operator's script would do it."""
    descriptors: Sequence[int] = ()
    variables = environment(env)
    if passphrase is not None:
        reading, writing = os.pipe()
        os.write(writing, passphrase.encode() + b"\n")
        os.close(writing)
        variables["COUNTERSIGN_PASSPHRASE_FD"] = str(reading)
        descriptors = (reading,)
    try:
        done = subprocess.run(
            command(*arguments),
            env=variables,
            cwd=None if cwd is None else str(cwd),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            pass_fds=descriptors,
            timeout=PATIENCE,
            check=False,
        )
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def refusal(done: Done) -> str:
    """The one line in which a command said why it did not do it; anything else fails the test."""
    assert done.status != 0, done.output
    lines = done.errors.strip().splitlines()
    assert len(lines) == 1, done.errors
    assert lines[0].startswith("Error: "), done.errors
    return lines[0].removeprefix("Error: ")
