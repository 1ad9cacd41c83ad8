"""All SQL of webhooks."""

from __future__ import annotations

from countersign.storage import Statement

_WEBHOOK = "webhook_id, url, events, status, description, created_at, updated_at"
_EVENT = "event_id, kind, date, data, status, error, sent_at, failed, attempt, retry_of, next_attempt_at"

SLOTS = Statement("webhooks.slots", "SELECT slot FROM webhooks WHERE org_id = ?")
INSERT = Statement(
    "webhooks.insert",
    "INSERT INTO webhooks (org_id, slot, secret, failing, webhook_id, url, events, status, description, created_at,"
    " updated_at) VALUES (?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?)",
)
GET = Statement("webhooks.get", f"SELECT {_WEBHOOK} FROM webhooks WHERE org_id = ? AND webhook_id = ?")
LIST = Statement(
    "webhooks.list",
    f"SELECT {_WEBHOOK} FROM webhooks WHERE org_id = ? AND webhook_id < ? ORDER BY webhook_id DESC LIMIT ?",
)
UPDATE = Statement(
    "webhooks.update",
    "UPDATE webhooks SET url = COALESCE(?, url), events = COALESCE(?, events), status = COALESCE(?, status),"
    " description = COALESCE(?, description), updated_at = ?, failing = CASE WHEN ? = 1 THEN 0 ELSE failing END"
    f" WHERE org_id = ? AND webhook_id = ? RETURNING {_WEBHOOK}",
)
DELETE = Statement("webhooks.delete", "DELETE FROM webhooks WHERE org_id = ? AND webhook_id = ? RETURNING webhook_id")

# For operators, who see all organisations.
FIND_ORGANISATION = Statement("webhooks.find_organisation", "SELECT org_id FROM webhooks WHERE webhook_id = ?")
LIST_ALL = Statement(
    "webhooks.list_all", "SELECT org_id, webhook_id, url, status, failing FROM webhooks ORDER BY org_id, webhook_id"
)

SUBSCRIBED = Statement(
    "webhooks.subscribed", "SELECT webhook_id, url, events FROM webhooks WHERE org_id = ? AND status = 'Enabled'"
)
TARGET = Statement(
    "webhooks.target", "SELECT url, status, secret, failing FROM webhooks WHERE org_id = ? AND webhook_id = ?"
)
WORKS = Statement("webhooks.works", "UPDATE webhooks SET failing = 0 WHERE org_id = ? AND webhook_id = ?")
FAILS = Statement(
    "webhooks.fails", "UPDATE webhooks SET failing = failing + 1 WHERE org_id = ? AND webhook_id = ? RETURNING failing"
)
DISABLE = Statement(
    "webhooks.disable",
    "UPDATE webhooks SET status = 'Disabled', updated_at = ? WHERE org_id = ? AND webhook_id = ? AND status = 'Enabled'"
    " RETURNING webhook_id",
)

INSERT_EVENT = Statement(
    "webhooks.insert_event",
    f"INSERT INTO webhook_events (org_id, webhook_id, {_EVENT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
)
GET_EVENT = Statement(
    "webhooks.get_event",
    f"SELECT {_EVENT} FROM webhook_events WHERE org_id = ? AND webhook_id = ? AND event_id = ?",
)
ATTEMPTS_SINCE = Statement(
    "webhooks.attempts_since",
    "SELECT event_id, failed, next_attempt_at, retry_of FROM webhook_events"
    " WHERE org_id = ? AND webhook_id = ? AND sent_at >= ? ORDER BY event_id",
)
_LIST_EVENTS = f"SELECT {_EVENT} FROM webhook_events WHERE org_id = ? AND webhook_id = ? AND event_id < ?"
_NEWEST = " ORDER BY event_id DESC LIMIT ?"
LIST_EVENTS = Statement("webhooks.list_events", _LIST_EVENTS + _NEWEST)
LIST_EVENTS_OF_KIND = Statement("webhooks.list_events_of_kind", _LIST_EVENTS + " AND kind = ?" + _NEWEST)
# Written out, so that the index of the failed ones serves it.
LIST_FAILED_EVENTS = Statement("webhooks.list_failed_events", _LIST_EVENTS + " AND failed = 1" + _NEWEST)
LIST_TAKEN_EVENTS = Statement("webhooks.list_taken_events", _LIST_EVENTS + " AND failed = 0" + _NEWEST)
LIST_FAILED_EVENTS_OF_KIND = Statement(
    "webhooks.list_failed_events_of_kind", _LIST_EVENTS + " AND failed = 1 AND kind = ?" + _NEWEST
)
LIST_TAKEN_EVENTS_OF_KIND = Statement(
    "webhooks.list_taken_events_of_kind", _LIST_EVENTS + " AND failed = 0 AND kind = ?" + _NEWEST
)
FORGET_EVENTS = Statement(
    "webhooks.forget_events",
    "DELETE FROM webhook_events WHERE (org_id, webhook_id, event_id) IN"
    " (SELECT org_id, webhook_id, event_id FROM webhook_events WHERE sent_at < ? ORDER BY sent_at LIMIT ?)"
    " RETURNING event_id",
)
