"""``countersign`` as a user runs it: a process of its own, with only those settings that a test gives it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from tests.support.nursery import born

PATIENCE = 60
_PASSPHRASE_FD = 9


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
    variables = environment(env)
    with ExitStack() as stack:
        output, errors = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(2))
        passed = {}
        if passphrase is not None:
            reading, writing = os.pipe()
            stack.callback(os.close, reading)
            os.write(writing, passphrase.encode() + b"\n")
            os.close(writing)
            passed[_PASSPHRASE_FD] = reading
            variables["COUNTERSIGN_PASSPHRASE_FD"] = str(_PASSPHRASE_FD)
        process = born(
            [str(argument) for argument in arguments],
            stdout=output.fileno(),
            stderr=errors.fileno(),
            env=variables,
            cwd=None if cwd is None else str(cwd),
            pass_fds=passed,
        )
        try:
            status = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        output.seek(0)
        errors.seek(0)
        return Done(status, output.read().decode(), errors.read().decode())


def refusal(done: Done) -> str:
    """The one line in which a command said why it did not do it; anything else fails the test."""
    assert done.status != 0, done.output
    lines = done.errors.strip().splitlines()
    assert len(lines) == 1, done.errors
    assert lines[0].startswith("Error: "), done.errors
    return lines[0].removeprefix("Error: ")
