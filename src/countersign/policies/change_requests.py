"""Changes that a policy may hold: asked for, kept with their target state, and applied once they are approved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, TypeVar

import msgspec

from countersign.api import UNSET, Caller, Effect, UnsetType, Wire, conflict, encode
from countersign.api.wire import Held as HeldAnswer
from countersign.encoding.dates import to_iso
from countersign.policies import held, store
from countersign.policies.activity import ChangeActivity, ChangeKind
from countersign.policies.deciding import Block, Hold, Proceed, decide
from countersign.policies.events import tell
from countersign.policies.held import Entity
from countersign.storage import Row, Transaction
from countersign.world import World

T = TypeVar("T")

ENTITY_KIND = "changeRequest"

# Limits of policies are exact decimals.
_decode_exactly = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode


Status = Literal["Pending", "Applied", "Rejected", "Failed"]


class ChangeRequester(Wire):
    """Who asked; ``tokenId`` when a personal access token was used, ``appId`` when the token is of an application."""

    user_id: str
    token_id: str | UnsetType = UNSET
    app_id: str | UnsetType = UNSET


class ChangeRequest(HeldAnswer):
    """A change that waits for an approval, or what became of it; ``body`` is what the entity is to be."""

    id: str
    requester: ChangeRequester
    kind: Literal["Permission", "Assignment", "Policy", "Alias", "SmartContract"]
    operation_kind: Literal["Create", "Update", "Delete"]
    status: Status
    entity_id: str
    date_created: str
    date_resolved: str | UnsetType = UNSET
    approval_id: str | UnsetType = UNSET
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """What somebody wants to change. ``entity_id``: no two changes of it wait at once. ``body``: the target state.

    ``permission_id`` and ``policy_id``: what the filters of policies look at.
    """

    activity_kind: ChangeKind
    kind: Literal["Permission", "Assignment", "Policy", "Alias", "SmartContract"]
    operation_kind: Literal["Create", "Update", "Delete"]
    entity_id: str
    body: dict[str, Any] | Wire
    permission_id: str | None = None
    policy_id: str | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """The change is made; ``entities`` are the ids of what changed."""

    entities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """The change can't be made any more, and nothing was written."""

    reason: str


#: Makes an approved change, given organisation and change request; it looks before it writes, and never raises.
Apply = Callable[[str, ChangeRequest, World], Transaction[Applied | Failed]]

_APPLY: dict[str, Apply] = {}


def register_change(kind: str, apply: Apply) -> None:
    """Say how approved changes of this kind are made."""
    _APPLY[kind] = apply


def guard(
    caller: Caller,
    change: Change,
    make: Callable[[], Transaction[Effect[T]]],
    world: World,
    *,
    bypass_approval: bool = False,
) -> Transaction[Effect[T | ChangeRequest]]:
    """Make a change, hold it, or refuse it, as the organisation's policies say; inside the transaction of the change.

    ``make`` makes it right away. Held, the effect's value is the change request, answered with 202; the domain makes
    the change later, by what it gave to :func:`register_change`. Blocked, the request is stored as ``Rejected`` and the
    caller gets 403. 409 while another change of the same entity waits. ``bypass_approval``: a policy that asks for an
    approval does not hold it; one that blocks still does.

    The caller holds the row of the entity before (an update that changes nothing), so that one change at a time gets
    here.
    """
    waiting = yield store.PENDING_CHANGE_REQUEST, (caller.org_id, change.entity_id)
    if waiting:
        raise _pending(waiting[0][0])
    now = world.now()
    request_id = world.new_id("cr")
    activity = ChangeActivity(change.activity_kind, caller.user_id, now, change.permission_id, change.policy_id)
    entity = Entity(ENTITY_KIND, request_id)
    verdict = yield from decide(caller.org_id, activity, entity, world, bypass_approval=bypass_approval)
    if isinstance(verdict, Proceed):
        done = yield from make()
        if verdict.evaluated:
            made = _request(caller, change, request_id, "Applied", now)
            yield from tell(caller.org_id, verdict, change.activity_kind, ENTITY_KIND, made, world)
        return Effect(done.value, done.entities, done.enrolled, done.status, done.code, done.refused)
    refused = verdict if isinstance(verdict, Block) else None
    approval_id = verdict.approval_id if isinstance(verdict, Hold) else None
    status: Status = "Pending" if refused is None else "Rejected"
    request = _request(caller, change, request_id, status, now, approval_id)
    row = (
        caller.org_id,
        request_id,
        encode(request.requester).decode(),
        change.activity_kind,
        request.kind,
        request.operation_kind,
        request.status,
        request.entity_id,
        encode(change.body).decode(),
        approval_id,
        None if refused is None else refused.reason,
        now,
        None if refused is None else now,
    )
    if not (yield store.INSERT_CHANGE_REQUEST, row):
        raise _pending(None)
    yield from tell(caller.org_id, verdict, change.activity_kind, ENTITY_KIND, request, world)
    if refused is not None:
        return Effect(request, (request_id, change.entity_id), refused=refused.error)
    entities = (request_id, *((approval_id,) if approval_id is not None else ()), change.entity_id)
    return Effect(request, entities, status=202)


def _request(
    caller: Caller, change: Change, request_id: str, status: Status, now: int, approval_id: str | None = None
) -> ChangeRequest:
    """What is shown of a change; one that does not wait is resolved with the same breath."""
    return ChangeRequest(
        id=request_id,
        requester=ChangeRequester(
            user_id=caller.user_id,
            token_id=caller.token_id if caller.token_kind == "Pat" else UNSET,
            app_id=UNSET if caller.app_id is None else caller.app_id,
        ),
        kind=change.kind,
        operation_kind=change.operation_kind,
        status=status,
        entity_id=change.entity_id,
        date_created=to_iso(now),
        date_resolved=UNSET if status == "Pending" else to_iso(now),
        approval_id=UNSET if approval_id is None else approval_id,
        body=_decode_exactly(encode(change.body)),
    )


def pending(org_id: str, entity_id: str) -> Transaction[ChangeRequest | None]:
    """The change of an entity that waits for an approval."""
    rows = yield store.PENDING_CHANGE_REQUEST, (org_id, entity_id)
    return change_request(rows[0]) if rows else None


def pending_among(org_id: str, entity_ids: Sequence[str]) -> Transaction[dict[str, ChangeRequest]]:
    """The same for a page of entities, newest first: by entity, of those alone whose change waits."""
    if not entity_ids:
        return {}
    rows = yield store.LIST_PENDING_CHANGE_REQUESTS, (org_id, entity_ids[-1], entity_ids[0])
    wanted = frozenset(entity_ids)
    return {request.entity_id: request for request in map(change_request, rows) if request.entity_id in wanted}


def change_request(row: Row) -> ChangeRequest:
    """A change request from its row (columns of ``store.GET_CHANGE_REQUEST``, from the first on)."""
    request_id, requester, kind, operation_kind, status, entity_id, created_at, resolved_at, approval_id, body = row[
        :10
    ]
    return ChangeRequest(
        id=request_id,
        requester=msgspec.json.decode(requester, type=ChangeRequester),
        kind=kind,
        operation_kind=operation_kind,
        status=status,
        entity_id=entity_id,
        date_created=to_iso(created_at),
        date_resolved=UNSET if resolved_at is None else to_iso(resolved_at),
        approval_id=UNSET if approval_id is None else approval_id,
        body=_decode_exactly(body),
    )


class _ChangeRequests:
    """Change requests as something that policies hold."""

    def show(self, org_id: str, entity_id: str) -> Transaction[Wire]:
        return change_request((yield store.GET_CHANGE_REQUEST, (org_id, entity_id))[0])

    def approved(self, org_id: str, entity_id: str, world: World) -> Transaction[tuple[str, ...]]:
        request = yield from self._waiting(org_id, entity_id)
        if request is None:
            return ()
        outcome = yield from _APPLY[request.kind](org_id, request, world)
        status, reason = ("Failed", outcome.reason) if isinstance(outcome, Failed) else ("Applied", None)
        yield store.RESOLVE_CHANGE_REQUEST, (status, reason, world.now(), org_id, entity_id)
        return (entity_id, *(outcome.entities if isinstance(outcome, Applied) else ()))

    def rejected(self, org_id: str, entity_id: str, reason: str, world: World) -> Transaction[tuple[str, ...]]:
        rows = yield store.RESOLVE_CHANGE_REQUEST, ("Rejected", reason, world.now(), org_id, entity_id)
        return (entity_id,) if rows else ()

    def tell(self, org_id: str, entity_id: str, world: World) -> Transaction[None]:
        yield from ()

    def _waiting(self, org_id: str, entity_id: str) -> Transaction[ChangeRequest | None]:
        rows = yield store.GET_CHANGE_REQUEST, (org_id, entity_id)
        request = change_request(rows[0]) if rows else None
        return request if request is not None and request.status == "Pending" else None


def _pending(request_id: str | None) -> Exception:
    return conflict("Another change of this entity waits for an approval", entity_id=request_id)


held.register(ENTITY_KIND, _ChangeRequests())
