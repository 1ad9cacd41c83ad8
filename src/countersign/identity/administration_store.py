"""SQL of what an operator sees and changes on the server's own host."""

from __future__ import annotations

from countersign.storage import Statement

LIST_ORGANISATION_IDS = Statement("list_organisation_ids", "SELECT org_id FROM organisations ORDER BY org_id")

# Each kind answers: organisation, id, name, state, time of creation, and then what only this kind has.
_USER = (
    "SELECT x.org_id, x.user_id, x.username, x.state, x.created_at, x.kind, x.is_registered, x.is_sso_required "
    "FROM users x "
)
_SERVICE_ACCOUNT = "SELECT x.org_id, x.user_id, x.username, x.state, x.created_at FROM users x "
_APPLICATION = (
    "SELECT x.org_id, x.app_id, x.name, x.state, x.created_at, x.kind, x.is_default, x.rp_id FROM applications x "
)
_TOKEN = (
    "SELECT x.org_id, x.token_id, x.name, x.state, x.created_at, x.kind, x.user_id, x.app_id, x.expires_at "
    "FROM tokens x "
)
_CREDENTIAL = (
    "SELECT x.org_id, x.credential_uuid, x.name, x.state, x.created_at, x.kind, x.user_id, x.token_id, "
    "x.credential_id, x.fingerprint FROM credentials x "
)

LIST_USERS = Statement(
    "list_users_to_operator",
    _USER + "WHERE x.org_id = ? AND x.user_id < ? AND x.is_service_account = 0 "
    "AND (x.state <> 'Archived' OR ? = 1) ORDER BY x.user_id DESC LIMIT ?",
)
LIST_SERVICE_ACCOUNTS = Statement(
    "list_service_accounts_to_operator",
    _SERVICE_ACCOUNT + "WHERE x.org_id = ? AND x.user_id < ? AND x.is_service_account = 1 "
    "AND (x.state <> 'Archived' OR ? = 1) ORDER BY x.user_id DESC LIMIT ?",
)
LIST_APPLICATIONS = Statement(
    "list_applications_to_operator",
    _APPLICATION + "WHERE x.org_id = ? AND x.app_id < ? AND (x.state <> 'Archived' OR ? = 1) "
    "ORDER BY x.app_id DESC LIMIT ?",
)
LIST_TOKENS = Statement(
    "list_tokens_to_operator",
    _TOKEN + "WHERE x.org_id = ? AND x.token_id < ? AND x.kind <> 'Token' AND (x.state <> 'Archived' OR ? = 1) "
    "ORDER BY x.token_id DESC LIMIT ?",
)
LIST_CREDENTIALS = Statement(
    "list_credentials_to_operator",
    _CREDENTIAL + "WHERE x.org_id = ? AND x.credential_uuid < ? AND (x.state <> 'Archived' OR ? = 1) "
    "ORDER BY x.credential_uuid DESC LIMIT ?",
)

# By the id alone: a look-up by primary key in each organisation.
FIND_USER = Statement(
    "find_user_by_id",
    _USER + "JOIN organisations o ON o.org_id = x.org_id WHERE x.user_id = ? AND x.is_service_account = 0",
)
FIND_SERVICE_ACCOUNT = Statement(
    "find_service_account_by_id",
    _SERVICE_ACCOUNT + "JOIN organisations o ON o.org_id = x.org_id WHERE x.user_id = ? AND x.is_service_account = 1",
)
FIND_APPLICATION = Statement(
    "find_application_of_operator",
    _APPLICATION + "JOIN organisations o ON o.org_id = x.org_id WHERE x.app_id = ?",
)
FIND_TOKEN = Statement(
    "find_token_by_id",
    _TOKEN + "JOIN organisations o ON o.org_id = x.org_id WHERE x.token_id = ? AND x.kind <> 'Token'",
)
FIND_CREDENTIAL = Statement(
    "find_credential_by_id",
    _CREDENTIAL + "JOIN organisations o ON o.org_id = x.org_id WHERE x.credential_uuid = ?",
)
FIND_USERS_BY_NAME = Statement(
    "find_users_by_name",
    "SELECT x.user_id FROM users x JOIN organisations o ON o.org_id = x.org_id "
    "WHERE x.is_service_account = 0 AND x.username_key = ? ORDER BY x.user_id LIMIT 2",
)

LIST_TOKENS_OF = Statement(
    "list_tokens_of_user",
    _TOKEN + "WHERE x.org_id = ? AND x.user_id = ? AND x.kind <> 'Token' AND x.state <> 'Archived' "
    "ORDER BY x.token_id DESC LIMIT 1000",
)
LIST_TOKENS_OF_APPLICATION = Statement(
    "list_tokens_of_application_to_operator",
    _TOKEN + "WHERE x.org_id = ? AND x.app_id = ? AND x.kind = 'Application' AND x.state <> 'Archived' "
    "ORDER BY x.token_id DESC LIMIT 1000",
)
LIST_CREDENTIALS_OF = Statement(
    "list_credentials_of_user",
    _CREDENTIAL + "WHERE x.org_id = ? AND x.user_id = ? AND x.state <> 'Archived' "
    "ORDER BY x.credential_uuid DESC LIMIT 1000",
)
COUNT_SESSIONS_OF = Statement(
    "count_sessions_of",
    "SELECT COUNT(*) FROM tokens "
    "WHERE org_id = ? AND user_id = ? AND kind = 'Token' AND state = 'Active' AND expires_at > ?",
)

# These change nothing: they take the row as a lock and tell how it stands, so that of two commands at once the second
# sees what the first did.
LOCK_USER = Statement(
    "lock_user",
    "UPDATE users SET epoch = epoch WHERE org_id = ? AND user_id = ? "
    "RETURNING state, is_service_account, username, kind, is_registered, registration, epoch",
)
LOCK_APPLICATION = Statement(
    "lock_application", "UPDATE applications SET epoch = epoch WHERE org_id = ? AND app_id = ? RETURNING state"
)
LOCK_TOKEN = Statement(
    "lock_token", "UPDATE tokens SET epoch = epoch WHERE org_id = ? AND token_id = ? RETURNING state"
)
LOCK_CREDENTIAL = Statement(
    "lock_credential", "UPDATE credentials SET epoch = epoch WHERE org_id = ? AND credential_uuid = ? RETURNING state"
)

SET_TOKEN_STATE = Statement(
    "set_token_state",
    "UPDATE tokens SET state = ?, epoch = epoch + 1 "
    "WHERE org_id = ? AND token_id = ? AND state <> 'Archived' RETURNING token_id",
)

PUT_REGISTRATION_CODE = Statement(
    "put_registration_code",
    "INSERT INTO registration_codes (org_id, user_id, code_hash, user_epoch, created_at, expires_at) "
    "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (org_id, user_id) DO UPDATE SET code_hash = excluded.code_hash, "
    "user_epoch = excluded.user_epoch, created_at = excluded.created_at, expires_at = excluded.expires_at",
)
