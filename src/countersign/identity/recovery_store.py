"""SQL of recovery: who may recover, and by which key."""

from __future__ import annotations

from countersign.storage import Statement

_PERSON = (
    "SELECT u.user_id, u.username, u.kind, u.registration, u.state, u.is_registered, u.epoch, o.is_active, o.epoch, "
    "o.name, m.code_hash, m.user_epoch, m.expires_at, "
    "c.credential_uuid, c.credential_id, c.public_key, c.encrypted_private_key, c.state "
    "FROM users u JOIN organisations o ON o.org_id = u.org_id "
    "LEFT JOIN mailed_codes m ON m.org_id = u.org_id AND m.user_id = u.user_id AND m.purpose = 'recovery' "
    "LEFT JOIN credentials c ON c.org_id = u.org_id AND c.user_id = u.user_id AND c.token_id = '' "
    "AND c.kind = 'RecoveryKey' AND {which} "
    "WHERE u.org_id = ? AND u.is_service_account = 0 AND {who}"
)
FIND_PERSON = Statement(
    "find_person_to_recover",
    _PERSON.format(which="c.credential_key = ? AND c.state = 'Active'", who="u.username_key = ?"),
)
READ_PERSON = Statement("read_person_to_recover", _PERSON.format(which="c.credential_uuid = ?", who="u.user_id = ?"))
FIND_OWN = Statement(
    "find_own_credential",
    "SELECT credential_uuid, kind, name FROM credentials WHERE org_id = ? AND user_id = ? AND token_id = '' "
    "AND credential_key = ? AND fingerprint = ? AND state = 'Active'",
)
