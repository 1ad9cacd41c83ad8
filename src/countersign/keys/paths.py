"""Derivation paths below a master key: what a path is, and which one comes next. Pure.

A path is ``m`` and one or more indices, ``m/0/7``: decimal, below 2^31, without leading zeros. Steps are never
hardened, so that a child can be derived from shares of its master too.
"""

from __future__ import annotations

import re

MAX_STEPS = 16
_PATH = re.compile(r"m(?:/(?:0|[1-9][0-9]{0,9}))+")
_LIMIT = 1 << 31


def path_defect(path: str) -> str | None:
    """Why this is no path, for the caller; ``None`` for a good one."""
    if "'" in path or "h" in path.lower():
        return "hardened steps are not offered; write m/0/7"
    if not _PATH.fullmatch(path):
        return "is no derivation path; write m and one or more indices, such as m/0/7"
    steps = path.split("/")[1:]
    if len(steps) > MAX_STEPS:
        return f"has more than {MAX_STEPS} steps"
    if any(int(step) >= _LIMIT for step in steps):
        return "holds an index of 2^31 or more"
    return None


def first_level(index: int) -> str:
    """The path of the child with this index directly below its master."""
    return f"m/{index}"
