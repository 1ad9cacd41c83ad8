"""What was consented to, read back from the log."""

from __future__ import annotations

from collections.abc import Callable

from countersign.audit import store
from countersign.audit.entry import unpack_payload
from countersign.storage import Transaction


def read_action(
    open_payload: Callable[[bytes, str], bytes],
) -> Callable[[str, str], Transaction[tuple[str, bytes] | None]]:
    """A transaction that gives an action's entry (JSON text) and its canonical request body, ``None`` without them.

    ``open_payload`` takes sealed bytes and entry id, and raises ``ValueError`` when they do not open.
    """

    def read(org_id: str, entry_id: str) -> Transaction[tuple[str, bytes] | None]:
        rows = yield store.GET_ENTRY, (org_id, entry_id)
        if not rows or rows[0][1] is None:
            return None
        return rows[0][0], unpack_payload(open_payload(bytes(rows[0][1]), entry_id)).canonical

    return read
