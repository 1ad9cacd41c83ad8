"""Registration of a passkey or security key (WebAuthn section 7.1).

What is registered is checked here to the last byte. Certificates of vendors matter only where a policy asks
for them; those statements are judged with the ``webauthn`` library (``attestation_statement``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal
from uuid import UUID

import msgspec

from countersign.credentials.authenticator_data import (
    MAX_AUTHENTICATOR_DATA,
    AttestedCredential,
    AuthenticatorData,
    parse_authenticator_data,
    refuse_authenticator,
)
from countersign.credentials.client_data import WebClientData, answers, read_web_client_data
from countersign.credentials.key_assertion import MAX_CLIENT_DATA, MAX_SIGNATURE
from countersign.credentials.key_attestation import CredentialInfo
from countersign.credentials.outcome import Refused
from countersign.credentials.public_key import PublicKey
from countersign.credentials.relying_party import RelyingParty
from countersign.encoding import base64url, cbor

CLIENT_DATA_TYPE = "webauthn.create"
MAX_ATTESTATION_OBJECT = 32 * 1024
"""Bytes of the decoded attestation object; the chain of a TPM takes about 6000."""

Format = Literal["none", "packed", "fido-u2f", "tpm", "apple", "android-key"]
FORMATS: tuple[Format, ...] = ("none", "packed", "fido-u2f", "tpm", "apple", "android-key")
Trust = Literal["none", "self", "certified", "unverified"]
"""What a statement proved: nothing, that the key signed it itself, that a trusted vendor made the
authenticator, or nothing because nobody asked."""


class Fido2Attestation(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What a client submits to register an authenticator; ``attestation_data`` is its attestation object."""

    credential_kind: Literal["Fido2"]
    credential_info: CredentialInfo


@dataclass(frozen=True, slots=True)
class AttestationPolicy:
    """Which authenticators are let in.

    ``anchors``: by format, the root certificates (PEM) that its chains must end in; a format without an entry
    is refused. For ``apple`` and ``android-key`` an empty entry stands for the vendor's own published roots.
    ``aaguids``: the models that are let in, ``None`` for all.
    """

    anchors: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    aaguids: frozenset[UUID] | None = None


@dataclass(frozen=True, slots=True)
class Attested:
    """A credential to store. ``credential_id`` is the client's text, ``party`` the relying party it is made for."""

    credential_id: str
    public_key: PublicKey
    party: RelyingParty
    origin: str
    sign_count: int
    backup_eligible: bool
    backed_up: bool
    aaguid: UUID
    format: Format
    trust: Trust


def verify_registration(
    attestation: Fido2Attestation,
    expected_challenge: str,
    parties: Sequence[RelyingParty],
    *,
    policy: AttestationPolicy | None = None,
    require_user_verification: bool = True,
) -> Attested | Refused:
    """Check the registration of an authenticator.

    ``expected_challenge`` is the challenge string as issued. The page chooses the relying party, so it is
    the one among ``parties`` with both the signed hash and the origin. Without a ``policy`` a packed self
    attestation is verified and every other statement is passed over (``trust`` says so); that the credential
    id and key are not enrolled yet is for the caller to know. Never raises for bad input.
    """
    info = attestation.credential_info
    client_data = read_web_client_data(info.client_data, CLIENT_DATA_TYPE, MAX_CLIENT_DATA)
    if isinstance(client_data, Refused):
        return client_data
    if not answers(client_data, expected_challenge):
        return Refused("clientData names another challenge")
    statement = _read_object(info.attestation_data)
    if isinstance(statement, Refused):
        return statement
    data, credential = statement.authenticator_data, statement.credential
    party = _find_party(parties, data, client_data)
    if isinstance(party, Refused):
        return party
    refusal = refuse_authenticator(data, data.rp_id_hash, require_user_verification=require_user_verification)
    if refusal:
        return refusal
    if not _names(info.cred_id, credential.credential_id):
        return Refused("credId is not the id of the attested credential")
    trust = _judge(statement, client_data, party, policy)
    if isinstance(trust, Refused):
        return trust
    return Attested(
        info.cred_id,
        credential.public_key,
        party,
        client_data.origin,
        data.sign_count,
        data.backup_eligible,
        data.backed_up,
        credential.aaguid,
        statement.format,
        trust,
    )


@dataclass(frozen=True, slots=True)
class _Statement:
    raw: bytes
    format: Format
    members: dict[int | str, cbor.Value]
    authenticator_data: AuthenticatorData
    credential: AttestedCredential


def _read_object(text: str) -> _Statement | Refused:
    try:
        raw = base64url.decode_tolerant(text)
    except ValueError:
        return Refused("attestationData is not base64url")
    if len(raw) > MAX_ATTESTATION_OBJECT:
        return Refused(f"attestationData is longer than {MAX_ATTESTATION_OBJECT} bytes")
    try:
        value = cbor.decode(raw)
    except cbor.BadCbor as error:
        return Refused(f"attestationData: {error.reason}")
    if not isinstance(value, dict) or value.keys() != {"fmt", "attStmt", "authData"}:
        return Refused("attestationData must be a CBOR map of fmt, attStmt and authData")
    format_ = next((name for name in FORMATS if name == value["fmt"]), None)
    if format_ is None:
        return Refused("the attestation format (fmt) is not known")
    members, data = value["attStmt"], value["authData"]
    if not isinstance(members, dict) or not isinstance(data, bytes):
        return Refused("attestationData: attStmt must be a map and authData bytes")
    if len(data) > MAX_AUTHENTICATOR_DATA:
        return Refused(f"authenticatorData is longer than {MAX_AUTHENTICATOR_DATA} bytes")
    parsed = parse_authenticator_data(data)
    if isinstance(parsed, Refused):
        return parsed
    if parsed.attested is None:
        return Refused("authenticatorData attests no credential (AT)")
    return _Statement(raw, format_, members, parsed, parsed.attested)


def _find_party(
    parties: Sequence[RelyingParty], data: AuthenticatorData, client_data: WebClientData
) -> RelyingParty | Refused:
    outcome: RelyingParty | Refused = Refused("authenticatorData: rpIdHash is that of no relying party", "relyingParty")
    for party in parties:
        if party.rp_id_hash == data.rp_id_hash:
            refusal = party.refusal(client_data)
            if refusal is None:
                return party
            outcome = refusal
    return outcome


def _names(text: str, credential_id: bytes) -> bool:
    try:
        return base64url.decode_tolerant(text) == credential_id
    except ValueError:
        return False


def _judge(
    statement: _Statement, client_data: WebClientData, party: RelyingParty, policy: AttestationPolicy | None
) -> Trust | Refused:
    format_, members, credential = statement.format, statement.members, statement.credential
    if format_ == "none" and members:
        return Refused("an attestation of format none has an empty attStmt")
    is_self = format_ == "packed" and "x5c" not in members
    if is_self:
        refusal = _refuse_self(statement, client_data)
        if refusal:
            return refusal
    if policy is None:
        return "self" if is_self else "none" if format_ == "none" else "unverified"
    if format_ == "none" or is_self:
        return Refused("the policy demands an attestation by the authenticator's vendor")
    if policy.aaguids is not None and credential.aaguid not in policy.aaguids:
        return Refused("the policy does not let this model of authenticator (AAGUID) in")
    anchors = policy.anchors.get(format_)
    if anchors is None:
        return Refused(f"the policy names no trust anchors for the format {format_}")
    # Loading the library and what it needs takes a quarter of a second, and few servers ever need it.
    from countersign.credentials import attestation_statement

    return (
        attestation_statement.refuse(statement.raw, format_, members, credential, client_data, party.rp_id, anchors)
        or "certified"
    )


def _refuse_self(statement: _Statement, client_data: WebClientData) -> Refused | None:
    """Self attestation of WebAuthn section 8.2: the new key signs its own attestation."""
    members, key = statement.members, statement.credential
    signature = members.get("sig")
    if members.keys() != {"alg", "sig"} or not isinstance(signature, bytes) or len(signature) > MAX_SIGNATURE:
        return Refused("a packed self attestation has an attStmt of alg and sig")
    if members["alg"] != key.algorithm:
        return Refused("the algorithm of the self attestation is not that of the key")
    message = statement.authenticator_data.raw + hashlib.sha256(client_data.raw).digest()
    if not key.public_key.verify(signature, message):
        return Refused("the signature of the self attestation does not hold")
    return None
