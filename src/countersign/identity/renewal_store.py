"""SQL of the end of everything that a person had."""

from __future__ import annotations

from countersign.storage import Statement

# A longer hold stays, up to the third argument.
RENEW_USER = Statement(
    "renew_user",
    "UPDATE users SET epoch = epoch + 1, held_until = CASE WHEN held_until > ? AND held_until <= ? THEN held_until "
    "ELSE ? END WHERE org_id = ? AND user_id = ? AND state = 'Active' "
    "AND is_service_account = 0 AND is_registered = 1 RETURNING held_until",
)
ARCHIVE_CREDENTIALS = Statement(
    "archive_all_credentials_of",
    "UPDATE credentials SET state = 'Archived', epoch = epoch + 1 "
    "WHERE org_id = ? AND user_id = ? AND state <> 'Archived' RETURNING credential_uuid",
)
ARCHIVE_TOKENS = Statement(
    "archive_all_tokens_of",
    "UPDATE tokens SET state = 'Archived', epoch = epoch + 1 "
    "WHERE org_id = ? AND user_id = ? AND state <> 'Archived' RETURNING token_id",
)
