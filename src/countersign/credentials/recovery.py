"""Recovery: a recovery key that signs which credentials shall replace all others.

The same functions run where a person recovers, in the signer before its roster follows, and in the offline verifier of
the audit log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from countersign.credentials.client_data import read_client_data
from countersign.credentials.key_assertion import (
    CLIENT_DATA_TYPE,
    CredentialAssertion,
    KeyAssertion,
    Proven,
    verify_signature,
)
from countersign.credentials.outcome import Refused
from countersign.credentials.public_key import PublicKey
from countersign.credentials.shown_keys import ShownKey, in_submission
from countersign.encoding import base64url
from countersign.encoding.strictjson import BadJson, canonical, parse_object

MAX_CLIENT_DATA = 256 * 1024
"""Bytes; the client data holds the new credentials whole."""

#: What new credentials are called, in the order in which they are enrolled.
NEW: Final = ("firstFactorCredential", "secondFactorCredential", "recoveryCredential")


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
    consented = read_recovery(assertion.credential_assertion, public_key)
    if isinstance(consented, Refused):
        return consented
    if canonical(consented.new_credentials) != canonical(new_credentials):
        return Refused("other credentials were signed")
    return Proven(assertion.credential_assertion.cred_id, consented.origin)


@dataclass(frozen=True, slots=True)
class Consented:
    """``new_credentials``: what was signed, as JSON; ``origin`` is what the client data claims, if any."""

    new_credentials: dict[str, Any]
    origin: str | None


def read_recovery(evidence: CredentialAssertion, public_key: PublicKey) -> Consented | Refused:
    """The new credentials that a recovery key consented to, under a signature that holds."""
    client_data = read_client_data(evidence.client_data, CLIENT_DATA_TYPE, MAX_CLIENT_DATA)
    if isinstance(client_data, Refused):
        return client_data
    signed = _signed_object(client_data.challenge)
    if isinstance(signed, Refused):
        return signed
    refusal = verify_signature(client_data, evidence.signature, evidence.algorithm, public_key)
    return refusal or Consented(signed, client_data.origin)


def shown_credentials(new_credentials: dict[str, Any]) -> list[tuple[str, ShownKey]] | Refused:
    """Kind and public key of each new credential that was signed, in the order in which they are enrolled."""
    if not new_credentials.keys() <= set(NEW) or NEW[0] not in new_credentials:
        return Refused("the signed object is not one of new credentials")
    shown: list[tuple[str, ShownKey]] = []
    for name in NEW:
        if name not in new_credentials:
            continue
        found = in_submission(new_credentials[name])
        if found is None or (found[0] == "RecoveryKey") != (name == "recoveryCredential"):
            return Refused(f"{name} shows no public key of a kind that it may have")
        shown.append(found)
    return shown


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
