"""The audit log: append-only entries, a Merkle tree over them (RFC 6962), signed checkpoints, an offline verifier."""
