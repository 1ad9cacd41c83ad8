"""What this process made a moment ago, under the text that it handed out.

A token that comes back to the very process that made it is recognised, and need not be read and verified again: equal
text is the same token. One that is not recognised is read in full.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """At most ``most`` values by text; the oldest are forgotten."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[str, T] = OrderedDict()

    def keep(self, text: str, value: T) -> None:
        """Remember the value."""
        self._values[text] = value
        if len(self._values) > self._most:
            self._values.popitem(last=False)

    def get(self, text: str) -> T | None:
        """The value, if it is remembered."""
        return self._values.get(text)

    def take(self, text: str) -> T | None:
        """The same, and forget it."""
        return self._values.pop(text, None)
