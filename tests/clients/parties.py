"""What tests with the official clients need beside the clients: fresh credentials, and who signs for whom."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.clients.connection import Connection


def new_credential(directory: Path, name: str) -> tuple[Path, str]:
    """A fresh Ed25519 key: the path of the private PEM file and the public PEM text."""
    private = Ed25519PrivateKey.generate()
    path = directory / f"{name}.pem"
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path, private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def connection_of(created: dict[str, Any], base: Connection, private_key_path: Path) -> Connection:
    """The way in of a service account, from the answer that created it."""
    token = created["accessTokens"][0]
    return {
        "baseUrl": base["baseUrl"],
        "orgId": base["orgId"],
        "authToken": token["accessToken"],
        "credentialId": token["credId"],
        "privateKeyPath": str(private_key_path),
    }


def audited_entry(listing: str, path: str) -> str:
    """Id of the one entry of a listing (CSV text) whose action names ``path``."""
    rows = [row for row in csv.DictReader(io.StringIO(listing)) if row["Action Path"] == path]
    assert len(rows) == 1
    return rows[0]["Audit Log ID"]
