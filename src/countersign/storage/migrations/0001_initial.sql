-- One schema for SQLite and PostgreSQL: TEXT, BIGINT and BYTEA (SQLite stores it as BLOB affinity), JSON as text,
-- times in milliseconds since the epoch, booleans as 0 and 1, every key led by org_id.
-- A comment that begins with "SQLite:" is read as SQL on SQLite, where it keeps a table in the order of its primary key:
-- rows that are looked up at every request, next to no more than their key, or of one owner, lie on fewer pages so.

CREATE TABLE installation (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE leases (
    name TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    fence BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- Keys of the server itself (not of customers): private halves sealed under the server secret.
CREATE TABLE server_keys (
    kid TEXT NOT NULL PRIMARY KEY,
    purpose TEXT NOT NULL,
    state TEXT NOT NULL,
    public_key TEXT NOT NULL,
    sealed BYTEA NOT NULL,
    handover TEXT,
    created_at BIGINT NOT NULL,
    retired_at BIGINT
);

CREATE TABLE organisations (
    org_id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    is_active BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    permission_revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL
) /* SQLite: WITHOUT ROWID */;

CREATE TABLE applications (
    org_id TEXT NOT NULL,
    app_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    rp_id TEXT NOT NULL,
    origin TEXT NOT NULL,
    is_default BIGINT NOT NULL,
    state TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, app_id)
);

-- state: Active, Inactive, Archived
CREATE TABLE users (
    org_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    is_service_account BIGINT NOT NULL,
    username TEXT NOT NULL,
    username_key TEXT NOT NULL,
    is_registered BIGINT NOT NULL,
    state TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    external_id TEXT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, user_id)
) /* SQLite: WITHOUT ROWID */;
CREATE UNIQUE INDEX users_username ON users (org_id, is_service_account, username_key);

-- Sessions (kind Token) and access tokens (ServiceAccount, Pat, Application). hash: SHA-256 of the whole token, lower-case hex.
CREATE TABLE tokens (
    org_id TEXT NOT NULL,
    token_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    user_id TEXT NOT NULL,
    app_id TEXT,
    name TEXT NOT NULL,
    hash TEXT NOT NULL,
    credential_uuid TEXT,
    state TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, token_id)
) /* SQLite: WITHOUT ROWID */;
CREATE INDEX tokens_user ON tokens (org_id, user_id, token_id);

-- credential_key: credential_id without padding, for look-up. token_id: the access token the key is bound to, or ''.
CREATE TABLE credentials (
    org_id TEXT NOT NULL,
    credential_uuid TEXT NOT NULL,
    user_id TEXT NOT NULL,
    token_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    credential_id TEXT NOT NULL,
    credential_key TEXT NOT NULL,
    name TEXT NOT NULL,
    public_key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    rp_id TEXT NOT NULL,
    origin TEXT NOT NULL,
    encrypted_private_key TEXT,
    sign_count BIGINT NOT NULL,
    state TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, user_id, credential_uuid)
) /* SQLite: WITHOUT ROWID */;
CREATE UNIQUE INDEX credentials_key ON credentials (org_id, credential_key);
CREATE UNIQUE INDEX credentials_fingerprint ON credentials (org_id, fingerprint);
CREATE UNIQUE INDEX credentials_uuid ON credentials (org_id, credential_uuid);

CREATE TABLE permissions (
    org_id TEXT NOT NULL,
    permission_id TEXT NOT NULL,
    name TEXT NOT NULL,
    operations TEXT NOT NULL,
    is_immutable BIGINT NOT NULL,
    is_archived BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, permission_id)
) /* SQLite: WITHOUT ROWID */;
CREATE UNIQUE INDEX permissions_name ON permissions (org_id, name);

-- identity_id: a user, a service account or a token
CREATE TABLE permission_assignments (
    org_id TEXT NOT NULL,
    assignment_id TEXT NOT NULL,
    permission_id TEXT NOT NULL,
    identity_id TEXT NOT NULL,
    is_immutable BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, identity_id, permission_id)
) /* SQLite: WITHOUT ROWID */;
CREATE UNIQUE INDEX permission_assignments_assignment ON permission_assignments (org_id, assignment_id);
CREATE INDEX permission_assignments_permission ON permission_assignments (org_id, permission_id, assignment_id);

CREATE TABLE nonces (
    scope TEXT NOT NULL,
    nonce_hash TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (scope, nonce_hash)
) /* SQLite: WITHOUT ROWID */;
CREATE INDEX nonces_expiry ON nonces (expires_at);

-- What an externalId is bound to, for good (spec: idempotency).
CREATE TABLE external_ids (
    org_id TEXT NOT NULL,
    operation TEXT NOT NULL,
    external_id TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    payload_hash TEXT NOT NULL,
    PRIMARY KEY (org_id, operation, external_id)
);

-- Key stores. wrapped: the store root key, sealed by the key-encryption key.
CREATE TABLE keystore_roots (
    store_id TEXT NOT NULL,
    version BIGINT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    wrapped BYTEA NOT NULL,
    state TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (store_id, version)
);

CREATE TABLE keys (
    org_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    scheme TEXT NOT NULL,
    curve TEXT NOT NULL,
    public_key TEXT NOT NULL,
    name TEXT,
    status TEXT NOT NULL,
    custodial BIGINT NOT NULL,
    store_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT,
    PRIMARY KEY (org_id, key_id)
);

CREATE TABLE key_records (
    org_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    store_id TEXT NOT NULL,
    secret_kind TEXT NOT NULL,
    root_version BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    record BYTEA NOT NULL,
    PRIMARY KEY (org_id, key_id)
);

CREATE TABLE signatures (
    org_id TEXT NOT NULL,
    signature_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    requester TEXT NOT NULL,
    request_body TEXT NOT NULL,
    status TEXT NOT NULL,
    reason TEXT,
    result TEXT,
    external_id TEXT,
    action_id TEXT NOT NULL,
    requested_at BIGINT NOT NULL,
    signed_at BIGINT,
    PRIMARY KEY (org_id, signature_id)
);
CREATE INDEX signatures_key ON signatures (org_id, key_id, signature_id);
CREATE INDEX signatures_executing ON signatures (org_id, requested_at, signature_id) WHERE status = 'Executing';

-- The audit log: append only. entry: the exact bytes (JSON text) that are the Merkle leaf. payload: sealed request body.
CREATE TABLE audit_entries (
    org_id TEXT NOT NULL,
    entry_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    performed_at BIGINT NOT NULL,
    entry TEXT NOT NULL,
    payload BYTEA,
    PRIMARY KEY (org_id, entry_id)
);
CREATE INDEX audit_entries_time ON audit_entries (org_id, performed_at, entry_id);

-- Entries without a position yet; the sequencer empties it.
CREATE TABLE audit_unsequenced (
    org_id TEXT NOT NULL,
    entry_id TEXT NOT NULL,
    PRIMARY KEY (org_id, entry_id)
) /* SQLite: WITHOUT ROWID */;

CREATE TABLE audit_leaves (
    org_id TEXT NOT NULL,
    position BIGINT NOT NULL,
    entry_id TEXT NOT NULL,
    leaf_hash BYTEA NOT NULL,
    PRIMARY KEY (org_id, position)
);
CREATE UNIQUE INDEX audit_leaves_entry ON audit_leaves (org_id, entry_id);

-- frontier: hashes of the complete subtrees left to right (RFC 6962), so that appending needs no earlier leaf.
CREATE TABLE audit_checkpoints (
    org_id TEXT NOT NULL,
    size BIGINT NOT NULL,
    root_hash BYTEA NOT NULL,
    frontier BYTEA NOT NULL,
    kid TEXT NOT NULL,
    signature BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, size)
);
