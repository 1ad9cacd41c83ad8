"""The relying parties of an organisation: which passkeys may be made for, and where they may be used."""

from __future__ import annotations

from countersign.access import store
from countersign.access.types import RelyingParty
from countersign.storage import Transaction


def shown_party(org_id: str, app_id: str | None) -> Transaction[RelyingParty | None]:
    """The one that a challenge names: that of the application where one is named, else the default."""
    rows = (yield store.RELYING_PARTY_OF_APPLICATION, (org_id, app_id)) if app_id is not None else ()
    if not rows:
        rows = yield store.DEFAULT_RELYING_PARTY, (org_id,)
    return RelyingParty(id=rows[0][0], name=rows[0][1]) if rows else None
