"""All SQL of keys and signature requests."""

from __future__ import annotations

from countersign.storage import Statement

KEY_COLUMNS = (
    "key_id, scheme, curve, public_key, name, status, custodial, store_id, created_at, deleted_at, is_master, "
    "next_child, master_key_id, derivation_path, may_delegate, delegated_to, is_imported, exported_at, destroyed_at"
)

INSERT_KEY = Statement(
    "insert_key",
    "INSERT INTO keys (org_id, key_id, scheme, curve, public_key, name, status, custodial, store_id, created_at, "
    "is_master, master_key_id, derivation_path, may_delegate, delegated_to, is_imported) "
    "VALUES (?, ?, ?, ?, ?, ?, 'Active', ?, ?, ?, ?, ?, ?, ?, ?, ?)",
)
GET_KEY = Statement("get_key", f"SELECT {KEY_COLUMNS} FROM keys WHERE org_id = ? AND key_id = ?")
GET_KEY_WITH_STORE = Statement(
    "get_key_with_store",
    f"SELECT {', '.join(f'k.{column}' for column in KEY_COLUMNS.split(', '))}, s.kind FROM keys k "
    "JOIN key_stores s ON s.store_id = k.store_id WHERE k.org_id = ? AND k.key_id = ?",
)
# The key stays as it is until the transaction ends; others may hold it too. SQLite has one writer at a time anyway.
HOLD_KEY = Statement(
    "hold_key",
    f"SELECT {KEY_COLUMNS} FROM keys WHERE org_id = ? AND key_id = ?",
    postgresql=f"SELECT {KEY_COLUMNS} FROM keys WHERE org_id = $1 AND key_id = $2 FOR SHARE",
)
# The same with the revision of the organisation's policies, which costs no statement of its own so.
_HOLD_TO_SIGN = (
    f"SELECT {KEY_COLUMNS}, (SELECT o.policy_revision FROM organisations o WHERE o.org_id = keys.org_id) "
    "FROM keys WHERE org_id = ? AND key_id = ?"
)
HOLD_KEY_TO_SIGN = Statement("hold_key_to_sign", _HOLD_TO_SIGN, postgresql=_HOLD_TO_SIGN + " FOR SHARE")
LIST_KEYS = Statement(
    "list_keys",
    f"SELECT {KEY_COLUMNS} FROM keys WHERE org_id = ? AND key_id < ? ORDER BY key_id DESC LIMIT ?",
)
LIST_DELEGATED_KEYS = Statement(
    "list_delegated_keys",
    f"SELECT {KEY_COLUMNS} FROM keys WHERE org_id = ? AND delegated_to = ? AND key_id < ? ORDER BY key_id DESC LIMIT ?",
)
RENAME_KEY = Statement(
    "rename_key",
    f"UPDATE keys SET name = ? WHERE org_id = ? AND key_id = ? AND status = 'Active' RETURNING {KEY_COLUMNS}",
)
ARCHIVE_KEY = Statement(
    "archive_key",
    "UPDATE keys SET status = 'Archived', deleted_at = ? WHERE org_id = ? AND key_id = ? AND status = 'Active' "
    f"RETURNING {KEY_COLUMNS}",
)
DESTROY_KEY = Statement(
    "destroy_key",
    "UPDATE keys SET destroyed_at = ? WHERE org_id = ? AND key_id = ? AND status = 'Archived' "
    f"AND destroyed_at IS NULL RETURNING {KEY_COLUMNS}",
)
DELEGATE_KEY = Statement(
    "delegate_key",
    "UPDATE keys SET delegated_to = ?, custodial = 0 WHERE org_id = ? AND key_id = ? AND status = 'Active' "
    f"AND may_delegate = 1 AND delegated_to IS NULL RETURNING {KEY_COLUMNS}",
)
KEY_STATUS = Statement("key_status", "SELECT status FROM keys WHERE org_id = ? AND key_id = ?")
ACTIVE_KEY_OF_PUBLIC_KEY = Statement(
    "active_key_of_public_key",
    "SELECT key_id FROM keys WHERE org_id = ? AND public_key = ? AND status = 'Active'",
)
CHILD_AT = Statement(
    "child_at", "SELECT key_id FROM keys WHERE org_id = ? AND master_key_id = ? AND derivation_path = ?"
)
# Conditional: of two that were given the same index, one comes too late and is given another.
TAKE_CHILD_INDEX = Statement(
    "take_child_index",
    "UPDATE keys SET next_child = ? WHERE org_id = ? AND key_id = ? AND next_child = ? AND status = 'Active' "
    "RETURNING key_id",
)
LIST_STORES = Statement(
    "list_key_stores", "SELECT store_id, kind, name, is_primary FROM key_stores ORDER BY is_primary DESC, store_id"
)

MARK_EXPORTED = Statement(
    "mark_exported",
    "UPDATE keys SET exported_at = COALESCE(exported_at, ?) WHERE org_id = ? AND key_id = ? AND status = 'Active' "
    "RETURNING key_id",
)
KEY_SETTINGS = Statement(
    "key_settings",
    "SELECT key_import, key_export, sign_after_export, export_approvers, export_quorum FROM organisations "
    "WHERE org_id = ?",
)
SET_KEY_SETTINGS = Statement(
    "set_key_settings",
    "UPDATE organisations SET key_import = ?, key_export = ?, sign_after_export = ?, export_approvers = ?, "
    "export_quorum = ? WHERE org_id = ?",
)
IS_ACTIVE_EMPLOYEE = Statement(
    "is_active_employee",
    "SELECT user_id FROM users WHERE org_id = ? AND user_id = ? AND state = 'Active' AND kind = 'CustomerEmployee' "
    "AND is_service_account = 0",
)

PUT_EXPORT_APPROVAL = Statement(
    "put_export_approval",
    "INSERT INTO export_approvals (org_id, key_id, user_id, body_sha256, encryption_key, action_id, credential_uuid, "
    "evidence, given_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (org_id, key_id, user_id) DO UPDATE SET body_sha256 = excluded.body_sha256, "
    "encryption_key = excluded.encryption_key, action_id = excluded.action_id, "
    "credential_uuid = excluded.credential_uuid, evidence = excluded.evidence, given_at = excluded.given_at, "
    "expires_at = excluded.expires_at",
)
# Only of people and by credentials that still count, as with the decisions about approvals of policies.
_EXPORT_APPROVALS = (
    "SELECT a.user_id, a.body_sha256, a.encryption_key, a.action_id, a.evidence, a.given_at, a.expires_at "
    "FROM export_approvals a "
    "JOIN users u ON u.org_id = a.org_id AND u.user_id = a.user_id AND u.state = 'Active' "
    "JOIN credentials c ON c.org_id = a.org_id AND c.user_id = a.user_id AND c.credential_uuid = a.credential_uuid "
    "AND c.state = 'Active' "
    "LEFT JOIN tokens t ON t.org_id = a.org_id AND t.token_id = c.token_id AND c.token_id <> '' "
    "WHERE a.org_id = ? AND a.key_id = ? AND a.expires_at > ? AND (c.token_id = '' OR t.state = 'Active') "
    "ORDER BY a.given_at, a.user_id"
)
LIST_EXPORT_APPROVALS = Statement("list_export_approvals", _EXPORT_APPROVALS)
# The same, and who gave them and by what stays as it is until the transaction ends.
HOLD_EXPORT_APPROVALS = Statement(
    "hold_export_approvals", _EXPORT_APPROVALS, postgresql=_EXPORT_APPROVALS + " FOR SHARE OF u, c"
)
# Of several exports that count on an approval, one finds it.
TAKE_EXPORT_APPROVAL = Statement(
    "take_export_approval",
    "DELETE FROM export_approvals WHERE org_id = ? AND key_id = ? AND user_id = ? AND action_id = ? "
    "RETURNING action_id",
)
DROP_EXPORT_APPROVALS = Statement(
    "drop_export_approvals", "DELETE FROM export_approvals WHERE org_id = ? AND user_id = ?"
)

_SIGNATURE = (
    "signature_id, key_id, requester, request_body, status, reason, result, requested_at, signed_at, external_id, "
    "approval_id, resolved_at"
)

INSERT_SIGNATURE = Statement(
    "insert_signature",
    "INSERT INTO signatures (org_id, signature_id, key_id, requester, request_body, status, reason, external_id, "
    "action_id, requested_at, approval_id, resolved_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
)
GET_SIGNATURE = Statement(
    "get_signature",
    f"SELECT {_SIGNATURE} FROM signatures WHERE org_id = ? AND signature_id = ? AND key_id = ?",
)
GET_SIGNATURE_BY_ID = Statement(
    "get_signature_by_id", f"SELECT {_SIGNATURE} FROM signatures WHERE org_id = ? AND signature_id = ?"
)
# What a velocity counts (see ``PastActivity.counts``). Ids lead with their time, so the index of the lists finds these
# without one of their own.
COUNT_SIGNATURES_SINCE = Statement(
    "count_signatures_since",
    "SELECT COUNT(*) FROM signatures WHERE org_id = ? AND key_id = ? AND signature_id >= ? AND requested_at > ? "
    "AND status <> 'Rejected' AND status <> 'Failed'",
)
# The same as it was when a request was made: those that were made before it.
SIGNATURES_BETWEEN = Statement(
    "signatures_between",
    "SELECT requested_at, status, resolved_at FROM signatures WHERE org_id = ? AND key_id = ? AND signature_id >= ? "
    "AND requested_at > ? AND (requested_at < ? OR (requested_at = ? AND signature_id < ?))",
)
_RECORDED = (
    "SELECT s.signature_id, s.key_id, s.requester, s.request_body, s.status, s.requested_at, k.delegated_to "
    "FROM signatures s JOIN keys k ON k.org_id = s.org_id AND k.key_id = s.key_id WHERE s.org_id = ? "
)
RECORDED_SIGNATURE = Statement("recorded_signature", _RECORDED + "AND s.signature_id = ?")
RECORDED_SIGNATURES = Statement(
    "recorded_signatures", _RECORDED + "AND s.signature_id > ? ORDER BY s.signature_id LIMIT ?"
)
COUNT_SIGNATURES = Statement(
    "count_signatures", "SELECT COUNT(*) FROM signatures WHERE org_id = ? AND signature_id > ?"
)
# The end of waiting: it goes on, or not. Only one of several finds it waiting.
CLEAR_SIGNATURE = Statement(
    "clear_signature",
    "UPDATE signatures SET status = 'Executing', resolved_at = ? "
    "WHERE org_id = ? AND signature_id = ? AND status = 'Pending' RETURNING key_id",
)
END_PENDING_SIGNATURE = Statement(
    "end_pending_signature",
    "UPDATE signatures SET status = ?, reason = ?, resolved_at = ? "
    "WHERE org_id = ? AND signature_id = ? AND status = 'Pending' RETURNING key_id",
)
LIST_SIGNATURES = Statement(
    "list_signatures",
    f"SELECT {_SIGNATURE} FROM signatures WHERE org_id = ? AND key_id = ? AND signature_id < ? "
    "ORDER BY signature_id DESC LIMIT ?",
)
# Conditional: of two that finish the same request, one wins and the other reads its result. What a key signed is
# recorded only while the key is active, so that nothing that it signed comes out once its archiving was answered.
_FINISH = (
    "UPDATE signatures SET status = 'Signed', result = {1}, signed_at = {2} "
    "WHERE org_id = {3} AND signature_id = {4} AND status = 'Executing' AND EXISTS (SELECT 1 FROM keys k "
    "WHERE k.org_id = signatures.org_id AND k.key_id = signatures.key_id AND k.status = 'Active'{0}) "
    f"RETURNING {_SIGNATURE}"
)
FINISH_SIGNATURE = Statement(
    "finish_signature",
    _FINISH.format("", "?", "?", "?", "?"),
    postgresql=_FINISH.format(" FOR SHARE", "$1", "$2", "$3", "$4"),
)
FAIL_SIGNATURE = Statement(
    "fail_signature",
    "UPDATE signatures SET status = 'Failed', reason = ? "
    f"WHERE org_id = ? AND signature_id = ? AND status = 'Executing' RETURNING {_SIGNATURE}",
)
FAIL_PENDING_SIGNATURES = Statement(
    "fail_pending_signatures",
    "UPDATE signatures SET status = 'Failed', reason = ? WHERE org_id = ? AND key_id = ? AND status = 'Pending' "
    "RETURNING signature_id",
)
_EXECUTING = "SELECT org_id, signature_id, key_id, request_body, action_id, approval_id FROM signatures "
# Those that were never held: a younger one may be in the hands of the call that asked for it.
LIST_EXECUTING = Statement(
    "list_executing",
    _EXECUTING + "WHERE status = 'Executing' AND requested_at < ? AND approval_id IS NULL "
    "ORDER BY org_id, requested_at, signature_id LIMIT ?",
)
GET_EXECUTING = Statement(
    "get_executing", _EXECUTING + "WHERE org_id = ? AND signature_id = ? AND status = 'Executing'"
)
UNFINISHED_OF_KEY = Statement(
    "unfinished_of_key",
    "SELECT signature_id FROM signatures WHERE org_id = ? AND key_id = ? AND status IN ('Pending', 'Executing') "
    "LIMIT 1",
)
