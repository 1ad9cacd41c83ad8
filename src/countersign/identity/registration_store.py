"""SQL of registration: who may register, the challenge given last, and what completes it."""

from __future__ import annotations

from countersign.storage import Statement

_PERSON = (
    "SELECT u.user_id, u.username, COALESCE(u.display_name, u.username), u.kind, u.registration, u.state, "
    "u.is_registered, u.epoch, o.is_active, o.epoch, o.name, c.code_hash, c.user_epoch, c.expires_at "
    "FROM users u JOIN organisations o ON o.org_id = u.org_id "
    "LEFT JOIN registration_codes c ON c.org_id = u.org_id AND c.user_id = u.user_id "
    "WHERE u.org_id = ? AND u.is_service_account = 0 "
)
FIND_PERSON = Statement("find_person_to_register", _PERSON + "AND u.username_key = ?")
READ_PERSON = Statement("read_person_to_register", _PERSON + "AND u.user_id = ?")

# The only code of the only organisation, where none is named.
LIST_TWO_ORGANISATIONS = Statement("list_two_organisations", "SELECT org_id FROM organisations ORDER BY org_id LIMIT 2")

# The invitation: a repeat of the request that made the user sends no second one.
INSERT_CODE = Statement(
    "insert_registration_code",
    "INSERT INTO registration_codes (org_id, user_id, code_hash, user_epoch, created_at, expires_at) "
    "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (org_id, user_id) DO NOTHING RETURNING user_id",
)
DELETE_CODE = Statement("delete_registration_code", "DELETE FROM registration_codes WHERE org_id = ? AND user_id = ?")

# Only while the very code counts that was typed. Voids the challenge before.
BEGIN_WITH_CODE = Statement(
    "begin_registration_with_code",
    "INSERT INTO registrations (org_id, user_id, challenge_id) "
    "SELECT org_id, user_id, CAST(? AS TEXT) FROM registration_codes "
    "WHERE org_id = ? AND user_id = ? AND code_hash = ? "
    "ON CONFLICT (org_id, user_id) DO UPDATE SET challenge_id = excluded.challenge_id RETURNING user_id",
)
BEGIN = Statement(
    "begin_registration",
    "INSERT INTO registrations (org_id, user_id, challenge_id) VALUES (?, ?, ?) "
    "ON CONFLICT (org_id, user_id) DO UPDATE SET challenge_id = excluded.challenge_id",
)
END_WITH = Statement(
    "end_registration_with",
    "DELETE FROM registrations WHERE org_id = ? AND user_id = ? AND challenge_id = ? RETURNING user_id",
)
END = Statement("end_registration", "DELETE FROM registrations WHERE org_id = ? AND user_id = ?")

# Once, whoever else tries: the epoch voids every other challenge of this person.
REGISTER = Statement(
    "register_user",
    "UPDATE users SET is_registered = 1, epoch = epoch + 1 "
    "WHERE org_id = ? AND user_id = ? AND is_registered = 0 AND state = 'Active' RETURNING epoch",
)
