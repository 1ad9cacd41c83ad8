"""All SQL of credentials: enrolment, listing, state, and the codes by which one is added from another device."""

from __future__ import annotations

from countersign.storage import Statement

# A taken credential id or public key answers no row.
INSERT_CREDENTIAL = Statement(
    "enrol_credential",
    "INSERT INTO credentials (org_id, credential_uuid, user_id, token_id, kind, credential_id, credential_key, name, "
    "public_key, fingerprint, rp_id, origin, encrypted_private_key, sign_count, fido2, attestation, "
    "state, epoch, created_at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'Active', 0, ?) "
    "ON CONFLICT DO NOTHING RETURNING credential_uuid",
)
# Ids of passkeys are unique over the whole server.
INSERT_FIDO2_ID = Statement(
    "insert_fido2_id",
    "INSERT INTO fido2_ids (credential_key, org_id, credential_uuid) VALUES (?, ?, ?) "
    "ON CONFLICT (credential_key) DO NOTHING RETURNING credential_uuid",
)
FIND_COLLISION = Statement(
    "find_credential_collision",
    "SELECT credential_uuid, user_id, credential_key FROM credentials "
    "WHERE org_id = ? AND (credential_key = ? OR fingerprint = ?) ORDER BY credential_uuid LIMIT 2",
)
LIST_CREDENTIALS = Statement(
    "list_credentials",
    "SELECT kind, credential_id, credential_uuid, created_at, state, name, fingerprint, rp_id, origin FROM credentials "
    "WHERE org_id = ? AND user_id = ? AND token_id = ? AND state <> 'Archived' ORDER BY credential_uuid",
)
LIST_FIDO2_IDS = Statement(
    "list_fido2_ids",
    "SELECT credential_id FROM credentials "
    "WHERE org_id = ? AND user_id = ? AND kind = 'Fido2' AND state <> 'Archived' ORDER BY credential_uuid LIMIT 200",
)

# Changes nothing: it makes changes to the credentials of one user wait for each other.
LOCK_USER = Statement(
    "lock_user_credentials",
    "UPDATE users SET epoch = epoch WHERE org_id = ? AND user_id = ? RETURNING user_id",
)
# Raises the epoch only when the state changes, so that repeating it cancels nothing more.
SET_STATE = Statement(
    "set_credential_state",
    "UPDATE credentials SET epoch = epoch + (CASE WHEN state = ? THEN 0 ELSE 1 END), state = ? "
    "WHERE org_id = ? AND user_id = ? AND token_id = '' AND credential_uuid = ? AND state <> 'Archived' "
    "RETURNING credential_uuid",
)
COUNT_FIRST_FACTORS = Statement(
    "count_first_factors",
    "SELECT COUNT(*) FROM credentials "
    "WHERE org_id = ? AND user_id = ? AND token_id = '' AND state = 'Active' AND kind <> 'RecoveryKey'",
)

FIND_FINGERPRINT = Statement(
    "find_credential_fingerprint",
    "SELECT fingerprint FROM credentials WHERE org_id = ? AND credential_uuid = ? AND state <> 'Archived'",
)

READ_STATE = Statement(
    "read_credential_state", "SELECT state FROM credentials WHERE org_id = ? AND credential_uuid = ?"
)

# One live code a user: a new one takes the place of the old.
PUT_CODE = Statement(
    "put_credential_code",
    "INSERT INTO credential_codes (code_hash, org_id, user_id, user_epoch, action_id, expires_at) "
    "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (org_id, user_id) DO UPDATE SET code_hash = excluded.code_hash, "
    "user_epoch = excluded.user_epoch, action_id = excluded.action_id, expires_at = excluded.expires_at",
)
TAKE_CODE = Statement(
    "take_credential_code",
    "DELETE FROM credential_codes WHERE code_hash IN (?, ?) AND expires_at > ? "
    "RETURNING org_id, user_id, user_epoch, action_id",
)
FORGET_CODES = Statement("forget_credential_codes", "DELETE FROM credential_codes WHERE expires_at < ?")
READ_CODE_USER = Statement(
    "read_code_user",
    "SELECT u.username, u.state, u.epoch, o.is_active, o.epoch FROM users u "
    "JOIN organisations o ON o.org_id = u.org_id WHERE u.org_id = ? AND u.user_id = ?",
)
