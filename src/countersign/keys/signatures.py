"""Signature requests as rows: the two transactions of a signature, and the lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from countersign import policies
from countersign.api import UNSET, Caller, Effect, PageRequest, conflict, encode, not_found
from countersign.api.idempotency import Repeat, Taken, bind
from countersign.keys import key_settings, keys, records, store, views
from countersign.keys.ownership import require_usable
from countersign.keys.types import Requester, SignatureParts, SignatureRequest
from countersign.policies import Block, Entity, Hold, blocked_before, decide
from countersign.storage import Row, Transaction
from countersign.storage.pagination import page_of
from countersign.webhooks import EventKind, emit
from countersign.world import World

ENTITY_KIND = "signatureRequest"


@dataclass(frozen=True, slots=True)
class NewSignature:
    """A request as it is stored before the signer is asked; ``payload_hash`` is of the canonical body."""

    signature_id: str
    key_id: str
    body: dict[str, Any]
    external_id: str | None
    payload_hash: str
    action_id: str


@dataclass(frozen=True, slots=True)
class Started:
    """``request`` as stored; ``fresh`` when it is this call that has to sign."""

    request: SignatureRequest
    fresh: bool


def start(caller: Caller, new: NewSignature, world: World) -> Transaction[Effect[Started]]:
    """First transaction: the request as ``Executing``, or the one that its ``externalId`` is bound to.

    Policies may make it wait (``Pending``) or block it (``Rejected``, and the caller gets 403, a repeat too). Keys of
    end users are bound by none. The key is held: whoever archives or delegates it is done before, and heeded, or waits.
    """
    org_id = caller.org_id
    held, revision = yield from keys.hold_to_sign(org_id, new.key_id)
    key = require_usable(held, caller)
    yield from key_settings.require_kept(org_id, key)
    if new.external_id is not None:
        bound = yield from bind(org_id, "Signature", new.external_id, new.signature_id, new.key_id, new.payload_hash)
        if isinstance(bound, Taken):
            raise conflict(
                "Conflicting signature request with same externalId",
                entity_id=bound.entity_id,
                external_id=new.external_id,
            )
        if isinstance(bound, Repeat):
            existing = yield from get(org_id, new.key_id, bound.entity_id)
            if existing is None:
                raise not_found("signature request")
            refused = (yield from blocked_before(org_id, existing.id)) if existing.status == "Rejected" else None
            return Effect(Started(existing, fresh=False), (bound.entity_id,), refused=refused)
    now = world.now()
    activity = records.activity(new.key_id, key.delegated_to is not None, new.body, caller.user_id, now)
    entity = Entity(ENTITY_KIND, new.signature_id)
    verdict = yield from decide(org_id, activity, entity, world, revision=revision, history=records.history(org_id))
    requester = Requester(user_id=caller.user_id, token_id=caller.token_id if caller.token_kind == "Pat" else UNSET)
    body = encode(new.body).decode()
    status, reason, approval_id, resolved_at = "Executing", None, None, None
    if isinstance(verdict, Hold):
        status, approval_id = "Pending", verdict.approval_id
    elif isinstance(verdict, Block):
        status, reason, resolved_at = "Rejected", verdict.reason, now
    elif verdict.evaluated:
        resolved_at = now
    arguments = (
        org_id,
        new.signature_id,
        new.key_id,
        encode(requester).decode(),
        body,
        status,
        reason,
        new.external_id,
        new.action_id,
        now,
        approval_id,
        resolved_at,
    )
    yield store.INSERT_SIGNATURE, arguments
    row = (
        new.signature_id,
        new.key_id,
        encode(requester),
        body,
        status,
        reason,
        None,
        now,
        None,
        new.external_id,
        approval_id,
        resolved_at,
    )
    request = views.signature(row)
    yield from tell(org_id, "wallet.signature.requested", request, world)
    yield from policies.tell(org_id, verdict, activity.kind, ENTITY_KIND, request, world)
    if status == "Rejected":
        yield from tell(org_id, "wallet.signature.rejected", request, world)
    started = Started(request, fresh=status == "Executing")
    entities = (new.signature_id,) if approval_id is None else (new.signature_id, approval_id)
    return Effect(started, entities, refused=verdict.error if isinstance(verdict, Block) else None)


def tell(org_id: str, kind: EventKind, request: SignatureRequest, world: World) -> Transaction[None]:
    """Tell webhooks what became of a request."""
    yield from emit(org_id, kind, {ENTITY_KIND: request}, world)


def finish(org_id: str, signature_id: str, parts: SignatureParts, now: int) -> Transaction[SignatureRequest | None]:
    """Second transaction: ``Signed``; ``None`` when somebody finished it before, or the key was archived."""
    rows = yield store.FINISH_SIGNATURE, (encode(parts).decode(), now, org_id, signature_id)
    return views.signature(rows[0]) if rows else None


def fail(org_id: str, signature_id: str, reason: str) -> Transaction[SignatureRequest | None]:
    """Second transaction: ``Failed`` with a reason; ``None`` when somebody finished it before."""
    rows = yield store.FAIL_SIGNATURE, (reason, org_id, signature_id)
    return views.signature(rows[0]) if rows else None


def get(org_id: str, key_id: str, signature_id: str) -> Transaction[SignatureRequest | None]:
    """One request of one key."""
    rows = yield store.GET_SIGNATURE, (org_id, signature_id, key_id)
    return views.signature(rows[0]) if rows else None


def list_page(
    org_id: str, key_id: str, page: PageRequest
) -> Transaction[tuple[list[SignatureRequest], str | None] | None]:
    """A page of the requests of a key; ``None`` when there is no such key."""
    rows = yield store.LIST_SIGNATURES, (org_id, key_id, page.before, page.limit + 1)
    if not rows and not (yield store.KEY_STATUS, (org_id, key_id)):
        return None
    shown, token = page_of(rows, page.limit, page.scope, lambda row: str(row[0]))
    return [views.signature(row) for row in shown], token


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A request that was left ``Executing``."""

    org_id: str
    signature_id: str
    key_id: str
    body: dict[str, Any]
    action_id: str
    approval_id: str | None = None


def unfinished(before: int, limit: int) -> Transaction[list[Unfinished]]:
    """Requests of any organisation that are ``Executing`` and were made before that time (ms); none that waited.

    What was approved has a job of its own.
    """
    return [_unfinished(row) for row in (yield store.LIST_EXECUTING, (before, limit))]


def approved(org_id: str, signature_id: str) -> Transaction[Unfinished | None]:
    """One request that was approved and is to be signed; ``None`` when it was signed, or failed."""
    rows = yield store.GET_EXECUTING, (org_id, signature_id)
    return _unfinished(rows[0]) if rows else None


def _unfinished(row: Row) -> Unfinished:
    org_id, signature_id, key_id, body, action_id, approval_id = row
    return Unfinished(org_id, signature_id, key_id, msgspec.json.decode(body), action_id, approval_id)
