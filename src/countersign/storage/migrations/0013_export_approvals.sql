-- Exports of keys that others approve. export_approvers: ids of the people who may, between spaces; export_quorum: how many
-- of them an export takes, 0 where none are named.
ALTER TABLE organisations ADD COLUMN export_approvers TEXT NOT NULL DEFAULT '';
ALTER TABLE organisations ADD COLUMN export_quorum BIGINT NOT NULL DEFAULT 0;

-- Approvals that wait for their export, one a person and key; the export takes them out. body_sha256: of the canonical body
-- of that export. evidence: msgpack of the consent, for the signer. Times in ms.
CREATE TABLE export_approvals (
    org_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    body_sha256 TEXT NOT NULL,
    encryption_key TEXT NOT NULL,
    action_id TEXT NOT NULL,
    credential_uuid TEXT NOT NULL,
    evidence BYTEA NOT NULL,
    given_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, key_id, user_id)
);
