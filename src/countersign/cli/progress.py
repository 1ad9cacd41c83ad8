"""Progress of long work: a bar on a terminal, now and then a line elsewhere, nothing for what is soon done."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LINE_EVERY_S = 5.0


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[str, int, int], None]]:
    """What is told the stage, how much of it is done and how much there is; shown on standard error."""
    if not sys.stderr.isatty():
        yield _lines(label)
        return
    from rich.console import Console
    from rich.progress import Progress, TaskID

    with Progress(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(f"{label}: {stage}", total=total)
            bar.update(tasks[stage], completed=done, total=total)

        yield show


def _lines(label: str) -> Callable[[str, int, int], None]:
    said = time.monotonic()

    def show(stage: str, done: int, total: int) -> None:
        nonlocal said
        if time.monotonic() - said >= _LINE_EVERY_S:
            said = time.monotonic()
            print(f"{label}: {stage} {done:,} of {total:,}", file=sys.stderr, flush=True)  # noqa: T201 - for people

    return show
