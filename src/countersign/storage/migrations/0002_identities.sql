-- People, applications and what proves them.

ALTER TABLE users ADD COLUMN registration TEXT NOT NULL DEFAULT 'Direct';
ALTER TABLE users ADD COLUMN is_sso_required BIGINT NOT NULL DEFAULT 0;

-- public_key: PEM of a server-signed application, '' of others. origins: JSON list; the first is the one shown.
ALTER TABLE applications ADD COLUMN public_key TEXT NOT NULL DEFAULT '';
ALTER TABLE applications ADD COLUMN fingerprint TEXT NOT NULL DEFAULT '';
ALTER TABLE applications ADD COLUMN external_id TEXT;
CREATE UNIQUE INDEX applications_name ON applications (org_id, name);

CREATE TABLE relying_parties (
    org_id TEXT NOT NULL,
    rp_id TEXT NOT NULL,
    name TEXT NOT NULL,
    origins TEXT NOT NULL,
    is_default BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, rp_id)
);

-- What only passkeys have: JSON with aaguid, transports, backup flags, attestation format. challenge_id: of the last
-- assertion, so that the same assertion sent again is told from a cloned authenticator.
ALTER TABLE credentials ADD COLUMN fido2 TEXT;
ALTER TABLE credentials ADD COLUMN challenge_id TEXT;

-- Ids of passkeys are unique over the whole server.
CREATE TABLE fido2_ids (
    credential_key TEXT NOT NULL PRIMARY KEY,
    org_id TEXT NOT NULL,
    credential_uuid TEXT NOT NULL
);

-- Codes by which a person adds a credential from another device; looked up by the code alone. One live code a user.
CREATE TABLE credential_codes (
    code_hash TEXT NOT NULL PRIMARY KEY,
    org_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX credential_codes_user ON credential_codes (org_id, user_id);

-- Challenges of purposes other than action that were completed; forgotten after they have expired.
CREATE TABLE spent_challenges (
    org_id TEXT NOT NULL,
    challenge_id TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, challenge_id)
);
CREATE INDEX spent_challenges_expiry ON spent_challenges (expires_at);
