"""All SQL of the audit log."""

from __future__ import annotations

from functools import cache

from countersign.storage import Statement

INSERT_ENTRY = Statement(
    "insert_audit_entry",
    "INSERT INTO audit_entries (org_id, entry_id, user_id, performed_at, entry, payload) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (org_id, entry_id) DO NOTHING RETURNING entry_id",
)
INSERT_UNSEQUENCED = Statement(
    "insert_audit_unsequenced",
    "INSERT INTO audit_unsequenced (org_id, entry_id) VALUES (?, ?)",
)

LIST_WAITING_ORGANISATIONS = Statement(
    "list_waiting_organisations",
    "SELECT DISTINCT org_id FROM audit_unsequenced ORDER BY org_id",
)
COUNT_WAITING = Statement(
    "count_waiting_audit_entries",
    "SELECT count(*) FROM (SELECT 1 FROM audit_unsequenced LIMIT 100000) waiting",
)
LIST_WAITING = Statement(
    "list_waiting_audit_entries",
    "SELECT u.entry_id, e.entry FROM audit_unsequenced u "
    "JOIN audit_entries e ON e.org_id = u.org_id AND e.entry_id = u.entry_id "
    "WHERE u.org_id = ? ORDER BY u.entry_id LIMIT ?",
)
LATEST_CHECKPOINT = Statement(
    "latest_checkpoint",
    "SELECT size, root_hash, frontier, kid, signature, created_at FROM audit_checkpoints "
    "WHERE org_id = ? ORDER BY size DESC LIMIT 1",
)
INSERT_CHECKPOINT = Statement(
    "insert_checkpoint",
    "INSERT INTO audit_checkpoints (org_id, size, root_hash, frontier, kid, signature, created_at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (org_id, size) DO NOTHING RETURNING size",
)
# Only what got a position: an entry that was committed meanwhile stays.
DELETE_SEQUENCED = Statement(
    "delete_sequenced",
    "DELETE FROM audit_unsequenced WHERE org_id = ? AND entry_id IN "
    "(SELECT entry_id FROM audit_leaves WHERE org_id = ? AND position >= ? AND position < ?)",
)

LEAVES_PER_STATEMENT = (128, 16, 1)


@cache
def insert_leaves(count: int) -> Statement:
    """Insert ``count`` leaves (one of ``LEAVES_PER_STATEMENT``): four arguments each; answers the positions taken."""
    rows = ", ".join(["(?, ?, ?, ?)"] * count)
    return Statement(
        f"insert_leaves_{count}",
        f"INSERT INTO audit_leaves (org_id, position, entry_id, leaf_hash) VALUES {rows} "
        "ON CONFLICT DO NOTHING RETURNING position",
    )


# Read in one statement, so that no entry can move from the second to the first in between.
SIZE_AND_UNSEQUENCED = Statement(
    "size_and_unsequenced",
    "SELECT c.size, u.entry_id FROM (SELECT MAX(size) AS size FROM audit_checkpoints WHERE org_id = ?) c "
    "LEFT JOIN audit_unsequenced u ON u.org_id = ? ORDER BY u.entry_id",
)
LIST_LEAVES = Statement(
    "list_leaves",
    "SELECT l.position, l.entry_id, e.entry, l.leaf_hash, e.payload FROM audit_leaves l "
    "JOIN audit_entries e ON e.org_id = l.org_id AND e.entry_id = l.entry_id "
    "WHERE l.org_id = ? AND l.position >= ? AND l.position < ? ORDER BY l.position",
)
LIST_CHECKPOINTS = Statement(
    "list_checkpoints",
    "SELECT size, root_hash, frontier, kid, signature, created_at FROM audit_checkpoints "
    "WHERE org_id = ? AND size > ? AND size <= ? ORDER BY size",
)
LIST_CHECKPOINT_KEYS = Statement(
    "list_checkpoint_keys",
    "SELECT kid, public_key, created_at, handover FROM server_keys "
    "WHERE purpose = 'checkpoint' ORDER BY created_at, kid",
)
GET_INSTALLATION_ID = Statement("get_installation_id", "SELECT value FROM installation WHERE name = 'installation_id'")

GET_ENTRY = Statement(
    "get_audit_entry",
    "SELECT entry, payload FROM audit_entries WHERE org_id = ? AND entry_id = ?",
)
# Keyset pages in the order of the index. What keys signed is in exports; the API lists what people did.
LIST_ENTRIES = Statement(
    "list_audit_entries",
    "SELECT performed_at, entry_id, entry FROM audit_entries "
    "WHERE org_id = ? AND performed_at <= ? AND (performed_at, entry_id) > (?, ?) "
    'AND entry NOT LIKE \'{"kind":"Signature"%\' ORDER BY performed_at, entry_id LIMIT ?',
)
LIST_ENTRIES_OF_USER = Statement(
    "list_audit_entries_of_user",
    "SELECT performed_at, entry_id, entry FROM audit_entries "
    "WHERE org_id = ? AND user_id = ? AND performed_at <= ? AND (performed_at, entry_id) > (?, ?) "
    'AND entry NOT LIKE \'{"kind":"Signature"%\' ORDER BY performed_at, entry_id LIMIT ?',
)
