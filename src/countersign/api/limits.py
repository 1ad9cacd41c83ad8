"""How often something may be done: by an organisation, from an address, with a code. Counted in this process."""

from __future__ import annotations

import math
from collections import OrderedDict


class TokenBuckets:
    """One bucket a key: ``size`` requests in ``window_ms``, a burst of the same size. Memory is bounded.

    A forgotten bucket is a full one, so the oldest are dropped first.
    """

    def __init__(self, size: int, *, window_ms: int = 60_000, most_keys: int = 100_000) -> None:
        self._rate = size / window_ms
        self._size = float(size)
        self._most_keys = most_keys
        self._buckets: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def take(self, key: str, now_ms: int) -> int | None:
        """``None`` when the request is admitted, else the seconds to wait."""
        level, since = self._buckets.get(key, (self._size, now_ms))
        level = min(self._size, level + max(0, now_ms - since) * self._rate)
        admitted = level >= 1
        self._buckets[key] = (level - 1 if admitted else level, now_ms)
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._most_keys:
            self._buckets.popitem(last=False)
        return None if admitted else max(1, math.ceil((1 - level) / self._rate / 1000))
