"""The audit log: append-only entries, a Merkle tree over them (RFC 6962), signed checkpoints, an offline verifier."""

from countersign.audit.log import append

__all__ = ["append"]
