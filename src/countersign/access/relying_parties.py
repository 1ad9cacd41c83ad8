"""The relying parties of an organisation: which passkeys may be made for, and where they may be used."""

from __future__ import annotations

from countersign.access import store
from countersign.access.types import RelyingParty as ShownParty
from countersign.credentials.relying_party import RelyingParty
from countersign.storage import Transaction


def list_parties(org_id: str) -> Transaction[tuple[RelyingParty, ...]]:
    """Every relying party with its exact origins: the organisation's own and those of its active applications."""
    origins: dict[str, set[str]] = {}
    for rp_id, origin in (yield store.LIST_ORIGINS, (org_id,)):
        origins.setdefault(rp_id, set()).add(origin)
    return tuple(RelyingParty(rp_id, frozenset(listed)) for rp_id, listed in origins.items())


def shown_party(org_id: str, app_id: str | None) -> Transaction[ShownParty | None]:
    """The one that a challenge names: that of the application where one is named, else the default."""
    rows = (yield store.RELYING_PARTY_OF_APPLICATION, (org_id, app_id)) if app_id is not None else ()
    if not rows:
        rows = yield store.DEFAULT_RELYING_PARTY, (org_id,)
    return ShownParty(id=rows[0][0], name=rows[0][1]) if rows else None
