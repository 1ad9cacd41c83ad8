"""All SQL of identification: server keys, tokens, the rows an identity rests on."""

from __future__ import annotations

from countersign.storage import Statement

INSERT_SERVER_KEY = Statement(
    "insert_server_key",
    "INSERT INTO server_keys (kid, purpose, state, public_key, sealed, handover, created_at, retired_at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
)
LIST_SERVER_KEYS = Statement(
    "list_server_keys",
    "SELECT kid, purpose, state, public_key, sealed, handover, created_at FROM server_keys "
    "WHERE state <> 'Retired' ORDER BY created_at, kid",
)
LIST_ALL_SERVER_KEYS = Statement(
    "list_all_server_keys",
    "SELECT kid, purpose, state, public_key, sealed, handover, created_at FROM server_keys ORDER BY created_at, kid",
)
# Changes nothing: of two rotations at once, the second waits and then finds the key that the first made.
# Always the same row: who waits for it waits for every rotation before, however many there are.
LOCK_SERVER_KEYS = Statement(
    "lock_server_keys",
    "UPDATE server_keys SET state = state "
    "WHERE kid = (SELECT MIN(kid) FROM server_keys WHERE purpose = ?) RETURNING kid",
)
SUPERSEDE_SERVER_KEYS = Statement(
    "supersede_server_keys",
    "UPDATE server_keys SET state = 'Superseded' WHERE purpose = ? AND state = 'Active' RETURNING kid",
)
RETIRE_SERVER_KEY = Statement(
    "retire_server_key",
    "UPDATE server_keys SET state = 'Retired', retired_at = ? WHERE kid = ? AND state = 'Superseded' "
    "AND purpose <> 'payload' RETURNING purpose",
)

GET_INSTALLATION = Statement("get_installation", "SELECT value FROM installation WHERE name = ?")
PUT_INSTALLATION = Statement(
    "put_installation",
    "INSERT INTO installation (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING RETURNING name",
)

INSERT_TOKEN = Statement(
    "insert_token",
    "INSERT INTO tokens (org_id, token_id, kind, user_id, app_id, name, hash, credential_uuid, state, epoch, "
    "created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'Active', 0, ?, ?)",
)

# Everything an identity rests on, by primary keys only.
READ_IDENTITY = Statement(
    "read_identity",
    "SELECT t.kind, t.hash, t.state, t.epoch, t.expires_at, t.app_id, "
    "u.user_id, u.username, u.kind, u.is_service_account, u.state, u.epoch, "
    "o.is_active, o.epoch, o.permission_revision, t.delegated_by "
    "FROM tokens t "
    "JOIN users u ON u.org_id = t.org_id AND u.user_id = t.user_id "
    "JOIN organisations o ON o.org_id = t.org_id "
    "WHERE t.org_id = ? AND t.token_id = ?",
)

# The same again inside a mutation's transaction, with the credential that consented. On PostgreSQL whoever would
# change one of the three waits until the mutation is done, and the mutation for who was first; users come first, as
# where all of them are changed. SQLite has one writer.
_RECHECK = (
    "SELECT t.state, t.epoch, t.expires_at, u.state, u.epoch, o.is_active, o.epoch, o.permission_revision, "
    "c.state, c.epoch, c.user_id, c.token_id, u.held_until "
    "FROM tokens t "
    "JOIN users u ON u.org_id = t.org_id AND u.user_id = t.user_id "
    "JOIN organisations o ON o.org_id = t.org_id "
    "JOIN credentials c ON c.org_id = t.org_id AND c.user_id = t.user_id AND c.credential_uuid = ? "
    "WHERE t.org_id = ? AND t.token_id = ?"
)
RECHECK = Statement("recheck_caller", _RECHECK, postgresql=_RECHECK + " FOR SHARE OF u, c, t")

# Changes nothing: it makes whoever would change the caller's state wait, and others of the same caller that do it.
HOLD_CALLER = Statement(
    "hold_caller", "UPDATE users SET epoch = epoch WHERE org_id = ? AND user_id = ? RETURNING user_id"
)

# An archived permission grants nothing, and its assignment stays: a token that is held to it is not free of it so.
LIST_GRANTED = Statement(
    "list_granted",
    "SELECT a.identity_id, p.name, p.is_immutable * (1 - p.is_archived), "
    "CASE WHEN p.is_archived = 0 THEN p.operations ELSE '[]' END "
    "FROM permission_assignments a "
    "JOIN permissions p ON p.org_id = a.org_id AND p.permission_id = a.permission_id "
    "WHERE a.org_id = ? AND a.identity_id IN (?, ?)",
)

# Credentials a caller may sign with: bound to the caller's token, or (a person's session) to none. With them the
# epochs as they stand: those of a remembered caller may be a moment old, and what is signed under them would be void.
_SIGNING_CREDENTIALS = (
    "SELECT u.epoch, t.epoch, o.epoch, c.credential_uuid, c.kind, c.credential_id, c.credential_key, c.public_key, "
    "c.encrypted_private_key, c.epoch, c.rp_id, c.fido2, c.sign_count{also} "
    "FROM credentials c "
    "JOIN users u ON u.org_id = c.org_id AND u.user_id = c.user_id "
    "JOIN organisations o ON o.org_id = c.org_id "
    "JOIN tokens t ON t.org_id = c.org_id AND t.token_id = ? {with_also}"
    "WHERE c.org_id = ? AND c.user_id = ? AND c.token_id = ? AND c.state = 'Active' "
    "AND c.kind <> 'RecoveryKey' ORDER BY c.credential_uuid LIMIT 200"
)
LIST_SIGNING_CREDENTIALS = Statement("list_signing_credentials", _SIGNING_CREDENTIALS.format(also="", with_also=""))
# With the default relying party on each row: init asks for both, and one statement costs less than two.
LIST_SIGNING_CREDENTIALS_AND_PARTY = Statement(
    "list_signing_credentials_and_party",
    _SIGNING_CREDENTIALS.format(
        also=", p.rp_id, p.name",
        with_also="LEFT JOIN relying_parties p ON p.org_id = c.org_id AND p.is_default = 1 ",
    ),
)
READ_CREDENTIAL = Statement(
    "read_credential",
    "SELECT kind, public_key, rp_id, fido2 FROM credentials WHERE org_id = ? AND credential_uuid = ?",
)
# Another credential that signed the same action.
_RECHECK_CREDENTIAL = "SELECT state, epoch, user_id, token_id FROM credentials WHERE org_id = ? AND credential_uuid = ?"
RECHECK_CREDENTIAL = Statement("recheck_credential", _RECHECK_CREDENTIAL, postgresql=_RECHECK_CREDENTIAL + " FOR SHARE")
READ_COUNTER = Statement(
    "read_counter",
    "SELECT sign_count, accepted FROM credentials WHERE org_id = ? AND credential_uuid = ? AND state = 'Active'",
)
# Only over the very counter and answers that were judged: of two answers at once one sees the other.
ADVANCE_COUNTER = Statement(
    "advance_counter",
    "UPDATE credentials SET sign_count = ?, accepted = ? "
    "WHERE org_id = ? AND credential_uuid = ? AND sign_count = ? AND COALESCE(accepted, '') = ? "
    "RETURNING credential_uuid",
)
FLAG_CREDENTIAL = Statement(
    "flag_credential",
    "UPDATE credentials SET flagged_at = ? WHERE org_id = ? AND credential_uuid = ?",
)
LIST_ORIGINS = Statement(
    "list_origins",
    "SELECT o.rp_id, o.origin FROM origins o "
    "LEFT JOIN applications a ON a.org_id = o.org_id AND a.app_id = o.app_id "
    "WHERE o.org_id = ? AND (o.app_id = '' OR a.state = 'Active') ORDER BY o.rp_id, o.origin LIMIT 1000",
)

DEFAULT_RELYING_PARTY = Statement(
    "default_relying_party", "SELECT rp_id, name FROM relying_parties WHERE org_id = ? AND is_default = 1"
)
RELYING_PARTY_OF_APPLICATION = Statement(
    "relying_party_of_application",
    "SELECT rp_id, name FROM applications WHERE org_id = ? AND app_id = ? AND rp_id <> '' AND state = 'Active'",
)

READ_APPLICATION = Statement(
    "read_application",
    "SELECT a.org_id, a.kind, a.state, a.epoch, a.public_key, a.require_application_id, a.require_nonce, "
    "a.require_api_signature, o.is_active, o.permission_revision "
    "FROM application_ids i "
    "JOIN applications a ON a.org_id = i.org_id AND a.app_id = i.app_id "
    "JOIN organisations o ON o.org_id = a.org_id "
    "WHERE i.app_id = ? AND a.state <> 'Archived'",
)
RECHECK_APPLICATION = Statement(
    "recheck_application",
    "SELECT a.state, a.epoch, o.permission_revision "
    "FROM applications a JOIN organisations o ON o.org_id = a.org_id WHERE a.org_id = ? AND a.app_id = ?",
)
# A token that replaces another leaves the epoch of the application raised, so a handful at most is live.
LIST_APPLICATION_SECRETS = Statement(
    "list_application_secrets",
    "SELECT token_id, hash, expires_at FROM tokens "
    "WHERE org_id = ? AND app_id = ? AND kind = 'Application' AND state = 'Active' ORDER BY token_id DESC LIMIT 8",
)
# Which pages may read answers: those of any active application or organisation, as a preflight names neither.
IS_ORIGIN = Statement(
    "is_origin",
    "SELECT 1 FROM origins o "
    "LEFT JOIN applications a ON a.org_id = o.org_id AND a.app_id = o.app_id "
    "WHERE o.origin = ? AND (o.app_id = '' OR a.state = 'Active') LIMIT 1",
)
LIST_WEB_ORIGINS = Statement(
    "list_web_origins",
    "SELECT DISTINCT o.origin FROM origins o "
    "LEFT JOIN applications a ON a.org_id = o.org_id AND a.app_id = o.app_id "
    "WHERE o.rp_id = ? AND o.origin LIKE 'https://%' AND (o.app_id = '' OR a.state = 'Active') ORDER BY o.origin",
)

REMEMBER_NONCE = Statement(
    "remember_nonce",
    "INSERT INTO nonces (scope, nonce_hash, expires_at) VALUES (?, ?, ?) "
    "ON CONFLICT (scope, nonce_hash) DO NOTHING RETURNING scope",
)
FORGET_NONCES = Statement(
    "forget_nonces",
    "DELETE FROM nonces WHERE expires_at < ?",
)

# An outer join: a session that asked may have ended since, the token of a program may not.
READ_EPOCHS = Statement(
    "read_epochs",
    "SELECT u.state, u.epoch, o.is_active, o.epoch, t.state, t.epoch FROM users u "
    "JOIN organisations o ON o.org_id = u.org_id "
    "LEFT JOIN tokens t ON t.org_id = u.org_id AND t.token_id = ? "
    "WHERE u.org_id = ? AND u.user_id = ?",
)
SPEND_CHALLENGE = Statement(
    "spend_challenge",
    "INSERT INTO spent_challenges (org_id, challenge_id, expires_at) VALUES (?, ?, ?) "
    "ON CONFLICT (org_id, challenge_id) DO NOTHING RETURNING challenge_id",
)
FORGET_SPENT_CHALLENGES = Statement(
    "forget_spent_challenges",
    "DELETE FROM spent_challenges WHERE expires_at < ?",
)
