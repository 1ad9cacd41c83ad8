-- Key stores, what became of keys, and what an organisation allows.

CREATE TABLE key_stores (
    store_id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    is_primary BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
INSERT INTO key_stores (store_id, kind, name, is_primary, created_at)
SELECT store_id, kind, name, 1, created_at FROM keystore_roots WHERE version = 1;

-- is_master: others may be derived from it; next_child: the smallest index it never handed out by itself.
-- may_delegate: made with delayDelegation. delegated_to: the end user who owns it; it is then not custodial.
ALTER TABLE keys ADD COLUMN is_master BIGINT NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN next_child BIGINT NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN master_key_id TEXT;
ALTER TABLE keys ADD COLUMN derivation_path TEXT;
ALTER TABLE keys ADD COLUMN may_delegate BIGINT NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN delegated_to TEXT;
ALTER TABLE keys ADD COLUMN is_imported BIGINT NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN exported_at BIGINT;
ALTER TABLE keys ADD COLUMN destroyed_at BIGINT;
CREATE UNIQUE INDEX keys_derived ON keys (org_id, master_key_id, derivation_path) WHERE master_key_id IS NOT NULL;
CREATE INDEX keys_delegated ON keys (org_id, delegated_to, key_id) WHERE delegated_to IS NOT NULL;
CREATE UNIQUE INDEX keys_public ON keys (org_id, public_key) WHERE status = 'Active';

-- Off until the organisation's operator says otherwise.
ALTER TABLE organisations ADD COLUMN key_import BIGINT NOT NULL DEFAULT 0;
ALTER TABLE organisations ADD COLUMN key_export BIGINT NOT NULL DEFAULT 0;
ALTER TABLE organisations ADD COLUMN sign_after_export BIGINT NOT NULL DEFAULT 0;

-- The signers that shares of imported keys are encrypted to: msgpack of their ids, points and sealed decryption keys.
-- One set for each version of the store root; a new version gets a new set, and an old set ends with its root.
CREATE TABLE keystore_signers (
    store_id TEXT NOT NULL,
    root_version BIGINT NOT NULL,
    cluster_id TEXT NOT NULL,
    signers BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (store_id, root_version)
);

-- The same root under the key-encryption key that is to replace the one in force, while both open it.
ALTER TABLE keystore_roots ADD COLUMN next_wrapped BYTEA;

-- The secret once more, for the store's recovery recipients, where it has any.
ALTER TABLE key_records ADD COLUMN recovery_copy BYTEA;

-- What each store's signer is told for its roster of credentials, in the order of the ids: msgpack of what is enrolled and
-- of the evidence of consent. Nothing is deleted, so that a roster that was lost, or that of a new store, can be begun.
CREATE TABLE roster_orders (
    org_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    store_id TEXT NOT NULL,
    op TEXT NOT NULL,
    subject_id TEXT NOT NULL,
    body BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    done_at BIGINT,
    outcome TEXT,
    PRIMARY KEY (org_id, order_id, store_id)
);
CREATE INDEX roster_orders_waiting ON roster_orders (store_id, order_id) WHERE done_at IS NULL;

-- How far the signer's roster was when it was last seen, so that one put back from an older copy is noticed.
CREATE TABLE roster_marks (
    store_id TEXT NOT NULL PRIMARY KEY,
    records BIGINT NOT NULL,
    head TEXT NOT NULL,
    seen_at BIGINT NOT NULL
);
