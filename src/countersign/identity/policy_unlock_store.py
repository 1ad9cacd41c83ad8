"""SQL of the unlocking of policies."""

from __future__ import annotations

from countersign.storage import Statement

# A policy for which a request waits answers no row.
INSERT_UNLOCK = Statement(
    "insert_policy_unlock",
    "INSERT INTO policy_unlocks (org_id, request_id, policy_id, policy_name, state, requested_at, ready_at) "
    "VALUES (?, ?, ?, ?, 'Waiting', ?, ?) ON CONFLICT DO NOTHING RETURNING request_id",
)
_UNLOCK = (
    "SELECT request_id, org_id, policy_id, policy_name, state, requested_at, ready_at, ended_at FROM policy_unlocks "
)
FIND_UNLOCK = Statement("find_policy_unlock", _UNLOCK + "WHERE request_id = ?")
LIST_UNLOCKS = Statement(
    "list_policy_unlocks", _UNLOCK + "WHERE state = 'Waiting' OR ended_at >= ? ORDER BY request_id DESC"
)
END_UNLOCK = Statement(
    "end_policy_unlock",
    "UPDATE policy_unlocks SET state = ?, ended_at = ? "
    "WHERE org_id = ? AND request_id = ? AND state = 'Waiting' AND ready_at <= ? RETURNING request_id",
)
