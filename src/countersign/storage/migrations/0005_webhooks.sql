-- Endpoints that are told of events. `slot` is a number below the organisation's limit: its unique key is what keeps the
-- limit when several are made at once. `secret` is sealed under a key of the server. `failing` counts the events in a
-- row whose every attempt failed.
CREATE TABLE webhooks (
    org_id TEXT NOT NULL,
    webhook_id TEXT NOT NULL,
    slot BIGINT NOT NULL,
    url TEXT NOT NULL,
    events TEXT NOT NULL,
    status TEXT NOT NULL,
    description TEXT,
    secret BYTEA NOT NULL,
    failing BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, webhook_id),
    UNIQUE (org_id, slot)
);

-- One row for each attempt to deliver an event, written when it ended. `data` is JSON as it was sent. `date` is when the
-- event happened (ms), `sent_at` when this attempt began (seconds).
CREATE TABLE webhook_events (
    org_id TEXT NOT NULL,
    webhook_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    date BIGINT NOT NULL,
    data TEXT NOT NULL,
    status TEXT NOT NULL,
    error TEXT,
    sent_at BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    retry_of TEXT,
    next_attempt_at BIGINT,
    PRIMARY KEY (org_id, webhook_id, event_id)
);
CREATE INDEX webhook_events_kind ON webhook_events (org_id, webhook_id, kind, event_id);
CREATE INDEX webhook_events_failed ON webhook_events (org_id, webhook_id, event_id) WHERE failed = 1;
-- For forgetting those past their time, over all organisations.
CREATE INDEX webhook_events_sent ON webhook_events (sent_at);
