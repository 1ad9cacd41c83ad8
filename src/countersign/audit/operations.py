"""The audit log: what callers can do."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta

from countersign.api import UNSET, ApiError, Call, Response, UnsetType, Wire, encode, not_found, operation, validation
from countersign.audit import queries
from countersign.audit.entry import Action, unpack_payload
from countersign.audit.view import to_log
from countersign.encoding import dates

#: Actions whose bodies are nobody's business but the caller's: imports, exports, credential bodies.
_CONFIDENTIAL = re.compile(
    r"/(?:keys|wallets)/(?:import|[^/]+/export(?:/approvals)?)|/auth/(?:credentials|recover|registration)(?:/.*)?"
)


@dataclass(frozen=True, slots=True)
class AuditLog:
    """``open_payload``: takes sealed bytes and entry id; raises ``ValueError`` when they do not open."""

    open_payload: Callable[[bytes, str], bytes]


class ListAuditLogs(Wire):
    """Both times are required, ISO 8601 in UTC; ``userId`` for one user's actions."""

    start_time: str
    end_time: str
    user_id: Annotated[str, Meta(min_length=1)] | UnsetType = UNSET


def _time(text: str, member: str) -> int:
    try:
        return dates.from_iso(text)
    except ValueError as error:
        raise validation(member, str(error)) from None


@operation("GET", "/auth/action/logs", permission="Auth:Logs:Read", user_kinds=("CustomerEmployee",))
async def list_audit_logs(call: Call, query: ListAuditLogs) -> Response:
    """List the audit log between two times, oldest first, as comma separated values.

    With `Accept: text/csv` the answer is CSV, otherwise a JSON string that holds it. At most 100,000 rows; then the
    header `X-Dfns-Result-Truncated: true` and a last line that says so.
    """
    start, end = _time(query.start_time, "startTime"), _time(query.end_time, "endTime")
    if start > end:
        raise validation("startTime", "must not be after endTime")
    user_id = None if query.user_id is UNSET else query.user_id
    found = await queries.listing(call.read, call.org_id, start, end, user_id)
    headers = {"Cache-Control": "no-store"}
    if found.truncated:
        headers["X-Dfns-Result-Truncated"] = "true"
    if "text/csv" in call.request.headers.get("accept", ""):
        return Response(200, found.text.encode(), "text/csv; charset=utf-8", headers)
    return Response(200, encode(found.text), headers=headers)


@operation("GET", "/auth/action/logs/{id}", permission="Auth:Logs:Read", user_kinds=("CustomerEmployee",))
async def get_audit_log(call: Call) -> dict[str, Any]:
    """Get one entry with its evidence: enough to check the signature again without this server."""
    entry_id = call.params["id"]
    stored = await call.read(lambda: queries.get_entry(call.org_id, entry_id))
    if stored is None:
        raise not_found("audit log")
    if isinstance(stored.entry, Action) and _CONFIDENTIAL.fullmatch(stored.entry.path):
        raise ApiError("FORBIDDEN", "The payload of this action is confidential.")
    payload = None
    if stored.sealed_payload is not None:
        payload = unpack_payload(call.service(AuditLog).open_payload(stored.sealed_payload, entry_id))
    return to_log(stored.entry, payload)
