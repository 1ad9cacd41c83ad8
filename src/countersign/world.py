"""Time and chance, passed in: everything that decides takes values, and these make them.

The sandbox and the tests swap them; nothing else in the package reads a clock or draws randomness
for identifiers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

_ALPHABET = "0123456789abcdefghijklmnopqrstuv"
#: Any byte to the digit of its lowest five bits, so that random bytes give random digits.
_DIGIT_OF_BYTE = (_ALPHABET * 8).encode("ascii")
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_RANDOM_BYTES = 11
_RANDOM_DIGITS = 16
_RESERVE = 256


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


def encode_id(prefix: str, value: int) -> str:
    """``prefix-5-5-16`` over 130 bits of base32 (``0-9a-v``, most significant first)."""
    digits = "".join([_PAIRS[(value >> shift) & 1023] for shift in range(120, -1, -10)])
    return f"{prefix}-{digits[:5]}-{digits[5:10]}-{digits[10:]}"


@lru_cache(maxsize=8)
def _clock_digits(eighths: int) -> str:
    """The nine digits that the clock alone decides, which change every eight milliseconds."""
    digits = "".join([_ALPHABET[(eighths >> shift) & 31] for shift in range(40, -1, -5)])
    return f"{digits[:5]}-{digits[5:]}"


class _Reserve:
    """The random part of identifiers, drawn for many at once: asking the system costs more than all the rest of one.

    Identifiers are no secrets, so it does not matter that the next ones lie in memory; but a forked process must not
    hand out the same.
    """

    def __init__(self) -> None:
        self._left: list[tuple[int, str]] = []
        os.register_at_fork(after_in_child=self._left.clear)

    def draw(self) -> tuple[int, str]:
        """Two random bits and sixteen random digits, given out once. Safe to call from several threads."""
        try:
            return self._left.pop()
        except IndexError:
            digits = os.urandom(_RANDOM_DIGITS * _RESERVE).translate(_DIGIT_OF_BYTE).decode("ascii")
            ends = [digits[at : at + _RANDOM_DIGITS] for at in range(0, len(digits), _RANDOM_DIGITS)]
            drawn = [(byte & 3, end) for byte, end in zip(os.urandom(_RESERVE), ends, strict=True)]
            first = drawn.pop()
            self._left += drawn
            return first


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
        now = self.clock() & ((1 << 48) - 1)
        if self.randomness is os.urandom:
            bits, digits = _reserve.draw()
            # The tenth digit holds the last three bits of the clock and two random ones.
            return f"{prefix}-{_clock_digits(now >> 3)}{_ALPHABET[(now & 7) << 2 | bits]}-{digits}"
        random_bits = int.from_bytes(self.randomness(_RANDOM_BYTES), "big") & ((1 << 82) - 1)
        return encode_id(prefix, (now << 82) | random_bits)
