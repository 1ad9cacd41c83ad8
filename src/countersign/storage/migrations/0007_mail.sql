-- How people come in: mail to them, codes to log in with, registrations under way.

-- What is to be sent. body has {code} where a one-time code belongs; sealed: that code, under a key of the server, bound
-- to mail_id. Forgotten at expires_at, when its code is long void.
CREATE TABLE mail (
    org_id TEXT NOT NULL,
    mail_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    recipient TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    sealed BYTEA,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, mail_id)
);
CREATE INDEX mail_user ON mail (org_id, user_id, kind, created_at);
CREATE INDEX mail_expiry ON mail (expires_at);

-- Codes with which a person is handed the own encrypted private key at a login; one a person.
CREATE TABLE login_codes (
    org_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    code_hash TEXT NOT NULL,
    user_epoch BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, user_id)
);

-- The challenge that a person who is not registered yet was given last; those before it are void.
CREATE TABLE registrations (
    org_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    challenge_id TEXT NOT NULL,
    PRIMARY KEY (org_id, user_id)
);

-- The service account that opened a session for an end user.
ALTER TABLE tokens ADD COLUMN delegated_by TEXT;
