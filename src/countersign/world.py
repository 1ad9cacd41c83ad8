"""Time and chance, passed in: everything that decides takes values, and these make them.

The sandbox and the tests swap them; nothing else in the package reads a clock or draws randomness
for identifiers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

_ALPHABET = "0123456789abcdefghijklmnopqrstuv"


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


def encode_id(prefix: str, value: int) -> str:
    """``prefix-5-5-16`` over 130 bits of base32 (``0-9a-v``, most significant first)."""
    digits = "".join([_ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5)])
    return f"{prefix}-{digits[:5]}-{digits[5:10]}-{digits[10:]}"


@dataclass(frozen=True, slots=True)
class World:
    """``clock`` gives milliseconds since the epoch; ``randomness`` gives that many random bytes."""

    clock: Callable[[], int] = field(default=_wall_clock_ms)
    randomness: Callable[[int], bytes] = field(default=os.urandom)

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return self.clock()

    def new_id(self, prefix: str) -> str:
        """A fresh identifier: 48-bit millisecond clock, then 82 random bits.

        The clock leads, so that inserts stay local to the index of a large table.
        """
        random_bits = int.from_bytes(self.randomness(11), "big") & ((1 << 82) - 1)
        return encode_id(prefix, ((self.clock() & ((1 << 48) - 1)) << 82) | random_bits)
