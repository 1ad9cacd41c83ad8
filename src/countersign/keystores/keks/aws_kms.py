"""AWS Key Management Service: it makes and opens a data key per root, under a key that never leaves it.

``aws-kms:KEY`` with a key id, alias (``alias/NAME``) or ARN; options ``region``, ``endpoint`` and ``profile``. The
encryption context names the store and the root version, so that the service's log says what was opened, and a wrapped
key moved to another root does not open. Credentials come from where boto3 looks: environment, shared file, host's role.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from countersign.keystores.kek import KEK_BYTES, NewKek, RootName
from countersign.keystores.keks import options
from countersign.keystores.outcome import Refusal
from countersign.keystores.protocol import Buffer

# Together below the time after which an order counts as hanging.
_PATIENCE: Final = {"connect_timeout": 2, "read_timeout": 3, "retries": {"total_max_attempts": 1}}


@dataclass(frozen=True, slots=True)
class AwsKmsProvider:
    """``key_id`` as the service names it; empty ``region``, ``endpoint`` and ``profile`` are found by boto3."""

    key_id: str
    region: str = ""
    endpoint: str = ""
    profile: str = ""
    name: str = "aws-kms"
    needs_secret: bool = False
    note: str | None = None
    needs_network: bool = True
    needs_driver: bool = False

    def create(self, root: RootName, secret: Buffer) -> NewKek:
        """Have the service make a data key. Raises ValueError when it does not."""
        try:
            made = self._client().generate_data_key(
                KeyId=self.key_id, KeySpec="AES_256", EncryptionContext=_context(root)
            )
        except (BotoCoreError, ClientError) as trouble:
            raise ValueError(_said(trouble)) from None
        return [made["CiphertextBlob"]], bytearray(made["Plaintext"])

    def key(self, root: RootName, parameters: Sequence[Any], secret: Buffer) -> bytearray | Refusal:
        """Have the service open the stored data key."""
        match parameters:
            case [bytes() as wrapped]:
                pass
            case _:
                return Refusal("Integrity", f"the aws-kms parameters of root {root.root_version} are malformed")
        try:
            opened = self._client().decrypt(CiphertextBlob=wrapped, KeyId=self.key_id, EncryptionContext=_context(root))
        except (BotoCoreError, ClientError) as trouble:
            return Refusal("Sealed", _said(trouble))
        key = bytearray(opened["Plaintext"])
        if len(key) != KEK_BYTES:
            return Refusal("Integrity", f"aws-kms: the data key has {len(key)} bytes, not {KEK_BYTES}")
        return key

    def forget(self) -> None:
        """Nothing is kept."""

    def _client(self) -> Any:
        session = boto3.session.Session(profile_name=self.profile or None, region_name=self.region or None)
        return session.client("kms", endpoint_url=self.endpoint or None, config=Config(**_PATIENCE))


def provider(rest: str) -> AwsKmsProvider:
    """The provider of ``KEY?option=value``. Raises ValueError."""
    key_id, found = options.split(rest, ("region", "endpoint", "profile"))
    if not key_id:
        raise ValueError("aws-kms:KEY needs the id, alias or ARN of a key")
    parts = key_id.split(":")
    region = found.get("region", parts[3] if len(parts) == 6 and parts[0] == "arn" else "")
    return AwsKmsProvider(key_id, region, found.get("endpoint", ""), found.get("profile", ""))


def _context(root: RootName) -> dict[str, str]:
    return {"store_id": root.store_id, "root_version": str(root.root_version)}


def _said(trouble: BotoCoreError | ClientError) -> str:
    if isinstance(trouble, ClientError):
        error = trouble.response.get("Error", {})
        return f"aws-kms: {error.get('Code', 'refused')}: {error.get('Message', '')}".rstrip(": ")
    return f"aws-kms: {trouble}"
