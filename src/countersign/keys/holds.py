"""Signature requests as something that policies hold."""

from __future__ import annotations

from countersign.api import ApiError, Wire
from countersign.encoding.dates import to_iso
from countersign.keys import key_settings, keys, store, views
from countersign.keys.approved_signatures import sign_later
from countersign.keys.signatures import tell
from countersign.storage import Transaction
from countersign.webhooks import EventKind
from countersign.world import World


class SignatureRequests:
    """What is approved becomes ``Executing``, with a job that signs it: both in the transaction that approves."""

    def show(self, org_id: str, entity_id: str) -> Transaction[Wire]:
        """The request as it is now."""
        return views.signature((yield store.GET_SIGNATURE_BY_ID, (org_id, entity_id))[0])

    def approved(self, org_id: str, entity_id: str, world: World) -> Transaction[tuple[str, ...]]:
        """Let it be signed; ``Failed`` where the key no longer can."""
        rows = yield store.GET_SIGNATURE_BY_ID, (org_id, entity_id)
        reason = yield from _unusable(org_id, rows[0][1])
        now = world.now()
        if reason is None:
            changed = yield store.CLEAR_SIGNATURE, (now, org_id, entity_id)
            if changed:
                yield from sign_later(org_id, entity_id, world)
        else:
            changed = yield store.END_PENDING_SIGNATURE, ("Failed", reason, now, org_id, entity_id)
        return (entity_id,) if changed else ()

    def rejected(self, org_id: str, entity_id: str, reason: str, world: World) -> Transaction[tuple[str, ...]]:
        """It is never signed."""
        changed = yield store.END_PENDING_SIGNATURE, ("Rejected", reason, world.now(), org_id, entity_id)
        return (entity_id,) if changed else ()

    def tell(self, org_id: str, entity_id: str, world: World) -> Transaction[None]:
        """Of the end that the approval's own end was."""
        request = views.signature((yield store.GET_SIGNATURE_BY_ID, (org_id, entity_id))[0])
        if request.status in ("Rejected", "Failed") and request.date_policy_resolved == to_iso(world.now()):
            kind: EventKind = "wallet.signature.rejected" if request.status == "Rejected" else "wallet.signature.failed"
            yield from tell(org_id, kind, request, world)


def _unusable(org_id: str, key_id: str) -> Transaction[str | None]:
    """Why the key signs nothing any more; nobody changes that until the transaction ends."""
    key = yield from keys.hold(org_id, key_id)
    if key is None or key.status != "Active":
        return keys.ARCHIVED
    try:
        yield from key_settings.require_kept(org_id, key)
    except ApiError as error:
        return error.message
    return None
