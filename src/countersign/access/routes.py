"""What the challenge must know of routing: whether a request could be made at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from countersign.encoding.target import Target


@dataclass(frozen=True, slots=True)
class Routes:
    """``look``: whether an operation is declared for method and decoded segments; ``prefix``: the mount prefix."""

    look: Callable[[str, Sequence[str]], bool]
    prefix: tuple[str, ...] = ()

    def without_prefix(self, target: Target) -> Target:
        """Clients sign the path with or without the prefix of the base URL they were given."""
        size = len(self.prefix)
        if size and target.segments[:size] == self.prefix:
            return Target(target.segments[size:], target.query, target.has_query)
        return target
