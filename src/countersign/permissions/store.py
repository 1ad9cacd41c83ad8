"""All SQL of permissions and of their assignments to identities."""

from __future__ import annotations

from countersign.storage import Statement

# A taken name answers no row.
INSERT_PERMISSION = Statement(
    "insert_permission",
    "INSERT INTO permissions (org_id, permission_id, name, operations, is_immutable, is_archived, created_at, "
    "updated_at) VALUES (?, ?, ?, ?, ?, 0, ?, ?) ON CONFLICT DO NOTHING RETURNING permission_id",
)
FIND_PERMISSION = Statement("find_permission", "SELECT permission_id FROM permissions WHERE org_id = ? AND name = ?")

_PERMISSION = (
    "SELECT permission_id, name, operations, is_immutable, is_archived, created_at, updated_at FROM permissions "
)
_ONE = _PERMISSION + "WHERE org_id = ? AND permission_id = ?"
GET_PERMISSION = Statement("get_permission", _ONE)
# Who would change the permission waits until who looked at it first is done; SQLite has one writer.
LOCK_PERMISSION = Statement("lock_permission", _ONE, postgresql=_ONE + " FOR UPDATE")
LIST_PERMISSIONS = Statement(
    "list_permissions", _PERMISSION + "WHERE org_id = ? AND permission_id < ? ORDER BY permission_id DESC LIMIT ?"
)
SET_PERMISSION = Statement(
    "set_permission",
    "UPDATE permissions SET name = ?, operations = ?, is_archived = ?, updated_at = ? "
    "WHERE org_id = ? AND permission_id = ? RETURNING permission_id",
)

# The same permission a second time answers no row.
INSERT_ASSIGNMENT = Statement(
    "insert_assignment",
    "INSERT INTO permission_assignments (org_id, assignment_id, permission_id, identity_id, is_immutable, created_at, "
    "updated_at) VALUES (?, ?, ?, ?, 0, ?, ?) ON CONFLICT DO NOTHING RETURNING assignment_id",
)
_ASSIGNMENT = (
    "SELECT assignment_id, permission_id, identity_id, is_immutable, created_at, updated_at "
    "FROM permission_assignments "
)
FIND_ASSIGNMENT = Statement(
    "find_assignment", _ASSIGNMENT + "WHERE org_id = ? AND identity_id = ? AND permission_id = ?"
)
GET_ASSIGNMENT = Statement(
    "get_assignment", _ASSIGNMENT + "WHERE org_id = ? AND permission_id = ? AND assignment_id = ?"
)
LIST_ASSIGNMENTS = Statement(
    "list_assignments",
    _ASSIGNMENT + "WHERE org_id = ? AND permission_id = ? AND assignment_id < ? ORDER BY assignment_id DESC LIMIT ?",
)
DELETE_ASSIGNMENT = Statement(
    "delete_assignment",
    "DELETE FROM permission_assignments WHERE org_id = ? AND assignment_id = ? RETURNING assignment_id",
)

RAISE_REVISION = Statement(
    "raise_permission_revision",
    "UPDATE organisations SET permission_revision = permission_revision + 1 WHERE org_id = ?",
)

# Whoever can hold a permission; a session is its user, and no identity of its own.
FIND_IDENTITY = Statement(
    "find_identity",
    "SELECT state FROM users WHERE org_id = ? AND user_id = ? "
    "UNION ALL SELECT state FROM tokens WHERE org_id = ? AND token_id = ? AND kind IN ('Pat', 'ServiceAccount') "
    "UNION ALL SELECT state FROM applications WHERE org_id = ? AND app_id = ?",
)

# Takes the row as a lock: those who decide about administrators wait for each other.
LOCK_ADMINISTRATORS = Statement(
    "lock_administrators", "UPDATE organisations SET epoch = epoch WHERE org_id = ? RETURNING org_id"
)
_ADMINISTRATORS = (
    "FROM permission_assignments a "
    "JOIN permissions p ON p.org_id = a.org_id AND p.permission_id = a.permission_id "
    "JOIN users u ON u.org_id = a.org_id AND u.user_id = a.identity_id "
    "WHERE a.org_id = ? AND p.name = ? AND p.is_immutable = 1 AND u.state = 'Active' AND u.is_registered = 1 "
)
IS_ADMINISTRATOR = Statement(
    "is_administrator", "SELECT u.is_service_account " + _ADMINISTRATORS + "AND u.user_id = ? LIMIT 1"
)
FIND_OTHER_ADMINISTRATOR = Statement(
    "find_other_administrator",
    "SELECT u.user_id " + _ADMINISTRATORS + "AND u.user_id <> ? AND u.is_service_account <= ? LIMIT 1",
)

LIST_HELD = Statement(
    "list_held_permissions",
    "SELECT p.is_immutable, p.operations FROM permission_assignments a "
    "JOIN permissions p ON p.org_id = a.org_id AND p.permission_id = a.permission_id "
    "WHERE a.org_id = ? AND a.identity_id = ? AND p.is_archived = 0",
)

# What an operator sees, by id or name in each organisation.
_SHOWN = (
    "SELECT p.org_id, p.permission_id, p.name, p.operations, p.is_immutable, p.is_archived, p.created_at, "
    "p.updated_at FROM permissions p "
)
LIST_SHOWN = Statement(
    "list_permissions_to_operator",
    _SHOWN + "WHERE p.org_id = ? AND p.permission_id < ? AND (p.is_archived = 0 OR ? = 1) "
    "ORDER BY p.permission_id DESC LIMIT ?",
)
FIND_SHOWN = Statement(
    "find_permission_of_operator",
    _SHOWN + "JOIN organisations o ON o.org_id = p.org_id "
    "WHERE (p.permission_id = ? OR p.name = ?) AND (? = '' OR p.org_id = ?) ORDER BY p.permission_id LIMIT 2",
)
LIST_HOLDERS = Statement(
    "list_holders",
    "SELECT a.assignment_id, a.identity_id, COALESCE(u.username, t.name, x.name, ''), "
    "COALESCE(u.state, t.state, x.state, '') "
    "FROM permission_assignments a "
    "LEFT JOIN users u ON u.org_id = a.org_id AND u.user_id = a.identity_id "
    "LEFT JOIN tokens t ON t.org_id = a.org_id AND t.token_id = a.identity_id "
    "LEFT JOIN applications x ON x.org_id = a.org_id AND x.app_id = a.identity_id "
    "WHERE a.org_id = ? AND a.permission_id = ? ORDER BY a.assignment_id DESC LIMIT 1000",
)
