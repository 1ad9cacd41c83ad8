"""Fresh key pairs as a client makes them."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


def new_public_key(private_key_path: Path | None = None) -> str:
    """PEM of a fresh Ed25519 public key; the private one goes to the path, or nowhere."""
    private = Ed25519PrivateKey.generate()
    if private_key_path is not None:
        private_key_path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
