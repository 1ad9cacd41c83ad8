"""All SQL of applications and their tokens."""

from __future__ import annotations

from countersign.storage import Statement

# A taken name answers no row.
INSERT_APPLICATION = Statement(
    "insert_named_application",
    "INSERT INTO applications (org_id, app_id, kind, name, rp_id, origin, is_default, state, epoch, public_key, "
    "fingerprint, external_id, created_at) VALUES (?, ?, ?, ?, ?, ?, 0, 'Active', 0, ?, ?, ?, ?) "
    "ON CONFLICT DO NOTHING RETURNING app_id",
)
FIND_APPLICATION_NAME = Statement(
    "find_application_name",
    "SELECT app_id FROM applications WHERE org_id = ? AND name = ? AND state <> 'Archived'",
)

_APPLICATION = "SELECT app_id, kind, name, rp_id, origin, state, fingerprint FROM applications WHERE org_id = ? "
GET_APPLICATION = Statement("get_application", _APPLICATION + "AND app_id = ?")
LIST_APPLICATIONS = Statement("list_applications", _APPLICATION + "AND state <> 'Archived' ORDER BY app_id DESC")
_TOKEN = (
    "SELECT t.app_id, t.token_id, t.name, t.state, t.created_at FROM tokens t "
    "WHERE t.org_id = ? AND t.kind = 'Application' AND t.state <> 'Archived' "
)
LIST_TOKENS_OF_APPLICATION = Statement(
    "list_tokens_of_application", _TOKEN + "AND t.app_id = ? ORDER BY t.token_id DESC"
)
LIST_APPLICATION_TOKENS = Statement(
    "list_application_tokens", _TOKEN + "AND t.app_id IS NOT NULL ORDER BY t.token_id DESC"
)
LIST_APPLICATION_ASSIGNMENTS = Statement(
    "list_application_assignments",
    "SELECT a.identity_id, p.name, p.permission_id, a.assignment_id, p.operations, p.is_immutable "
    "FROM applications b "
    "JOIN permission_assignments a ON a.org_id = b.org_id AND a.identity_id = b.app_id "
    "JOIN permissions p ON p.org_id = a.org_id AND p.permission_id = a.permission_id "
    "WHERE b.org_id = ? AND b.state <> 'Archived' AND p.is_archived = 0 ORDER BY a.assignment_id",
)

UPDATE_APPLICATION = Statement(
    "update_application",
    "UPDATE applications SET name = COALESCE(?, name), external_id = COALESCE(?, external_id) "
    "WHERE org_id = ? AND app_id = ? AND state <> 'Archived' RETURNING app_id",
)
# Raises the epoch only when the state changes, so that repeating it disturbs no one.
SET_APPLICATION_STATE = Statement(
    "set_application_state",
    "UPDATE applications SET epoch = epoch + (CASE WHEN state = ? THEN 0 ELSE 1 END), state = ? "
    "WHERE org_id = ? AND app_id = ? AND state <> 'Archived' RETURNING app_id",
)
RAISE_APPLICATION_EPOCH = Statement(
    "raise_application_epoch",
    "UPDATE applications SET epoch = epoch + 1 WHERE org_id = ? AND app_id = ? AND state <> 'Archived' "
    "RETURNING kind, name",
)
ARCHIVE_APPLICATION_TOKENS = Statement(
    "archive_application_tokens",
    "UPDATE tokens SET state = 'Archived', epoch = epoch + 1 "
    "WHERE org_id = ? AND app_id = ? AND kind = 'Application' AND state <> 'Archived' RETURNING token_id",
)
SET_DEMANDS = Statement(
    "set_demands_of_application",
    "UPDATE applications SET require_application_id = ?, require_nonce = ?, require_api_signature = ?, "
    "epoch = epoch + 1 WHERE org_id = ? AND app_id = ? AND state <> 'Archived' RETURNING app_id",
)
READ_PARTY = Statement(
    "read_party_of_application",
    "SELECT rp_id FROM applications WHERE org_id = ? AND app_id = ? AND state <> 'Archived'",
)
LIST_ORIGINS_OF_APPLICATION = Statement(
    "list_origins_of_application",
    "SELECT origin FROM origins WHERE org_id = ? AND app_id = ? ORDER BY created_at, origin",
)
DELETE_ORIGIN = Statement(
    "delete_origin", "DELETE FROM origins WHERE org_id = ? AND app_id = ? AND origin = ? RETURNING origin"
)
FIND_APPLICATION = Statement("find_application_by_id", "SELECT org_id FROM application_ids WHERE app_id = ?")
