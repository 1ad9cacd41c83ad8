"""The end of everything that a person had, where new credentials take its place: recovery and break-glass."""

from __future__ import annotations

from dataclasses import dataclass

from countersign.identity import renewal_store as store
from countersign.storage import Transaction

_FOR_EVER = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Ended:
    """Ids of what was archived, and until when (ms) the person changes nothing; 0 for no such time."""

    ids: tuple[str, ...]
    held_until: int


def end_everything(org_id: str, user_id: str, held_until: int, *, lift_hold: bool = False) -> Transaction[Ended | None]:
    """Archive every credential, session and personal access token. ``None`` for who is not active.

    The raised epoch voids whatever was begun: challenges, actions signed and not used, codes. ``held_until`` (ms): from
    when on the person changes anything again, 0 for at once; a longer hold from before stays, unless it is lifted.
    """
    longest = 0 if lift_hold else _FOR_EVER
    renewed = yield store.RENEW_USER, (held_until, longest, held_until, org_id, user_id)
    if not renewed:
        return None
    credentials = yield store.ARCHIVE_CREDENTIALS, (org_id, user_id)
    tokens = yield store.ARCHIVE_TOKENS, (org_id, user_id)
    return Ended(tuple(str(row[0]) for row in (*credentials, *tokens)), int(renewed[0][0]))
