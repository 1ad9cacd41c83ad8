"""The official Python SDK, unmodified, with every answer checked against the contract."""

from __future__ import annotations

from dfns_sdk import DfnsClient, DfnsClientConfig, DfnsDelegatedClient, DfnsDelegatedClientConfig
from dfns_sdk.auth import KeySigner

from tests.clients.connection import Connection, private_key
from tests.support.contract import attach


def python_client(connection: Connection) -> DfnsClient:
    """A client that signs with the connection's credential. Close it, or use it in a ``with`` block."""
    config = DfnsClientConfig(
        auth_token=connection["authToken"],
        base_url=connection["baseUrl"],
        signer=KeySigner(connection["credentialId"], private_key(connection)),
    )
    client = DfnsClient(config)
    attach(client._http._client)
    return client


def delegated_python_client(connection: Connection) -> DfnsDelegatedClient:
    """A client that leaves signing to others. Close it, or use it in a ``with`` block."""
    config = DfnsDelegatedClientConfig(auth_token=connection["authToken"], base_url=connection["baseUrl"])
    client = DfnsDelegatedClient(config)
    attach(client._http._client)
    return client
