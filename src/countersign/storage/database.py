"""What every engine offers, and how it says that it cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from countersign.storage.transaction import Statement, T, Transaction


class StorageUnavailable(Exception):
    """The database cannot take this now: disk full, read-only, unreachable, too busy. Answer 503.

    ``reason`` is safe to show (it holds no address, name or value; only where a local command cannot
    make or find a file does it name the file). ``unknown_outcome``: the
    connection or the disk failed while committing, so the change may or may not have been made;
    whoever repeats it must rest on a unique key.
    """

    def __init__(self, reason: str, *, unknown_outcome: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.unknown_outcome = unknown_outcome


@dataclass(frozen=True, slots=True)
class Timeouts:
    """After how many seconds PostgreSQL gives up: on a statement, on waiting for a lock, and on a transaction in which
    nothing happens (whoever began it hangs, and holds locks). SQLite has one writer and needs none.
    """

    statement: float = 30
    lock: float = 10
    idle_transaction: float = 30


class ConstraintViolated(Exception):
    """A statement met a unique key or a NOT NULL it did not provide for; a defect of the caller.

    Statements that expect a conflict say ``ON CONFLICT DO NOTHING`` and look at the rows. The text
    names the statement, never the values.
    """

    def __init__(self, statement: str) -> None:
        super().__init__(f"statement {statement} violates a constraint")
        self.statement = statement


@dataclass(slots=True)
class Statistics:
    """Ever increasing counts, read by metrics and by the tests that bound the cost of a request.

    ``statements``: those that transactions yielded, reads and writes, re-runs included (not BEGIN,
    SAVEPOINT, COMMIT). ``write_transactions``: calls of ``write`` that began, re-runs not counted
    again. ``commits``: commits of the engine; SQLite makes one for a whole batch.
    """

    statements: int = 0
    commits: int = 0
    write_transactions: int = 0


class Database(Protocol):
    """One open database; made by ``open_database``, used on the event loop that opened it."""

    engine: str
    """``"sqlite"`` or ``"postgresql"``."""

    statistics: Statistics

    async def write(self, make: Callable[[], Transaction[T]]) -> T:
        """Run the transaction that ``make`` gives and answer its value once it is durable.

        ``make`` may be called again after a conflict. An exception raised inside rolls back and
        reaches the caller. Raises ``StorageUnavailable`` and ``ConstraintViolated``.
        """
        ...

    async def read(self, make: Callable[[], Transaction[T]]) -> T:
        """Run statements that change nothing; each sees what was committed before it.

        Several statements are not one snapshot (on PostgreSQL that would cost two round trips more
        per read): what must hold together belongs into one statement.
        """
        ...

    def on_commit(self, statement: Statement, tell: Callable[[], None]) -> None:
        """Call ``tell`` on the event loop soon after a transaction of this process that ran ``statement`` is durable.

        A hint, no more: it may come for nothing, and other processes' transactions give none.
        """
        ...

    async def close(self) -> None:
        """Finish the writes under way and close every connection."""
        ...
