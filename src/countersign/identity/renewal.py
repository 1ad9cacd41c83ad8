"""The end of everything that a person had, where new credentials take its place: recovery and break-glass."""

from __future__ import annotations

from countersign.identity import renewal_store as store
from countersign.storage import Transaction


def end_everything(org_id: str, user_id: str, held_until: int) -> Transaction[tuple[str, ...] | None]:
    """Archive every credential, session and personal access token; their ids. ``None`` for who is not active.

    The raised epoch voids whatever was begun: challenges, actions signed and not used, codes. ``held_until`` (ms): from
    when on the person changes anything again, 0 for at once.
    """
    if not (yield store.RENEW_USER, (held_until, org_id, user_id)):
        return None
    credentials = yield store.ARCHIVE_CREDENTIALS, (org_id, user_id)
    tokens = yield store.ARCHIVE_TOKENS, (org_id, user_id)
    return tuple(str(row[0]) for row in (*credentials, *tokens))
