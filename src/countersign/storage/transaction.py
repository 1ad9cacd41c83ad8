"""What a transaction is: a plain generator that yields statements and receives rows (no I/O inside).

    def rename(org_id: str, key_id: str, name: str) -> Transaction[str | None]:
        rows = yield RENAME_KEY, (name, org_id, key_id)
        return rows[0][0] if rows else None

The drivers (`sqlite`, `postgresql`) run it, so the domain is tested without a database, group commit
and retries come for free. A transaction may be run again from its start: it must have no effect but
its statements.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

Row = Sequence[Any]
T = TypeVar("T")

_PLACEHOLDER = re.compile(r"\?")


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """One named SQL statement in the portable dialect, ``?`` for each argument.

    Every statement answers rows; one that changes data says ``RETURNING`` when the caller must know
    whether it matched. ``postgresql`` replaces the text on that engine only (a faster form, or one that
    locks the rows it reads, as SQLite's one writer need not), never the answer. Text must hold no
    literal question mark.
    """

    name: str
    sql: str
    postgresql: str | None = None
    numbered: str = field(init=False)

    def __post_init__(self) -> None:
        count = iter(range(1, 1000))
        text = _PLACEHOLDER.sub(lambda _: f"${next(count)}", self.postgresql or self.sql)
        object.__setattr__(self, "numbered", text)


Step = tuple[Statement, tuple[Any, ...]]
Transaction = Generator[Step, Sequence[Row], T]
