"""Recovery: a recovery key that signs which credentials shall replace all others."""

from __future__ import annotations

from typing import Any

from countersign.credentials.client_data import read_client_data
from countersign.credentials.key_assertion import CLIENT_DATA_TYPE, KeyAssertion, Proven, verify_signature
from countersign.credentials.outcome import Refused
from countersign.credentials.public_key import PublicKey
from countersign.encoding import base64url
from countersign.encoding.strictjson import BadJson, canonical, parse_object

MAX_CLIENT_DATA = 256 * 1024
"""Bytes; the client data holds the new credentials whole."""


def verify_recovery(
    assertion: KeyAssertion, public_key: PublicKey, new_credentials: dict[str, Any]
) -> Proven | Refused:
    """Check that the recovery key consents to exactly these new credentials.

    ``new_credentials`` is that member of the request as ``strictjson`` read it. The challenge in the client
    data is base64url of its JSON text and is compared as a JSON value, so the order of members and the way
    a string is escaped do not matter. Browser signers encode it once more, as they do with every challenge.
    That ``public_key`` is the one named when recovery began, and that each new credential answers the
    session's challenge, is for the caller to check. Never raises for bad input.
    """
    if assertion.kind != "RecoveryKey":
        return Refused("recovery is signed with a recovery key")
    evidence = assertion.credential_assertion
    client_data = read_client_data(evidence.client_data, CLIENT_DATA_TYPE, MAX_CLIENT_DATA)
    if isinstance(client_data, Refused):
        return client_data
    signed = _signed_object(client_data.challenge)
    if isinstance(signed, Refused):
        return signed
    if canonical(signed) != canonical(new_credentials):
        return Refused("other credentials were signed")
    refusal = verify_signature(client_data, evidence.signature, evidence.algorithm, public_key)
    return refusal or Proven(evidence.cred_id, client_data.origin)


def _signed_object(challenge: str) -> dict[str, Any] | Refused:
    try:
        text = base64url.decode_tolerant(challenge)
        if not text.lstrip().startswith(b"{"):
            text = base64url.decode_tolerant(text.decode("ascii"))
        return parse_object(text)
    except BadJson as error:
        return Refused(f"the signed credentials: {error.reason}")
    except ValueError:
        return Refused("the challenge is not base64url")
