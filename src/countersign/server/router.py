"""Station 2: decoded segments to the declared operation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from countersign.api import Operation


class Route(msgspec.Struct, frozen=True):
    """An operation and the values of its path parameters."""

    operation: Operation
    params: dict[str, str]


@dataclass(frozen=True, slots=True)
class NoMethod:
    """The path exists, the method does not; ``allowed`` for the Allow header."""

    allowed: tuple[str, ...]


@dataclass(slots=True)
class _Node:
    literals: dict[str, _Node] = field(default_factory=dict)
    parameter: _Node | None = None
    methods: dict[str, tuple[Operation, tuple[str, ...]]] = field(default_factory=dict)


class Router:
    """A trie over segments; a literal wins over a parameter. Paths without parameters are found at once."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._root = _Node()
        self._fixed: dict[tuple[str, ...], _Node] = {}
        for operation in operations:
            names: list[str] = []
            node = self._root
            segments = tuple(operation.path.strip("/").split("/"))
            for segment in segments:
                if segment.startswith("{"):
                    names.append(segment[1:-1])
                    node.parameter = node.parameter or _Node()
                    node = node.parameter
                else:
                    node = node.literals.setdefault(segment, _Node())
            node.methods[operation.method] = (operation, tuple(names))
            if not names:
                self._fixed[segments] = node

    def find(self, method: str, segments: Sequence[str]) -> Route | NoMethod | None:
        """The route, or why there is none."""
        node: _Node | None = self._fixed.get(tuple(segments))
        values: tuple[str, ...] = ()
        if node is None:
            node, values = self._walk(self._root, segments, 0)
        if node is None:
            return None
        hit = node.methods.get(method)
        if hit is None:
            return NoMethod(tuple(sorted(node.methods)))
        operation, names = hit
        return Route(operation, dict(zip(names, values, strict=True)))

    def _walk(self, node: _Node, segments: Sequence[str], depth: int) -> tuple[_Node | None, tuple[str, ...]]:
        if depth == len(segments):
            return (node, ()) if node.methods else (None, ())
        child = node.literals.get(segments[depth])
        if child is not None:
            found, values = self._walk(child, segments, depth + 1)
            if found is not None:
                return found, values
        if node.parameter is not None:
            found, values = self._walk(node.parameter, segments, depth + 1)
            if found is not None:
                return found, (segments[depth], *values)
        return None, ()
