-- How people recover: codes by mail, and how long they wait afterwards.

-- Codes that people are mailed. purpose: login (to be handed the own encrypted private key) or recovery; one a person
-- and purpose. In the place of login_codes, whose rows lived ten minutes.
CREATE TABLE mailed_codes (
    org_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    purpose TEXT NOT NULL,
    code_hash TEXT NOT NULL,
    user_epoch BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, user_id, purpose)
);
CREATE INDEX mailed_codes_expiry ON mailed_codes (expires_at);
DROP TABLE login_codes;

-- Until when (ms) somebody who recovered changes nothing; 0 for no wait.
ALTER TABLE users ADD COLUMN held_until BIGINT NOT NULL DEFAULT 0;
