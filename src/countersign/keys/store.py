"""All SQL of keys and signature requests."""

from __future__ import annotations

from countersign.storage import Statement

_KEY = "key_id, scheme, curve, public_key, name, status, custodial, created_at, deleted_at, store_id"

INSERT_KEY = Statement(
    "insert_key",
    "INSERT INTO keys (org_id, key_id, scheme, curve, public_key, name, status, custodial, store_id, created_at) "
    "VALUES (?, ?, ?, ?, ?, ?, 'Active', 1, ?, ?)",
)
GET_KEY = Statement("get_key", f"SELECT {_KEY} FROM keys WHERE org_id = ? AND key_id = ?")
LIST_KEYS = Statement(
    "list_keys",
    f"SELECT {_KEY} FROM keys WHERE org_id = ? AND key_id < ? ORDER BY key_id DESC LIMIT ?",
)
RENAME_KEY = Statement(
    "rename_key",
    f"UPDATE keys SET name = ? WHERE org_id = ? AND key_id = ? AND status = 'Active' RETURNING {_KEY}",
)
ARCHIVE_KEY = Statement(
    "archive_key",
    "UPDATE keys SET status = 'Archived', deleted_at = ? WHERE org_id = ? AND key_id = ? AND status = 'Active' "
    f"RETURNING {_KEY}",
)
KEY_STATUS = Statement("key_status", "SELECT status FROM keys WHERE org_id = ? AND key_id = ?")

_SIGNATURE = (
    "signature_id, key_id, requester, request_body, status, reason, result, requested_at, signed_at, external_id"
)

INSERT_SIGNATURE = Statement(
    "insert_signature",
    "INSERT INTO signatures (org_id, signature_id, key_id, requester, request_body, status, external_id, action_id, "
    "requested_at) VALUES (?, ?, ?, ?, ?, 'Executing', ?, ?, ?)",
)
GET_SIGNATURE = Statement(
    "get_signature",
    f"SELECT {_SIGNATURE} FROM signatures WHERE org_id = ? AND signature_id = ? AND key_id = ?",
)
LIST_SIGNATURES = Statement(
    "list_signatures",
    f"SELECT {_SIGNATURE} FROM signatures WHERE org_id = ? AND key_id = ? AND signature_id < ? "
    "ORDER BY signature_id DESC LIMIT ?",
)
# Conditional: of two that finish the same request, one wins and the other reads its result.
FINISH_SIGNATURE = Statement(
    "finish_signature",
    "UPDATE signatures SET status = ?, reason = ?, result = ?, signed_at = ? "
    f"WHERE org_id = ? AND signature_id = ? AND status = 'Executing' RETURNING {_SIGNATURE}",
)
LIST_EXECUTING = Statement(
    "list_executing",
    "SELECT org_id, signature_id, key_id, request_body, action_id FROM signatures "
    "WHERE status = 'Executing' AND requested_at < ? ORDER BY org_id, requested_at, signature_id LIMIT ?",
)
