"""Reading the log for the API."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from countersign.audit import csv, store
from countersign.audit.entry import Entry, decode
from countersign.storage import Transaction

#: Rows of one listing at most.
MAX_ROWS = 100_000
PAGE = 500


@dataclass(frozen=True, slots=True)
class ListedEntry:
    """An entry and its place in a listing. ``performed_at``: milliseconds since the epoch."""

    performed_at: int
    entry: Entry


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry and the sealed payload beside it."""

    entry: Entry
    sealed_payload: bytes | None


def list_entries(
    org_id: str,
    start_ms: int,
    end_ms: int,
    user_id: str | None,
    limit: int,
    after: ListedEntry | None = None,
) -> Transaction[list[ListedEntry]]:
    """Actions and system entries performed from ``start_ms`` to ``end_ms`` (both included), oldest first.

    Times in milliseconds since the epoch. ``user_id``: of that user only. ``after``: the last of the page
    before. What keys signed is not listed: it follows from the actions, and stands in exports.
    """
    key = (start_ms, "") if after is None else (after.performed_at, after.entry.id)
    if user_id is None:
        rows = yield store.LIST_ENTRIES, (org_id, end_ms, *key, limit)
    else:
        rows = yield store.LIST_ENTRIES_OF_USER, (org_id, user_id, end_ms, *key, limit)
    return [ListedEntry(row[0], decode(row[2])) for row in rows]


def get_entry(org_id: str, entry_id: str) -> Transaction[StoredEntry | None]:
    """One entry of the organisation."""
    rows = yield store.GET_ENTRY, (org_id, entry_id)
    return StoredEntry(decode(rows[0][0]), None if rows[0][1] is None else bytes(rows[0][1])) if rows else None


@dataclass(frozen=True, slots=True)
class Listing:
    """CSV text, and whether rows were left out."""

    text: str
    truncated: bool


async def listing(
    read: Callable[[Callable[[], Transaction[list[ListedEntry]]]], Awaitable[list[ListedEntry]]],
    org_id: str,
    start_ms: int,
    end_ms: int,
    user_id: str | None,
    *,
    max_rows: int = MAX_ROWS,
) -> Listing:
    """The whole listing as CSV, read in pages that leave the event loop to others in between.

    ``read`` runs a reading transaction (``Database.read``, ``Call.read``).
    """
    rows: list[str] = []
    after: ListedEntry | None = None
    while True:
        page = await read(partial(list_entries, org_id, start_ms, end_ms, user_id, PAGE, after))
        rows += [csv.row(item.entry) for item in page]
        if len(page) < PAGE or len(rows) > max_rows:
            break
        after = page[-1]
        await asyncio.sleep(0)
    truncated = len(rows) > max_rows
    return Listing(csv.document(rows[:max_rows], truncated), truncated)
