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
