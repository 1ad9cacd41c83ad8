"""All SQL of organisations, users, service accounts and their credentials."""

from __future__ import annotations

from countersign.storage import Statement

INSERT_ORGANISATION = Statement(
    "insert_organisation",
    "INSERT INTO organisations (org_id, name, is_active, epoch, permission_revision, created_at) "
    "VALUES (?, ?, 1, 0, 0, ?)",
)
COUNT_ORGANISATIONS = Statement("count_organisations", "SELECT COUNT(*) FROM organisations")
LIST_ORGANISATIONS = Statement(
    "list_organisations", "SELECT org_id, name FROM organisations ORDER BY org_id LIMIT 1000"
)

INSERT_APPLICATION = Statement(
    "insert_application",
    "INSERT INTO applications (org_id, app_id, kind, name, rp_id, origin, is_default, state, epoch, created_at) "
    "VALUES (?, ?, 'ClientSideApplication', ?, ?, ?, 1, 'Active', 0, ?)",
)
DEFAULT_APPLICATION = Statement(
    "default_application", "SELECT app_id FROM applications WHERE org_id = ? AND is_default = 1"
)

INSERT_APPLICATION_ID = Statement("insert_application_id", "INSERT INTO application_ids (app_id, org_id) VALUES (?, ?)")
INSERT_RELYING_PARTY = Statement(
    "insert_relying_party",
    "INSERT INTO relying_parties (org_id, rp_id, name, is_default, created_at) VALUES (?, ?, ?, ?, ?)",
)
INSERT_ORIGIN = Statement(
    "insert_origin",
    "INSERT INTO origins (org_id, app_id, rp_id, origin, created_at) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT DO NOTHING RETURNING origin",
)

# A taken username answers no row.
INSERT_USER = Statement(
    "insert_user",
    "INSERT INTO users (org_id, user_id, kind, is_service_account, username, username_key, is_registered, state, "
    "epoch, external_id, created_at) VALUES (?, ?, 'CustomerEmployee', ?, ?, ?, 1, 'Active', 0, ?, ?) "
    "ON CONFLICT DO NOTHING RETURNING user_id",
)
FIND_USERNAME = Statement(
    "find_username",
    "SELECT user_id FROM users WHERE org_id = ? AND is_service_account = ? AND username_key = ?",
)
FIND_FIRST_ADMINISTRATOR = Statement(
    "find_first_administrator",
    "SELECT a.identity_id FROM permission_assignments a "
    "JOIN permissions p ON p.org_id = a.org_id AND p.permission_id = a.permission_id "
    "JOIN users u ON u.org_id = a.org_id AND u.user_id = a.identity_id "
    "WHERE a.org_id = ? AND p.name = ? AND u.is_service_account = 0 AND u.state = 'Active' "
    "ORDER BY a.assignment_id LIMIT 1",
)

# A taken credential id or public key answers no row.
INSERT_CREDENTIAL = Statement(
    "insert_credential",
    "INSERT INTO credentials (org_id, credential_uuid, user_id, token_id, kind, credential_id, credential_key, name, "
    "public_key, fingerprint, rp_id, origin, encrypted_private_key, sign_count, state, epoch, created_at) "
    "VALUES (?, ?, ?, ?, 'Key', ?, ?, ?, ?, ?, '', '', NULL, 0, 'Active', 0, ?) "
    "ON CONFLICT DO NOTHING RETURNING credential_uuid",
)

_ACCOUNT = (
    "SELECT u.user_id, u.username, u.state, t.token_id, t.name, t.state, t.created_at, t.credential_uuid, "
    "c.credential_id, c.fingerprint "
    "FROM users u "
    "JOIN tokens t ON t.org_id = u.org_id AND t.user_id = u.user_id AND t.kind = 'ServiceAccount' "
    "JOIN credentials c ON c.org_id = t.org_id AND c.credential_uuid = t.credential_uuid "
)
GET_SERVICE_ACCOUNT = Statement(
    "get_service_account",
    _ACCOUNT + "WHERE u.org_id = ? AND u.user_id = ? AND u.is_service_account = 1 AND u.state <> 'Archived'",
)
LIST_SERVICE_ACCOUNTS = Statement(
    "list_service_accounts",
    _ACCOUNT + "WHERE u.org_id = ? AND u.is_service_account = 1 AND u.state <> 'Archived' ORDER BY u.user_id DESC",
)
LIST_ASSIGNMENTS_OF = Statement(
    "list_assignments_of",
    "SELECT a.identity_id, p.name, p.permission_id, a.assignment_id, p.operations, p.is_immutable "
    "FROM permission_assignments a "
    "JOIN permissions p ON p.org_id = a.org_id AND p.permission_id = a.permission_id "
    "WHERE a.org_id = ? AND a.identity_id = ? AND p.is_archived = 0 ORDER BY a.assignment_id",
)
LIST_SERVICE_ACCOUNT_ASSIGNMENTS = Statement(
    "list_service_account_assignments",
    "SELECT a.identity_id, p.name, p.permission_id, a.assignment_id, p.operations, p.is_immutable "
    "FROM permission_assignments a "
    "JOIN permissions p ON p.org_id = a.org_id AND p.permission_id = a.permission_id "
    "JOIN users u ON u.org_id = a.org_id AND u.user_id = a.identity_id "
    "WHERE a.org_id = ? AND u.is_service_account = 1 AND p.is_archived = 0 ORDER BY a.assignment_id",
)
UPDATE_SERVICE_ACCOUNT = Statement(
    "update_service_account",
    "UPDATE users SET username = COALESCE(?, username), username_key = COALESCE(?, username_key), "
    "external_id = COALESCE(?, external_id) "
    "WHERE org_id = ? AND user_id = ? AND is_service_account = 1 AND state <> 'Archived' RETURNING user_id",
)
# Raises the epoch only when the state changes, so that repeating it cancels nothing more.
SET_SERVICE_ACCOUNT_STATE = Statement(
    "set_service_account_state",
    "UPDATE users SET epoch = epoch + (CASE WHEN state = ? THEN 0 ELSE 1 END), state = ? "
    "WHERE org_id = ? AND user_id = ? AND is_service_account = 1 AND state <> 'Archived' RETURNING user_id",
)
ARCHIVE_TOKENS_OF = Statement(
    "archive_tokens_of",
    "UPDATE tokens SET state = 'Archived', epoch = epoch + 1 WHERE org_id = ? AND user_id = ? AND state <> 'Archived'",
)
ARCHIVE_CREDENTIALS_OF = Statement(
    "archive_credentials_of",
    "UPDATE credentials SET state = 'Inactive', epoch = epoch + 1 "
    "WHERE org_id = ? AND user_id = ? AND state = 'Active'",
)
