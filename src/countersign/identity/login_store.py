"""SQL of login: what a name may log in with, the holder of a credential."""

from __future__ import annotations

from countersign.storage import Statement

# Every credential of the person that can log in; one row without a credential where there is none.
FIND_NAMED = Statement(
    "find_named_to_log_in",
    "SELECT u.user_id, u.state, u.epoch, o.is_active, o.epoch, l.code_hash, l.user_epoch, l.expires_at, "
    "c.kind, c.credential_id, c.encrypted_private_key "
    "FROM users u JOIN organisations o ON o.org_id = u.org_id "
    "LEFT JOIN mailed_codes l ON l.org_id = u.org_id AND l.user_id = u.user_id AND l.purpose = 'login' "
    "LEFT JOIN credentials c ON c.org_id = u.org_id AND c.user_id = u.user_id AND c.token_id = '' "
    "AND c.state = 'Active' AND c.kind <> 'RecoveryKey' "
    "WHERE u.org_id = ? AND u.is_service_account = 0 AND u.username_key = ? AND u.state <> 'Archived' "
    "ORDER BY c.credential_uuid LIMIT 200",
)
FIND_HOLDER = Statement(
    "find_credential_holder",
    "SELECT u.user_id, u.username, u.state, u.epoch, u.is_sso_required, o.is_active, o.epoch, "
    "c.credential_uuid, c.kind, c.public_key, c.rp_id, c.fido2, c.sign_count, c.epoch "
    "FROM credentials c JOIN users u ON u.org_id = c.org_id AND u.user_id = c.user_id "
    "JOIN organisations o ON o.org_id = c.org_id "
    "WHERE c.org_id = ? AND c.credential_key = ? AND c.token_id = '' AND c.state = 'Active' "
    "AND c.kind <> 'RecoveryKey' AND u.is_service_account = 0",
)
# On PostgreSQL whoever would shut the person out, or end the credential, waits until the session is there.
_HOLD = (
    "SELECT c.state, c.epoch, u.is_sso_required FROM users u "
    "JOIN credentials c ON c.org_id = u.org_id AND c.user_id = u.user_id "
    "WHERE u.org_id = ? AND u.user_id = ? AND c.credential_uuid = ?"
)
HOLD_CREDENTIAL = Statement("hold_credential_to_log_in", _HOLD, postgresql=_HOLD + " FOR SHARE OF u, c")

FIND_DELEGATED = Statement(
    "find_user_for_delegated_login",
    "SELECT u.user_id, u.username, u.kind, u.registration, u.state, u.is_registered, u.is_sso_required "
    "FROM users u WHERE u.org_id = ? AND u.is_service_account = 0 AND u.username_key = ? AND u.state <> 'Archived'",
)
