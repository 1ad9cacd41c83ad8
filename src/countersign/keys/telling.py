"""Events of keys, told with the change that they are of; each shows the key as the API shows it."""

from __future__ import annotations

from countersign.api import Effect
from countersign.keys import keys, signatures, store, views
from countersign.keys.types import Key
from countersign.storage import Transaction
from countersign.webhooks import EventKind, emit
from countersign.world import World


def created(org_id: str, making: Transaction[Effect[Key]], world: World) -> Transaction[Effect[Key]]:
    """Make a key and tell of it."""
    done = yield from making
    yield from emit(org_id, "key.created", {"key": done.value}, world)
    return done


def archived(org_id: str, key_id: str, world: World) -> Transaction[Effect[Key]]:
    """Archive a key and tell of it, and of the requests that fail with it."""
    done = yield from keys.archive(org_id, key_id, world.now())
    yield from emit(org_id, "key.deleted", {"key": done.value}, world)
    for signature_id in done.entities[1:]:
        row = (yield store.GET_SIGNATURE_BY_ID, (org_id, signature_id))[0]
        yield from signatures.tell(org_id, "wallet.signature.failed", views.signature(row), world)
    return done


def changed(org_id: str, key_id: str, kind: EventKind, world: World) -> Transaction[None]:
    """Tell what became of a key, as it is now."""
    key = yield from keys.stored(org_id, key_id)
    if key is not None:
        yield from emit(org_id, kind, {"key": views.key(key)}, world)
