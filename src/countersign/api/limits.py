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
        buckets = self._buckets
        level, since = buckets.get(key, (self._size, now_ms))
        if now_ms > since:
            level += (now_ms - since) * self._rate
            if level > self._size:
                level = self._size
        admitted = level >= 1
        buckets[key] = (level - 1 if admitted else level, now_ms)
        buckets.move_to_end(key)
        if len(buckets) > self._most_keys:
            buckets.popitem(last=False)
        return None if admitted else max(1, math.ceil((1 - level) / self._rate / 1000))
