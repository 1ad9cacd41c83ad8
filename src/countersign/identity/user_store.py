"""SQL of people and their personal access tokens."""

from __future__ import annotations

from countersign.storage import Statement

# A taken username answers no row.
INSERT_PERSON = Statement(
    "insert_person",
    "INSERT INTO users (org_id, user_id, kind, is_service_account, username, username_key, is_registered, state, "
    "epoch, external_id, created_at, registration, is_sso_required, display_name) "
    "VALUES (?, ?, ?, 0, ?, ?, 0, 'Active', 0, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING user_id",
)

# With the first credential that is active and no token's own.
_PERSON = (
    "SELECT u.user_id, u.username, u.kind, u.is_registered, u.is_sso_required, u.state, "
    "c.credential_uuid, c.credential_id, u.display_name "
    "FROM users u LEFT JOIN credentials c ON c.org_id = u.org_id AND c.credential_uuid = ("
    "SELECT MIN(p.credential_uuid) FROM credentials p WHERE p.org_id = u.org_id AND p.user_id = u.user_id "
    "AND p.token_id = '' AND p.state = 'Active' AND p.kind <> 'RecoveryKey') "
)
GET_PERSON = Statement("get_person", _PERSON + "WHERE u.org_id = ? AND u.user_id = ? AND u.is_service_account = 0")
LIST_PEOPLE = Statement(
    "list_people",
    _PERSON + "WHERE u.org_id = ? AND u.is_service_account = 0 AND u.user_id < ? AND u.state <> 'Archived' "
    "ORDER BY u.user_id DESC LIMIT ?",
)
LIST_PEOPLE_OF_KIND = Statement(
    "list_people_of_kind",
    _PERSON + "WHERE u.org_id = ? AND u.is_service_account = 0 AND u.kind = ? AND u.user_id < ? "
    "AND u.state <> 'Archived' ORDER BY u.user_id DESC LIMIT ?",
)
# For a page of people: those between its last and its first id, of its kinds.
LIST_ASSIGNMENTS_OF_PEOPLE = Statement(
    "list_assignments_of_people",
    "SELECT a.identity_id, p.name, p.permission_id, a.assignment_id, p.operations, p.is_immutable "
    "FROM users u "
    "JOIN permission_assignments a ON a.org_id = u.org_id AND a.identity_id = u.user_id "
    "JOIN permissions p ON p.org_id = a.org_id AND p.permission_id = a.permission_id "
    "WHERE u.org_id = ? AND u.is_service_account = 0 AND u.kind IN (?, ?) AND u.user_id BETWEEN ? AND ? "
    "AND u.state <> 'Archived' AND p.is_archived = 0 ORDER BY a.assignment_id",
)
UPDATE_PERSON = Statement(
    "update_person",
    "UPDATE users SET is_sso_required = ? "
    "WHERE org_id = ? AND user_id = ? AND is_service_account = 0 AND state <> 'Archived' RETURNING user_id",
)
# Raises the epoch only when the state changes, so that repeating it cancels nothing more.
SET_PERSON_STATE = Statement(
    "set_person_state",
    "UPDATE users SET epoch = epoch + (CASE WHEN state = ? THEN 0 ELSE 1 END), state = ? "
    "WHERE org_id = ? AND user_id = ? AND is_service_account = 0 AND state <> 'Archived' RETURNING user_id",
)
REVOKE_SESSIONS_OF = Statement(
    "revoke_sessions_of",
    "UPDATE tokens SET state = 'Archived', epoch = epoch + 1 "
    "WHERE org_id = ? AND user_id = ? AND kind = 'Token' AND state <> 'Archived'",
)

_TOKEN = (
    "SELECT t.token_id, t.user_id, t.name, t.state, t.created_at, c.credential_id, c.fingerprint "
    "FROM tokens t JOIN credentials c ON c.org_id = t.org_id AND c.credential_uuid = t.credential_uuid "
    "WHERE t.org_id = ? AND t.user_id = ? AND t.kind = 'Pat' "
)
GET_PERSONAL_TOKEN = Statement("get_personal_token", _TOKEN + "AND t.token_id = ?")
LIST_PERSONAL_TOKENS = Statement("list_personal_tokens", _TOKEN + "AND t.state <> 'Archived' ORDER BY t.token_id DESC")
LIST_ASSIGNMENTS_OF_TOKENS = Statement(
    "list_assignments_of_tokens",
    "SELECT a.identity_id, p.name, p.permission_id, a.assignment_id, p.operations, p.is_immutable "
    "FROM tokens t "
    "JOIN permission_assignments a ON a.org_id = t.org_id AND a.identity_id = t.token_id "
    "JOIN permissions p ON p.org_id = a.org_id AND p.permission_id = a.permission_id "
    "WHERE t.org_id = ? AND t.user_id = ? AND t.kind = 'Pat' AND t.state <> 'Archived' AND p.is_archived = 0 "
    "ORDER BY a.assignment_id",
)
FIND_PERSONAL_TOKEN_NAME = Statement(
    "find_personal_token_name",
    "SELECT token_id FROM tokens WHERE org_id = ? AND user_id = ? AND name = ? AND kind = 'Pat' "
    "AND state <> 'Archived'",
)
SET_EXTERNAL_ID_OF_TOKEN = Statement(
    "set_external_id_of_token", "UPDATE tokens SET external_id = ? WHERE org_id = ? AND token_id = ?"
)
UPDATE_PERSONAL_TOKEN = Statement(
    "update_personal_token",
    "UPDATE tokens SET name = COALESCE(?, name), external_id = COALESCE(?, external_id) "
    "WHERE org_id = ? AND user_id = ? AND token_id = ? AND kind = 'Pat' AND state <> 'Archived' RETURNING token_id",
)
SET_PERSONAL_TOKEN_STATE = Statement(
    "set_personal_token_state",
    "UPDATE tokens SET epoch = epoch + (CASE WHEN state = ? THEN 0 ELSE 1 END), state = ? "
    "WHERE org_id = ? AND user_id = ? AND token_id = ? AND kind = 'Pat' AND state <> 'Archived' RETURNING token_id",
)
ARCHIVE_CREDENTIALS_OF_TOKEN = Statement(
    "archive_credentials_of_token",
    "UPDATE credentials SET state = 'Archived', epoch = epoch + 1 "
    "WHERE org_id = ? AND user_id = ? AND token_id = ? AND state <> 'Archived'",
)

_ACTIVE_END_USER = (
    "SELECT user_id FROM users WHERE org_id = {0} AND user_id = {1} AND kind = 'EndUser' AND state = 'Active'{2}"
)
HOLD_ACTIVE_END_USER = Statement(
    "hold_active_end_user",
    _ACTIVE_END_USER.format("?", "?", ""),
    postgresql=_ACTIVE_END_USER.format("$1", "$2", " FOR SHARE"),
)
# An id is found before a username that looks like one.
FIND_USER = Statement(
    "find_user",
    "SELECT user_id FROM users WHERE org_id = ? AND (user_id = ? OR username_key = ?) AND is_service_account = 0 "
    "ORDER BY CASE WHEN user_id = ? THEN 0 ELSE 1 END LIMIT 1",
)
