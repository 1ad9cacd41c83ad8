"""All SQL of policies, approvals and change requests."""

from __future__ import annotations

from countersign.storage import Statement

READ_REVISION = Statement("read_policy_revision", "SELECT policy_revision FROM organisations WHERE org_id = ?")
SET_REVISION = Statement("set_policy_revision", "UPDATE organisations SET policy_revision = ? WHERE org_id = ?")
LIST_ACTIVE = Statement(
    "list_active_policies", "SELECT body FROM policies WHERE org_id = ? AND status = 'Active' ORDER BY policy_id"
)

_POLICY = (
    "SELECT p.policy_id, p.body, c.change_request_id, c.requester, c.kind, c.operation_kind, c.status, c.entity_id, "
    "c.created_at, c.resolved_at, c.approval_id, c.body FROM policies p "
    "LEFT JOIN change_requests c ON c.org_id = p.org_id AND c.entity_id = p.policy_id AND c.status = 'Pending' "
)
GET_POLICY = Statement("get_policy", _POLICY + "WHERE p.org_id = ? AND p.policy_id = ?")
LIST_POLICIES = Statement(
    "list_policies", _POLICY + "WHERE p.org_id = ? AND p.policy_id < ? ORDER BY p.policy_id DESC LIMIT ?"
)
LIST_POLICIES_BY_STATUS = Statement(
    "list_policies_by_status",
    _POLICY + "WHERE p.org_id = ? AND p.status = ? AND p.policy_id < ? ORDER BY p.policy_id DESC LIMIT ?",
)
INSERT_POLICY = Statement(
    "insert_policy",
    "INSERT INTO policies (org_id, policy_id, status, body, created_at, updated_at) VALUES (?, ?, 'Active', ?, ?, ?)",
)
# Changes nothing: of two that change a policy at once, the second waits and then finds what the first made of it.
HOLD_POLICY = Statement(
    "hold_policy",
    "UPDATE policies SET updated_at = updated_at WHERE org_id = ? AND policy_id = ? RETURNING status, body",
)
UPDATE_POLICY = Statement(
    "update_policy",
    "UPDATE policies SET status = ?, body = ?, updated_at = ? "
    "WHERE org_id = ? AND policy_id = ? AND status = 'Active' RETURNING policy_id",
)

# The lock behind which a wallet's or key's history is read; the row is made by who comes first. SQLite has one writer,
# and needs no row.
TAKE_TURN = Statement(
    "take_policy_turn",
    "SELECT turn FROM policy_turns WHERE org_id = ? AND subject_id = ? AND turn < 0",
    postgresql="INSERT INTO policy_turns (org_id, subject_id, turn) VALUES (?, ?, 1) "
    "ON CONFLICT (org_id, subject_id) DO UPDATE SET turn = policy_turns.turn + 1",
)
INSERT_VERDICT = Statement(
    "insert_policy_verdict",
    "INSERT INTO policy_verdicts (org_id, entity_id, activity_kind, outcome, policy_ids, evaluations, created_at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)",
)
GET_BLOCK = Statement(
    "get_policy_block",
    "SELECT activity_kind, policy_ids FROM policy_verdicts WHERE org_id = ? AND entity_id = ? AND outcome = 'Blocked'",
)

INSERT_APPROVAL = Statement(
    "insert_approval",
    "INSERT INTO policy_approvals (org_id, approval_id, initiator_id, activity_kind, entity_kind, entity_id, status, "
    "groups, evaluations, expires_at, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, 'Pending', ?, ?, ?, ?, ?)",
)
INSERT_APPROVER = Statement(
    "insert_approver",
    "INSERT INTO policy_approvers (org_id, approver_id, approval_id) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
)
APPROVAL_COLUMNS = (
    "a.approval_id, a.initiator_id, a.activity_kind, a.entity_kind, a.entity_id, a.status, a.groups, a.evaluations, "
    "a.expires_at, a.created_at, a.updated_at, a.resolved_at"
)
GET_APPROVAL = Statement(
    "get_approval", f"SELECT {APPROVAL_COLUMNS} FROM policy_approvals a WHERE a.org_id = ? AND a.approval_id = ?"
)
# Changes nothing: decisions of one approval, and its end, come one after the other.
HOLD_APPROVAL = Statement(
    "hold_approval",
    "UPDATE policy_approvals AS a SET status = status WHERE a.org_id = ? AND a.approval_id = ? "
    f"RETURNING {APPROVAL_COLUMNS.replace('a.', '')}",
)
_LIST_APPROVALS = (
    f"SELECT {APPROVAL_COLUMNS} FROM policy_approvals a WHERE a.org_id = ? AND a.approval_id < ? "
    # What has expired by the clock reads so, whether anybody wrote it down or not.
    "AND (? = ',,' OR ? LIKE '%,' || CASE WHEN a.status = 'Pending' AND a.expires_at IS NOT NULL "
    "AND a.expires_at <= ? THEN 'Expired' ELSE a.status END || ',%') AND (? = '' OR a.initiator_id = ?) "
)
LIST_APPROVALS = Statement("list_approvals", _LIST_APPROVALS + "ORDER BY a.approval_id DESC LIMIT ?")
LIST_APPROVALS_OF_APPROVER = Statement(
    "list_approvals_of_approver",
    _LIST_APPROVALS
    + "AND EXISTS (SELECT 1 FROM policy_approvers p WHERE p.org_id = a.org_id AND p.approval_id = a.approval_id "
    "AND (p.approver_id = ? OR (p.approver_id = ? AND a.initiator_id <> ?))) ORDER BY a.approval_id DESC LIMIT ?",
)
INSERT_DECISION = Statement(
    "insert_decision",
    "INSERT INTO policy_decisions "
    "(org_id, approval_id, user_id, value, reason, action_id, credential_uuid, decided_at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (org_id, approval_id, user_id) DO NOTHING RETURNING user_id",
)
# The credential that signed a decision still counts, and so does the token that it belongs to, if any.
_CREDENTIALS = (
    "JOIN credentials c ON c.org_id = d.org_id AND c.user_id = d.user_id AND c.credential_uuid = d.credential_uuid "
    "AND c.state = 'Active' "
    "LEFT JOIN tokens t ON t.org_id = d.org_id AND t.token_id = c.token_id AND c.token_id <> '' "
)
# With who decided, as they are now; on PostgreSQL they stay so until the transaction ends.
_DECISIONS = (
    "SELECT d.user_id, d.value, d.reason, d.decided_at, d.action_id, u.state, u.kind, u.is_service_account, "
    "CASE WHEN c.token_id = '' OR t.state = 'Active' THEN 1 ELSE 0 END "
    f"FROM policy_decisions d JOIN users u ON u.org_id = d.org_id AND u.user_id = d.user_id LEFT {_CREDENTIALS}"
    "WHERE d.org_id = ? AND d.approval_id = ? ORDER BY d.decided_at, d.user_id"
)
LIST_DECISIONS = Statement("list_decisions", _DECISIONS)
HOLD_DECISIONS = Statement("hold_decisions", _DECISIONS, postgresql=_DECISIONS + " FOR SHARE OF u")
# Only by credentials that still count: the signer looks at each of them, and refuses what others sign.
LIST_APPROVING = Statement(
    "list_approving_decisions",
    "SELECT d.action_id FROM policy_decisions d "
    "JOIN users u ON u.org_id = d.org_id AND u.user_id = d.user_id AND u.state = 'Active' "
    f"{_CREDENTIALS}"
    "WHERE d.org_id = ? AND d.approval_id = ? AND d.value = 'Approved' AND (c.token_id = '' OR t.state = 'Active') "
    "ORDER BY d.decided_at, d.user_id LIMIT ?",
)
GET_VOTER = Statement("get_voter", "SELECT state, kind, is_service_account FROM users WHERE org_id = ? AND user_id = ?")
RESOLVE_APPROVAL = Statement(
    "resolve_approval",
    "UPDATE policy_approvals SET status = ?, updated_at = ?, resolved_at = ? "
    "WHERE org_id = ? AND approval_id = ? AND status = 'Pending' RETURNING approval_id",
)
TOUCH_APPROVAL = Statement(
    "touch_approval", "UPDATE policy_approvals SET updated_at = ? WHERE org_id = ? AND approval_id = ?"
)

INSERT_CHANGE_REQUEST = Statement(
    "insert_change_request",
    "INSERT INTO change_requests (org_id, change_request_id, requester, activity_kind, kind, operation_kind, status, "
    "entity_id, body, approval_id, reason, created_at, resolved_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT DO NOTHING RETURNING change_request_id",
)
_CHANGE_REQUEST = (
    "SELECT change_request_id, requester, kind, operation_kind, status, entity_id, created_at, resolved_at, "
    "approval_id, body, activity_kind, reason FROM change_requests "
)
GET_CHANGE_REQUEST = Statement("get_change_request", _CHANGE_REQUEST + "WHERE org_id = ? AND change_request_id = ?")
PENDING_CHANGE_REQUEST = Statement(
    "pending_change_request", _CHANGE_REQUEST + "WHERE org_id = ? AND entity_id = ? AND status = 'Pending'"
)
# Oldest first, for replays.
LIST_CHANGE_REQUESTS = Statement(
    "list_change_requests",
    _CHANGE_REQUEST + "WHERE org_id = ? AND change_request_id > ? ORDER BY change_request_id LIMIT ?",
)
COUNT_CHANGE_REQUESTS = Statement(
    "count_change_requests", "SELECT COUNT(*) FROM change_requests WHERE org_id = ? AND change_request_id > ?"
)
# For a page of entities: those between its last and its first id.
LIST_PENDING_CHANGE_REQUESTS = Statement(
    "list_pending_change_requests",
    _CHANGE_REQUEST + "WHERE org_id = ? AND entity_id BETWEEN ? AND ? AND status = 'Pending'",
)
RESOLVE_CHANGE_REQUEST = Statement(
    "resolve_change_request",
    "UPDATE change_requests SET status = ?, reason = ?, resolved_at = ? "
    "WHERE org_id = ? AND change_request_id = ? AND status = 'Pending' RETURNING entity_id",
)

# Users that a policy names as approvers: those who could ever approve.
LIST_POSSIBLE_APPROVERS = Statement(
    "list_possible_approvers",
    "SELECT user_id, kind, is_service_account, state FROM users "
    "WHERE org_id = ? AND state <> 'Archived' AND kind <> 'EndUser' ORDER BY user_id",
)
IS_POSSIBLE_APPROVER = Statement(
    "is_possible_approver",
    "SELECT is_service_account FROM users "
    "WHERE org_id = ? AND user_id = ? AND state <> 'Archived' AND kind <> 'EndUser'",
)
