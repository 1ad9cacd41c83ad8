"""Enrolment of a key: proof that whoever submits a public key holds the private one and answers our challenge."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

import msgspec

from countersign.credentials.client_data import answers, read_client_data
from countersign.credentials.key_assertion import MAX_CLIENT_DATA, MAX_SIGNATURE, Base64Text, CredentialId
from countersign.credentials.outcome import KeyRefused, Refused
from countersign.credentials.public_key import MAX_PEM, PublicKey, load
from countersign.encoding import base64url
from countersign.encoding.strictjson import BadJson, parse_object

CLIENT_DATA_TYPE = "key.create"
MAX_ENCRYPTED_PRIVATE_KEY = 16 * 1024
"""Characters of the opaque text that a client stores beside its key."""
MAX_ATTESTATION_DATA = 2 * MAX_PEM + 4 * MAX_SIGNATURE
"""Bytes of the decoded attestation data: a PEM block, a signature in hex and their JSON."""

KeyAttestationKind = Literal["Key", "PasswordProtectedKey", "RecoveryKey"]


class CredentialInfo(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """``client_data`` and ``attestation_data`` are base64url text as received."""

    cred_id: CredentialId
    client_data: Base64Text
    attestation_data: Base64Text


class KeyAttestation(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """What a client submits to enrol a key."""

    credential_kind: KeyAttestationKind
    credential_info: CredentialInfo
    encrypted_private_key: str | None = None


@dataclass(frozen=True, slots=True)
class Attested:
    """The submitter holds the private key of ``public_key`` and calls it ``credential_id``."""

    credential_id: str
    public_key: PublicKey
    origin: str | None


def verify_attestation(attestation: KeyAttestation, expected_challenge: str) -> Attested | Refused:
    """Check the enrolment of a key.

    The attestation data is JSON ``{publicKey, signature, algorithm?}`` with the key as PEM and the
    signature in hex, over the compact JSON of ``clientDataHash`` (hex SHA-256 of the client data as
    received) and ``publicKey`` (the PEM exactly as submitted), in this order. Never raises for bad input.
    """
    info = attestation.credential_info
    client_data = read_client_data(info.client_data, CLIENT_DATA_TYPE, MAX_CLIENT_DATA)
    if isinstance(client_data, Refused):
        return client_data
    if not answers(client_data, expected_challenge):
        return Refused("clientData names another challenge")
    wrapped = attestation.encrypted_private_key
    if attestation.credential_kind == "PasswordProtectedKey" and not wrapped:
        return Refused("a PasswordProtectedKey needs encryptedPrivateKey")
    if wrapped is not None and len(wrapped) > MAX_ENCRYPTED_PRIVATE_KEY:
        return Refused(f"encryptedPrivateKey is longer than {MAX_ENCRYPTED_PRIVATE_KEY} characters")
    try:
        data = base64url.decode_tolerant(info.attestation_data)
        members = parse_object(data) if len(data) <= MAX_ATTESTATION_DATA else {}
    except BadJson as error:
        return Refused(f"attestationData: {error.reason}")
    except ValueError:
        return Refused("attestationData is not base64url")
    pem, signature, algorithm = members.get("publicKey"), members.get("signature"), members.get("algorithm")
    if type(pem) is not str or type(signature) is not str or (algorithm is not None and type(algorithm) is not str):
        return Refused("attestationData must be JSON with publicKey, signature and optionally algorithm")
    public_key = load(pem)
    if isinstance(public_key, Refused):
        return KeyRefused(public_key.reason)
    raw = _hex(signature)
    if raw is None:
        return Refused("the attestation signature must be hex")
    if not public_key.verify(raw, fingerprint_message(client_data.raw, pem), algorithm):
        return Refused("the attestation signature does not hold under the submitted key")
    return Attested(info.cred_id, public_key, client_data.origin)


def fingerprint_message(client_data: bytes, pem: str) -> bytes:
    """The bytes that the signature of an attestation covers."""
    message = {"clientDataHash": hashlib.sha256(client_data).hexdigest(), "publicKey": pem}
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def _hex(text: str) -> bytes | None:
    # bytes.fromhex skips white space; a signature has one spelling but for the case of its letters.
    if len(text) > 2 * MAX_SIGNATURE:
        return None
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return None
    return raw if raw.hex() == text.lower() else None
