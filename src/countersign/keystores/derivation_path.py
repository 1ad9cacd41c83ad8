"""What a derivation path below a master key is. Pure.

For the API, which refuses others, and for the signer, which walks them.
"""

from __future__ import annotations

import re
from typing import Final

from countersign.keystores.outcome import Refusal

MAX_DEPTH: Final = 32
"""Longest path in steps."""

HARDENED: Final = 2**31
"""The first index of a hardened step, of which there are none here."""
_PATH: Final = re.compile(r"m(?:/(?:0|[1-9][0-9]{0,9}))+", re.ASCII)


def parse_path(path: str) -> tuple[int, ...] | Refusal:
    """The indices of ``m/<i>(/<i>)*``: decimal without leading zeros, below 2³¹, at most ``MAX_DEPTH`` of them."""
    if _PATH.fullmatch(path) is None:
        return Refusal("Unsupported", "a derivation path is m/<index>/<index>..., without hardened steps")
    indices = tuple(int(index) for index in path.split("/")[1:])
    if max(indices) >= HARDENED:
        return Refusal("Unsupported", "a derivation index is below 2147483648")
    if len(indices) > MAX_DEPTH:
        return Refusal("Unsupported", f"a derivation path has at most {MAX_DEPTH} steps")
    return indices
