"""Changes that policies held or refused, as policies see them; those that went on at once are not kept."""

from __future__ import annotations

from collections.abc import Sequence

from countersign.encoding.dates import from_iso
from countersign.policies import store
from countersign.policies.activity import ChangeActivity
from countersign.policies.change_requests import change_request
from countersign.policies.judging import History, unknown_history
from countersign.policies.recorded import Recorded
from countersign.storage import Row, Transaction
from countersign.world import encode_id


class ChangeRecords:
    """All change requests of an organisation."""

    def find(self, org_id: str, entity_id: str) -> Transaction[Recorded | None]:
        """One change request."""
        rows = yield store.GET_CHANGE_REQUEST, (org_id, entity_id)
        return _recorded(rows[0]) if rows else None

    def page(self, org_id: str, after: str, limit: int) -> Transaction[Sequence[Recorded]]:
        """Some of them, oldest first."""
        return [_recorded(row) for row in (yield store.LIST_CHANGE_REQUESTS, (org_id, after, limit))]

    def first_id(self, since: int) -> str:
        """An id before all those of requests since then: they get it when they are made."""
        return encode_id("cr", max(since - 1, 0) << 82)

    def count(self, org_id: str, after: str) -> Transaction[int]:
        """How many there are behind it."""
        return int((yield store.COUNT_CHANGE_REQUESTS, (org_id, after))[0][0])

    def history_of(self, _org_id: str, _recorded: Recorded) -> History:
        """No velocity looks at changes."""
        return unknown_history


def _recorded(row: Row) -> Recorded:
    request = change_request(row)
    body = request.body
    permission_id = {"Permission": request.entity_id, "Assignment": body.get("permissionId")}.get(request.kind)
    policy_id = request.entity_id if request.kind == "Policy" else None
    at = from_iso(request.date_created)
    activity = ChangeActivity(row[10], request.requester.user_id, at, permission_id, policy_id)
    return Recorded(request.id, request.status, activity)
