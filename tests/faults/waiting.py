"""Waiting for something that the server does by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 30.0


def until(what: str, condition: Callable[[], T | None]) -> T:
    """Ask again and again until the answer is neither ``None`` nor false; fail when that never happens."""
    end = time.monotonic() + PATIENCE_S
    while not (answer := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"after {PATIENCE_S:.0f} s still not: {what}")
        time.sleep(0.01)
    return answer
