"""What an operation works with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from countersign.api.caller import Caller
from countersign.api.effect import Effect
from countersign.api.request import Request
from countersign.storage import Transaction
from countersign.world import World

T = TypeVar("T")


class Superseded(Exception):
    """Raised in an effect: what was prepared before the transaction fits no longer, and may be prepared anew.

    Rolls the effect back and leaves the consent unspent, so that the call may commit again.
    """


class Call(ABC):
    """One call of one operation: the request, its caller, and the only ways to read and to change state.

    ``services`` holds what a domain was given at start-up (a signer, a key set), by its type.
    """

    request: Request
    params: Mapping[str, str]
    world: World

    @property
    @abstractmethod
    def caller(self) -> Caller:
        """Who calls; ``LookupError`` where the operation takes no authentication."""

    @property
    def org_id(self) -> str:
        """The caller's organisation; every look-up filters on it."""
        return self.caller.org_id

    @abstractmethod
    def service(self, kind: type[T]) -> T:
        """The service of this type."""

    @abstractmethod
    async def read(self, make: Callable[[], Transaction[T]]) -> T:
        """Run a reading transaction."""

    @abstractmethod
    async def commit(self, make: Callable[[], Transaction[Effect[T]]], *, hold_caller: bool = False) -> T:
        """Spend the consent, run the effect and append the audit entry, in one transaction; once per call.

        ``hold_caller``: whoever shuts the caller out meanwhile waits until this has ended, and then finds what it made.
        For effects that give the caller another way in, or change the caller's own row: several of those at once would
        otherwise deadlock. The transaction is otherwise free to end a moment after.

        Raises ``ApiError``: 400 ``USER_ACTION_REUSED`` when the action was spent before, 401 or 403 when
        the caller lost its rights meanwhile. An ``ApiError`` of the effect rolls it back, and the action
        counts as used all the same; one that the effect hands back (``Effect.refused``) leaves what it wrote.
        :class:`Superseded` is passed on, with nothing spent.
        """

    @abstractmethod
    async def write(self, make: Callable[[], Transaction[T]]) -> T:
        """Run a transaction that follows :meth:`commit`, such as the outcome of a signature.

        An operation that takes no user action writes with it as well, and appends an audit entry of its own where it
        changes who can do what.
        """

    @property
    @abstractmethod
    def action_id(self) -> str:
        """Id of the user action, which is the id of its audit entry."""

    @property
    @abstractmethod
    def evidence(self) -> Any:
        """The consent evidence that an order to the signer carries."""
