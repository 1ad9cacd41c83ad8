"""How the demo tells what it does."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.text import Text

WIDTH = 100


class NotHeld(Exception):
    """Something that this demo promises did not hold; the text says what."""


@dataclass
class Transcript:
    """Prints each step when it is done, with the time it took."""

    console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))
    steps: int = 0
    title: str = ""
    lines: list[Text] = field(default_factory=list)

    @contextmanager
    def step(self, title: str, since: float | None = None) -> Iterator[None]:
        """One step of the demo, begun at ``since`` (``perf_counter``); what is said inside appears below its title."""
        self.steps, self.title = self.steps + 1, title
        self.lines = []
        started = time.perf_counter() if since is None else since
        try:
            yield
        except BaseException:
            self._print("FAILED", "bold red")
            raise
        self._print(duration(time.perf_counter() - started), "cyan")

    def _print(self, right: str, style: str) -> None:
        head = Text(f"{self.steps:>2}  {self.title}", style="bold")
        head.append(right.rjust(max(2 + len(right), WIDTH - head.cell_len)), style=style)
        self.console.print(head)
        for line in self.lines:
            self.console.print(line)
        self.console.print()

    def say(self, text: str) -> None:
        """A plain sentence."""
        self.lines.append(Text(f"    {text}"))

    def fact(self, name: str, value: str) -> None:
        """Something that was made or seen."""
        self.lines.append(Text.assemble("    ", (f"{name:<12}", "dim"), value))

    def command(self, *words: str) -> None:
        """A command that the reader could have typed."""
        self.lines.append(Text.assemble("    ", ("$ ", "dim"), ("countersign " + shlex.join(words), "blue")))

    def held(self, text: str) -> None:
        """A promise that was kept."""
        self.lines.append(Text.assemble("    ", ("ok  ", "bold green"), text))


def duration(seconds: float) -> str:
    """``12 ms`` or ``1.20 s``."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def check(held: bool, otherwise: str) -> None:
    """Raise :class:`NotHeld` unless it held."""
    if not held:
        raise NotHeld(otherwise)
