-- People, applications and what proves them.

ALTER TABLE users ADD COLUMN registration TEXT NOT NULL DEFAULT 'Direct';
ALTER TABLE users ADD COLUMN is_sso_required BIGINT NOT NULL DEFAULT 0;
CREATE INDEX users_kind ON users (org_id, is_service_account, kind, user_id);

ALTER TABLE tokens ADD COLUMN external_id TEXT;
CREATE UNIQUE INDEX tokens_personal_name ON tokens (org_id, user_id, name) WHERE kind = 'Pat' AND state <> 'Archived';

-- public_key: PEM of a server-signed application, '' of others. origin: the one shown; all of them are in origins.
-- What an application demands of those who name it, whatever the server demands of all: 0 or 1.
ALTER TABLE applications ADD COLUMN public_key TEXT NOT NULL DEFAULT '';
ALTER TABLE applications ADD COLUMN fingerprint TEXT NOT NULL DEFAULT '';
ALTER TABLE applications ADD COLUMN external_id TEXT;
ALTER TABLE applications ADD COLUMN require_application_id BIGINT NOT NULL DEFAULT 0;
ALTER TABLE applications ADD COLUMN require_nonce BIGINT NOT NULL DEFAULT 0;
ALTER TABLE applications ADD COLUMN require_api_signature BIGINT NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX applications_name ON applications (org_id, name) WHERE state <> 'Archived';

-- A header names an application by its id alone.
CREATE TABLE application_ids (
    app_id TEXT NOT NULL PRIMARY KEY,
    org_id TEXT NOT NULL
) /* SQLite: WITHOUT ROWID */;
INSERT INTO application_ids (app_id, org_id) SELECT app_id, org_id FROM applications;

-- An application may do what is assigned to it; the one made at the start, everything.
INSERT INTO permission_assignments (org_id, assignment_id, permission_id, identity_id, is_immutable, created_at, updated_at)
SELECT a.org_id, 'as-' || substr(a.app_id, 4), p.permission_id, a.app_id, 0, a.created_at, a.created_at
FROM applications a JOIN permissions p ON p.org_id = a.org_id AND p.name = 'ManagedFullAdminAccess';

CREATE INDEX tokens_application ON tokens (org_id, app_id, token_id);

-- Relying parties of passkeys that an organisation has; one is the default. An application may have one of its own.
CREATE TABLE relying_parties (
    org_id TEXT NOT NULL,
    rp_id TEXT NOT NULL,
    name TEXT NOT NULL,
    is_default BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, rp_id)
) /* SQLite: WITHOUT ROWID */;
INSERT INTO relying_parties (org_id, rp_id, name, is_default, created_at)
SELECT a.org_id, a.rp_id, o.name, 1, a.created_at
FROM applications a JOIN organisations o ON o.org_id = a.org_id WHERE a.is_default = 1 AND a.rp_id <> '';

-- Where passkeys of a relying party may be used: origins of the organisation's (app_id '') and of applications.
CREATE TABLE origins (
    org_id TEXT NOT NULL,
    app_id TEXT NOT NULL,
    rp_id TEXT NOT NULL,
    origin TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, app_id, rp_id, origin)
);
CREATE INDEX origins_origin ON origins (origin, org_id);
INSERT INTO origins (org_id, app_id, rp_id, origin, created_at)
SELECT org_id, '', rp_id, origin, created_at FROM applications WHERE is_default = 1 AND rp_id <> '' AND origin <> '';
INSERT INTO origins (org_id, app_id, rp_id, origin, created_at)
SELECT org_id, app_id, rp_id, origin, created_at FROM applications WHERE rp_id <> '' AND origin <> '';

-- What only passkeys have: JSON with aaguid, backup flags, trust; the attestation object as sent. accepted: marks of its last answers, so that one
-- sent again is told from a cloned authenticator. flagged_at: when its counter last ran back.
ALTER TABLE credentials ADD COLUMN fido2 TEXT;
ALTER TABLE credentials ADD COLUMN attestation TEXT;
ALTER TABLE credentials ADD COLUMN accepted TEXT;
ALTER TABLE credentials ADD COLUMN flagged_at BIGINT;

-- Ids of passkeys are unique over the whole server.
CREATE TABLE fido2_ids (
    credential_key TEXT NOT NULL PRIMARY KEY,
    org_id TEXT NOT NULL,
    credential_uuid TEXT NOT NULL
);

-- Codes by which a person adds a credential from another device; looked up by the code alone. One live code a user.
-- action_id: the user action that made the code.
CREATE TABLE credential_codes (
    code_hash TEXT NOT NULL PRIMARY KEY,
    org_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    user_epoch BIGINT NOT NULL,
    action_id TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX credential_codes_user ON credential_codes (org_id, user_id);

-- Challenges of purposes other than action that were completed; forgotten after they have expired.
CREATE TABLE spent_challenges (
    org_id TEXT NOT NULL,
    challenge_id TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, challenge_id)
) /* SQLite: WITHOUT ROWID */;
CREATE INDEX spent_challenges_expiry ON spent_challenges (expires_at);

-- Codes by which an invited person registers; one a person. Kept after their end, so that an expired one is told as such.
CREATE TABLE registration_codes (
    org_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    code_hash TEXT NOT NULL,
    user_epoch BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, user_id)
);

-- New credentials for people who are locked out, asked for on the server's host; they wait until ready_at.
-- state: Waiting, Cancelled, Completed. One waits a person.
CREATE TABLE break_glass_requests (
    org_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    public_key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    state TEXT NOT NULL,
    requested_at BIGINT NOT NULL,
    ready_at BIGINT NOT NULL,
    ended_at BIGINT,
    PRIMARY KEY (org_id, request_id)
);
CREATE UNIQUE INDEX break_glass_waiting ON break_glass_requests (org_id, user_id) WHERE state = 'Waiting';

-- Of each purpose one server key is active, whatever else goes wrong.
CREATE UNIQUE INDEX server_keys_active ON server_keys (purpose) WHERE state = 'Active';
