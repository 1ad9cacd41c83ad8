"""What a client needs to reach a server: the members of the sandbox's ``connection.json``."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict


class Connection(TypedDict):
    """A caller's way in. ``privateKeyPath`` names a PEM file with the private key of the credential."""

    baseUrl: str
    orgId: str
    authToken: str
    credentialId: str
    privateKeyPath: str


def as_admin(connection: dict[str, str]) -> Connection:
    """The administrator's way in, from the members that a sandbox writes beside the service account's."""
    return {
        "baseUrl": connection["baseUrl"],
        "orgId": connection["orgId"],
        "authToken": connection["adminToken"],
        "credentialId": connection["adminCredentialId"],
        "privateKeyPath": connection["adminPrivateKeyPath"],
    }


def private_key(connection: Connection) -> str:
    """The PEM text of the caller's private key."""
    return Path(connection["privateKeyPath"]).read_text(encoding="ascii")
