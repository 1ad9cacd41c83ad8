"""Providers of the key-encryption key that need an extra: custodians, key services, hardware modules."""
