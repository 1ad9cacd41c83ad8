"""Assertions by a key that the caller holds: a signature over client data that names the challenge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from countersign.credentials.client_data import ClientData, answers, read_client_data
from countersign.credentials.outcome import Refused
from countersign.credentials.public_key import PublicKey
from countersign.encoding import base64url

CLIENT_DATA_TYPE = "key.get"
MAX_CLIENT_DATA = 4096
MAX_SIGNATURE = 1024

# ``$`` would let a final newline pass; the look-ahead means the end in every dialect of regular expressions.
_BASE64 = r"^[A-Za-z0-9+/_-]+={0,2}(?![\s\S])"
Base64Text = Annotated[str, msgspec.Meta(min_length=1, pattern=_BASE64)]
"""Bytes in base64url; clients also send the standard alphabet and padding."""
CredentialId = Annotated[str, msgspec.Meta(min_length=1, max_length=1024, pattern=_BASE64)]
"""A credential id as its client or authenticator chose it."""
KeyAssertionKind = Literal["Key", "PasswordProtectedKey", "RecoveryKey"]


def lookup_key(credential_id: str) -> str:
    """The one form under which a credential id is found: clients differ in alphabet and padding of the same bytes."""
    return credential_id.rstrip("=").replace("+", "-").replace("/", "_")


class CredentialAssertion(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """``client_data`` and ``signature`` are base64url text as received; ``cred_id`` is the client's name of the key."""

    cred_id: CredentialId
    client_data: Base64Text
    signature: Base64Text
    algorithm: str | None = None


class KeyAssertion(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """An assertion as it stands in a request body."""

    kind: KeyAssertionKind
    credential_assertion: CredentialAssertion


@dataclass(frozen=True, slots=True)
class Proven:
    """The holder of ``credential_id`` answered the challenge; ``origin`` is what the client data claims, if any."""

    credential_id: str
    origin: str | None


def verify_assertion(
    assertion: KeyAssertion, public_key: PublicKey, expected_challenge: str, *, max_client_data: int = MAX_CLIENT_DATA
) -> Proven | Refused:
    """Check an assertion against the public key of the credential it names.

    ``expected_challenge`` is the challenge string as issued. That the credential is of the claimed kind,
    active and the caller's own is for the caller to know. Never raises for bad input.
    """
    evidence = assertion.credential_assertion
    client_data = read_client_data(evidence.client_data, CLIENT_DATA_TYPE, max_client_data)
    if isinstance(client_data, Refused):
        return client_data
    if not answers(client_data, expected_challenge):
        return Refused("clientData names another challenge")
    refusal = verify_signature(client_data, evidence.signature, evidence.algorithm, public_key)
    return refusal or Proven(evidence.cred_id, client_data.origin)


def verify_signature(
    client_data: ClientData, signature: str, algorithm: str | None, public_key: PublicKey
) -> Refused | None:
    """Why the base64url ``signature`` over the client data as received does not hold; ``None`` if it does."""
    return refuse_signature(client_data.raw, signature, algorithm, public_key)


def refuse_signature(message: bytes, signature: str, algorithm: str | None, public_key: PublicKey) -> Refused | None:
    """Why the base64url ``signature`` over ``message`` does not hold; ``None`` if it does."""
    try:
        raw = base64url.decode_tolerant(signature)
    except ValueError:
        return Refused("signature is not base64url")
    if len(raw) > MAX_SIGNATURE:
        return Refused(f"signature is longer than {MAX_SIGNATURE} bytes")
    if not public_key.verify(raw, message, algorithm):
        return Refused("the signature does not hold under the credential's public key")
    return None
