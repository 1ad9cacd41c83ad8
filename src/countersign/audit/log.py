"""Appending to the log, within the transaction of the change that an entry tells of."""

from __future__ import annotations

from countersign.audit import store
from countersign.audit.entry import Entry, Signature, encode
from countersign.encoding import dates
from countersign.storage import Transaction


def append(entry: Entry, sealed_payload: bytes | None) -> Transaction[bool]:
    """Add ``entry`` to its organisation's log; ``sealed_payload`` is kept beside it, outside the tree.

    ``False`` when an entry of this id exists: the action was spent before, and nothing is changed. The
    position in the tree is given later by the sequencer, so no counter makes mutations wait for each other.
    """
    row = (
        entry.org_id,
        entry.id,
        "" if isinstance(entry, Signature) else entry.user_id or "",
        dates.from_iso(entry.date_performed),
        encode(entry).decode("utf-8"),
        sealed_payload,
    )
    if not (yield store.INSERT_ENTRY, row):
        return False
    yield store.INSERT_UNSEQUENCED, (entry.org_id, entry.id)
    return True
