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
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_RANDOM_BYTES = 11
_RESERVE = 256


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


def encode_id(prefix: str, value: int) -> str:
    """``prefix-5-5-16`` over 130 bits of base32 (``0-9a-v``, most significant first)."""
    digits = "".join([_PAIRS[(value >> shift) & 1023] for shift in range(120, -1, -10)])
    return f"{prefix}-{digits[:5]}-{digits[5:10]}-{digits[10:]}"


class _Reserve:
    """Random bytes for identifiers, fetched for many at once: asking the system costs more than all the rest of one.

    Identifiers are no secrets, so it does not matter that the next ones lie in memory; but a forked process must not
    hand out the same.
    """

    def __init__(self) -> None:
        self._left: list[bytes] = []
        os.register_at_fork(after_in_child=self._left.clear)

    def draw(self) -> bytes:
        """Eleven random bytes, given out once. Safe to call from several threads."""
        try:
            return self._left.pop()
        except IndexError:
            block = os.urandom(_RANDOM_BYTES * _RESERVE)
            self._left += [block[at : at + _RANDOM_BYTES] for at in range(_RANDOM_BYTES, len(block), _RANDOM_BYTES)]
            return block[:_RANDOM_BYTES]


_reserve = _Reserve()


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
        drawn = _reserve.draw() if self.randomness is os.urandom else self.randomness(_RANDOM_BYTES)
        random_bits = int.from_bytes(drawn, "big") & ((1 << 82) - 1)
        return encode_id(prefix, ((self.clock() & ((1 << 48) - 1)) << 82) | random_bits)
