"""SQL of sessions."""

from __future__ import annotations

from countersign.storage import Statement

INSERT_SESSION = Statement(
    "insert_session",
    "INSERT INTO tokens (org_id, token_id, kind, user_id, app_id, name, hash, credential_uuid, state, epoch, "
    "created_at, expires_at, delegated_by) VALUES (?, ?, 'Token', ?, NULL, ?, ?, ?, 'Active', 0, ?, ?, ?)",
)
END_SESSION = Statement(
    "end_session",
    "UPDATE tokens SET state = 'Archived', epoch = epoch + 1 "
    "WHERE org_id = ? AND token_id = ? AND kind = 'Token' AND state <> 'Archived'",
)
END_OWN_SESSION = Statement(
    "end_own_session",
    "UPDATE tokens SET state = 'Archived', epoch = epoch + 1 "
    "WHERE org_id = ? AND user_id = ? AND token_id = ? AND kind = 'Token' AND state = 'Active' RETURNING token_id",
)
END_SESSIONS_OF_NAME = Statement(
    "end_sessions_of_name",
    "UPDATE tokens SET state = 'Archived', epoch = epoch + 1 "
    "WHERE org_id = ? AND user_id = ? AND kind = 'Token' AND state = 'Active' AND name = ?",
)
END_DELEGATED_SESSIONS = Statement(
    "end_delegated_sessions",
    "UPDATE tokens SET state = 'Archived', epoch = epoch + 1 "
    "WHERE org_id = ? AND delegated_by = ? AND state = 'Active'",
)
# On PostgreSQL whoever would shut the service account out waits, and then ends what it opened.
_HOLD_DELEGATE = "SELECT 1 FROM users WHERE org_id = ? AND user_id = ? AND state = 'Active'"
HOLD_DELEGATE = Statement("hold_delegate", _HOLD_DELEGATE, postgresql=_HOLD_DELEGATE + " FOR SHARE")
TAKE_OWN_SESSION = Statement(
    "take_own_session",
    "UPDATE tokens SET state = 'Archived', epoch = epoch + 1 "
    "WHERE org_id = ? AND user_id = ? AND token_id = ? AND kind = 'Token' AND state = 'Active' AND expires_at >= ? "
    "RETURNING name, credential_uuid, expires_at, delegated_by",
)
LIST_SESSIONS = Statement(
    "list_sessions",
    "SELECT token_id, name, created_at, expires_at, credential_uuid, delegated_by FROM tokens "
    "WHERE org_id = ? AND user_id = ? AND kind = 'Token' AND state = 'Active' AND expires_at > ? "
    "ORDER BY token_id DESC LIMIT 100",
)
