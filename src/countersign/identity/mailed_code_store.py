"""SQL of codes that people are mailed to log in or to recover."""

from __future__ import annotations

from countersign.storage import Statement

# Whom a code is sent to: an active, registered person with a credential of the kind.
FIND_HOLDER = Statement(
    "find_user_to_mail_a_code",
    "SELECT u.user_id, u.username, u.kind, u.epoch, o.name FROM users u JOIN organisations o ON o.org_id = u.org_id "
    "WHERE u.org_id = ? AND u.is_service_account = 0 AND u.username_key = ? AND u.state = 'Active' "
    "AND u.is_registered = 1 AND o.is_active = 1 AND EXISTS (SELECT 1 FROM credentials c WHERE c.org_id = u.org_id "
    "AND c.user_id = u.user_id AND c.token_id = '' AND c.state = 'Active' AND c.kind = ?)",
)
PUT_CODE = Statement(
    "put_mailed_code",
    "INSERT INTO mailed_codes (org_id, user_id, purpose, code_hash, user_epoch, created_at, expires_at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (org_id, user_id, purpose) DO UPDATE SET "
    "code_hash = excluded.code_hash, user_epoch = excluded.user_epoch, created_at = excluded.created_at, "
    "expires_at = excluded.expires_at",
)
IS_LIVE = Statement(
    "is_mailed_code_live",
    "SELECT 1 FROM mailed_codes m JOIN users u ON u.org_id = m.org_id AND u.user_id = m.user_id "
    "WHERE m.org_id = ? AND m.user_id = ? AND m.purpose = ? AND m.expires_at > ? AND m.user_epoch = u.epoch",
)
TAKE_CODE = Statement(
    "take_mailed_code",
    "DELETE FROM mailed_codes WHERE org_id = ? AND user_id = ? AND purpose = ? AND code_hash = ? RETURNING user_id",
)
FORGET_CODES = Statement("forget_mailed_codes", "DELETE FROM mailed_codes WHERE expires_at < ?")
