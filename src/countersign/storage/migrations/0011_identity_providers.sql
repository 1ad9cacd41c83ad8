-- People who come in by an identity provider (OpenID Connect).

-- Providers that an organisation trusts. kind: Sso (employees, by authorisation code) or Social (end users, by ID tokens
-- that their apps send). secret: the client's at the provider, sealed under a key of the server, bound to provider_id.
-- state: Active or Archived.
CREATE TABLE identity_providers (
    org_id TEXT NOT NULL,
    provider_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    issuer TEXT NOT NULL,
    client_id TEXT NOT NULL,
    secret BYTEA,
    state TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, provider_id)
);
CREATE UNIQUE INDEX identity_providers_client ON identity_providers (org_id, issuer, client_id) WHERE state = 'Active';
CREATE INDEX identity_providers_issuer ON identity_providers (issuer, client_id, org_id);

-- Where a provider may send people back to, exactly.
CREATE TABLE provider_redirects (
    org_id TEXT NOT NULL,
    provider_id TEXT NOT NULL,
    redirect_uri TEXT NOT NULL,
    PRIMARY KEY (org_id, provider_id, redirect_uri)
);

-- Who somebody is at a provider: one person an identity, and one identity a person.
CREATE TABLE federated_identities (
    org_id TEXT NOT NULL,
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    user_id TEXT NOT NULL,
    linked_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, issuer, subject)
);
CREATE UNIQUE INDEX federated_identities_user ON federated_identities (org_id, user_id);

-- Sign-ins under way, found by the hash of their state alone; whoever completes one takes its row. sealed: nonce and PKCE
-- verifier, bound to the hash.
CREATE TABLE sign_ins (
    state_hash TEXT NOT NULL PRIMARY KEY,
    org_id TEXT NOT NULL,
    provider_id TEXT NOT NULL,
    flow TEXT NOT NULL,
    redirect_uri TEXT NOT NULL,
    sealed BYTEA NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX sign_ins_expiry ON sign_ins (expires_at);

-- ID tokens that were used, kept for longer than they count.
CREATE TABLE used_id_tokens (
    digest TEXT NOT NULL PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX used_id_tokens_expiry ON used_id_tokens (expires_at);

-- How a person is called where that is not the username.
ALTER TABLE users ADD COLUMN display_name TEXT;
