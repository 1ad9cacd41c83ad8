-- Sessions by the service account that opened them, so that they end with it.
CREATE INDEX tokens_delegated ON tokens (org_id, delegated_by) WHERE delegated_by IS NOT NULL;
