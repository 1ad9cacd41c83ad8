"""SQL of mail to people."""

from __future__ import annotations

from countersign.storage import Statement

INSERT_MAIL = Statement(
    "insert_mail",
    "INSERT INTO mail (org_id, mail_id, user_id, kind, recipient, subject, body, sealed, created_at, expires_at, "
    "good_until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
)
COUNT_MAIL = Statement(
    "count_mail", "SELECT COUNT(*) FROM mail WHERE org_id = ? AND user_id = ? AND kind = ? AND created_at > ?"
)
_MAIL = (
    "SELECT m.mail_id, m.org_id, m.user_id, m.kind, m.recipient, m.subject, m.body, m.sealed, m.created_at, "
    "m.good_until FROM mail m "
)
LIST_MAIL = Statement(
    "list_mail", _MAIL + "JOIN organisations o ON o.org_id = m.org_id ORDER BY m.mail_id DESC LIMIT ?"
)
READ_UNSENT = Statement("read_unsent_mail", _MAIL + "WHERE m.org_id = ? AND m.mail_id = ? AND m.sent_at IS NULL")
MARK_SENT = Statement("mark_mail_sent", "UPDATE mail SET sent_at = ?, sealed = NULL WHERE org_id = ? AND mail_id = ?")
READ_RECIPIENT = Statement(
    "read_recipient",
    "SELECT u.username, u.kind, o.name FROM users u JOIN organisations o ON o.org_id = u.org_id "
    "WHERE u.org_id = ? AND u.user_id = ?",
)
FORGET_MAIL = Statement("forget_mail", "DELETE FROM mail WHERE expires_at < ?")
ORGANISATION_NAME = Statement("organisation_name", "SELECT name FROM organisations WHERE org_id = ?")
