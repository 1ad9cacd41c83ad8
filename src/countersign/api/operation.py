"""An operation is declared once; routing, checks, schemas, documents and tests derive from the declaration."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

Handler = Callable[..., Awaitable[Any]]
F = TypeVar("F", bound=Handler)

#: Kinds of token a bearer may hold.
TokenKind = Literal["Token", "ServiceAccount", "Pat"]
#: Kinds of user a token may belong to; a service account counts as an employee.
UserKind = Literal["CustomerEmployee", "EndUser"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the table. ``path`` holds parameters as ``{name}``; ``body`` and ``query`` are wire types or ``None``.

    ``callers`` are the token kinds admitted, ``user_kinds`` the kinds of user they may belong to: an operation for
    employees and their sessions alone has ``Token`` and ``CustomerEmployee``.
    """

    name: str
    method: str
    path: str
    permission: str | None
    signed: bool
    callers: frozenset[str]
    user_kinds: frozenset[str]
    handler: Handler
    body: type[Any] | None
    query: type[Any] | None
    result: Any
    summary: str
    description: str
    tag: str
    max_body: int
    public: bool
    #: Stable id: the function's name in camel case.
    id: str = field(init=False)

    def __post_init__(self) -> None:
        head, *rest = self.name.split("_")
        object.__setattr__(self, "id", head + "".join(word.capitalize() for word in rest))


_TABLE: dict[tuple[str, str], Operation] = {}

JSON_LIMIT = 1 << 20


def operation(
    method: str,
    path: str,
    *,
    permission: str | None = None,
    signed: bool = False,
    callers: Iterable[TokenKind] = ("Token", "ServiceAccount", "Pat"),
    user_kinds: Iterable[UserKind] = ("CustomerEmployee", "EndUser"),
    max_body: int = JSON_LIMIT,
    public: bool = False,
) -> Callable[[F], F]:
    """Declare the decorated ``async def f(call, body?, query?)`` as the operation at ``method path``.

    ``permission``: the operation name that the caller must hold, ``None`` for none. ``signed``: needs a
    user action signature. ``callers`` and ``user_kinds``: who is admitted, whatever they hold. ``public``: takes no
    authentication. Bodies are typed by the annotation of ``body``, queries by that of ``query``.
    """

    def declare(function: F) -> F:
        hints = typing.get_type_hints(function, include_extras=True)
        document = inspect.cleandoc(function.__doc__ or "")
        if not document:
            raise TypeError(f"operation {function.__name__} has no docstring")
        if (method, path) in _TABLE:
            raise TypeError(f"{method} {path} is declared twice")
        _TABLE[method, path] = Operation(
            name=function.__name__,
            method=method,
            path=path,
            permission=permission,
            signed=signed,
            callers=frozenset(callers),
            user_kinds=frozenset(user_kinds),
            handler=function,
            body=hints.get("body"),
            query=hints.get("query"),
            result=hints["return"],
            summary=document.splitlines()[0].rstrip("."),
            description=document,
            tag=function.__module__.split(".")[1],
            max_body=max_body,
            public=public,
        )
        return function

    return declare


def declared() -> tuple[Operation, ...]:
    """Every operation declared by the modules imported so far, by path and method."""
    return tuple(_TABLE[key] for key in sorted(_TABLE, key=lambda key: (key[1], key[0])))
