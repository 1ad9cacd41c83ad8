"""SQL of break-glass."""

from __future__ import annotations

from countersign.storage import Statement

# A person for whom a request waits answers no row.
INSERT_REQUEST = Statement(
    "insert_break_glass_request",
    "INSERT INTO break_glass_requests (org_id, request_id, user_id, public_key, fingerprint, state, requested_at, "
    "ready_at) VALUES (?, ?, ?, ?, ?, 'Waiting', ?, ?) ON CONFLICT DO NOTHING RETURNING request_id",
)
_REQUEST = (
    "SELECT b.request_id, b.org_id, b.user_id, u.username, b.public_key, b.fingerprint, b.state, b.requested_at, "
    "b.ready_at, b.ended_at FROM break_glass_requests b "
    "JOIN users u ON u.org_id = b.org_id AND u.user_id = b.user_id "
)
FIND_REQUEST = Statement(
    "find_break_glass_request",
    _REQUEST + "JOIN organisations o ON o.org_id = b.org_id WHERE b.request_id = ?",
)
FIND_WAITING = Statement(
    "find_waiting_break_glass_request",
    _REQUEST + "WHERE b.org_id = ? AND b.user_id = ? AND b.state = 'Waiting'",
)
LIST_REQUESTS = Statement(
    "list_break_glass_requests",
    _REQUEST + "WHERE b.state = 'Waiting' OR b.ended_at >= ? ORDER BY b.request_id DESC",
)
END_REQUEST = Statement(
    "end_break_glass_request",
    "UPDATE break_glass_requests SET state = ?, ended_at = ? "
    "WHERE org_id = ? AND request_id = ? AND state = 'Waiting' AND ready_at <= ? RETURNING request_id",
)
FIND_KEY = Statement(
    "find_enrolled_key", "SELECT credential_uuid FROM credentials WHERE org_id = ? AND fingerprint = ?"
)
