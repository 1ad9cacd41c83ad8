"""Wire types of keys that come in and go out as shares."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from countersign.api import UNSET, UnsetType, Wire
from countersign.keys.types import Curve, Name

Protocol = Literal["CGGMP24", "FROST", "FROST_BITCOIN", "GLOW20_DH", "KU23", "CGGMP21"]
Base64 = Annotated[str, Meta(min_length=1, max_length=4096)]


class Signer(Wire):
    """``signerId``: base64 of 32 bytes; ``encryptionKey``: base64 of 0x01 and a compressed secp256k1 point."""

    signer_id: str
    encryption_key: str


class Cluster(Wire):
    """Signers that hold keys together; a key is shared among all of them."""

    cluster_id: str
    signers: list[Signer]


class SignerList(Wire):
    """The signers that shares of imported keys are encrypted to."""

    clusters: list[Cluster]


class EncryptedKeyShare(Wire):
    """One signer's share in an envelope, base64."""

    signer_id: Base64
    encrypted_key_share: Base64


class ImportKey(Wire):
    """A key as shares for all signers, any ``minSigners`` of which make it. ``masterKey``: others derive from it."""

    name: Name | UnsetType = UNSET
    curve: Curve
    protocol: Protocol
    min_signers: Annotated[int, Meta(gt=0, le=100)]
    encrypted_key_shares: Annotated[list[EncryptedKeyShare], Meta(min_length=1, max_length=100)]
    master_key: bool | UnsetType = UNSET


class SupportedScheme(Wire):
    """A kind of key that the receiver can put together."""

    protocol: Protocol
    curve: Curve


class ExportKey(Wire):
    """``encryptionKey``: base64 of 0x01 and the compressed secp256k1 point that the shares are encrypted to."""

    encryption_key: Base64
    supported_schemes: Annotated[list[SupportedScheme], Meta(max_length=100)]


class ExportedKey(Wire):
    """A key as shares, any ``minSigners`` of which make it; ``publicKey`` as of the key, to check it by."""

    public_key: str
    protocol: Protocol
    curve: Curve
    min_signers: int
    encrypted_key_shares: list[EncryptedKeyShare]


class ExportApproval(Wire):
    """What somebody approved: the export of a key with the body of this hash, to this encryption key.

    ``requestHash``: SHA-256 of the canonical JSON of that body, hexadecimal; ``encryptionKey``: its fingerprint.
    """

    user_id: str
    request_hash: str
    encryption_key: str
    action_id: str
    date_created: str
    date_expires: str


class ExportApprovals(Wire):
    """Approvals of exports of a key that count and were not used. ``quorum``: how many an export takes, 0 for none."""

    quorum: int
    approvers: list[str]
    items: list[ExportApproval]
