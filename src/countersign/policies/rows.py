"""Approvals as they are stored, and as clients see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from countersign.api import UNSET, not_found
from countersign.encoding.dates import to_iso
from countersign.policies import held, store
from countersign.policies.approvals import ApprovalState, Vote, status_at
from countersign.policies.types import (
    ActivityKind,
    Approval,
    ApprovalGroup,
    ApprovalStatus,
    Decision,
    PolicyEvaluation,
)
from countersign.storage import Row, Transaction

_groups = msgspec.json.Decoder(tuple[ApprovalGroup, ...]).decode
_evaluations = msgspec.json.Decoder(list[PolicyEvaluation]).decode


@dataclass(frozen=True, slots=True)
class StoredApproval:
    """A row of ``policy_approvals``, in the order of ``store.APPROVAL_COLUMNS``. Times in ms, ``status`` as stored."""

    approval_id: str
    initiator_id: str
    activity_kind: ActivityKind
    entity_kind: str
    entity_id: str
    status: ApprovalStatus
    groups: str
    evaluations: str
    expires_at: int | None
    created_at: int
    updated_at: int
    resolved_at: int | None

    def state(self, decisions: Sequence[Row]) -> ApprovalState:
        """The same with its votes, as the rules about votes look at it."""
        votes = tuple(Vote(row[0], row[1]) for row in decisions)
        return ApprovalState(self.initiator_id, _groups(self.groups), self.expires_at, votes, self.status)


def find_approval(org_id: str, approval_id: str, now: int) -> Transaction[Approval]:
    """One approval, as it stands at that time; 404 without it."""
    rows = yield store.GET_APPROVAL, (org_id, approval_id)
    if not rows:
        raise not_found("approval")
    return (yield from show(org_id, StoredApproval(*rows[0]), now))


def show(org_id: str, stored: StoredApproval, now: int) -> Transaction[Approval]:
    """An approval with its decisions and with the entity that it is about, as that is now."""
    decisions = yield store.LIST_DECISIONS, (org_id, stored.approval_id)
    entity = yield from held.of(stored.entity_kind).show(org_id, stored.entity_id)
    status = status_at(stored.state(decisions), now)
    # What ended by the clock ended then, whenever somebody wrote it down.
    resolved_at = stored.expires_at if status == "Expired" else stored.resolved_at
    return Approval(
        id=stored.approval_id,
        initiator_id=stored.initiator_id,
        activity={"kind": stored.activity_kind, stored.entity_kind: entity},
        status=status,
        expiration_date=UNSET if stored.expires_at is None else to_iso(stored.expires_at),
        date_created=to_iso(stored.created_at),
        date_updated=to_iso(max(stored.updated_at, resolved_at or 0)),
        date_resolved=UNSET if resolved_at is None else to_iso(resolved_at),
        policy_evaluations=_evaluations(stored.evaluations),
        decisions=[Decision(user_id=row[0], value=row[1], reason=row[2], date=to_iso(row[3])) for row in decisions],
    )
