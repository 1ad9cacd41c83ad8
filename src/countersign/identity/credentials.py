"""Credentials: what proves a new one, how it is enrolled, and what its owner may do with it later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from countersign.access import temporary_tokens
from countersign.access.stored_credentials import Passkey
from countersign.access.temporary_tokens import TemporaryToken
from countersign.api import UNSET, ApiError, Effect, Enrolled, UnsetType, evidence_error, not_found
from countersign.credentials.fido2_registration import AttestationPolicy, Fido2Attestation, verify_registration
from countersign.credentials.key_assertion import lookup_key
from countersign.credentials.key_attestation import CredentialInfo, KeyAttestation, verify_attestation
from countersign.credentials.outcome import KeyRefused, Refused
from countersign.credentials.public_key import PublicKey
from countersign.credentials.relying_party import RelyingParty
from countersign.encoding.dates import to_iso
from countersign.identity import credential_store as store
from countersign.identity.credential_types import (
    CreateCredential,
    CreateFido2Credential,
    CreateKeyCredential,
    CreatePasswordCredential,
    CreatePasswordProtectedKeyCredential,
    CreateRecoveryKeyCredential,
    CreateTotpCredential,
)
from countersign.identity.types import Credential
from countersign.storage import Transaction
from countersign.world import World

CredentialKind = Literal["Fido2", "Key", "PasswordProtectedKey", "RecoveryKey"]


@dataclass(frozen=True, slots=True)
class NewCredential:
    """A credential whose holder has proved it.

    Of passkeys alone: ``fido2``, JSON of what else is known of them, and ``attestation``, the object as it was sent.
    """

    kind: CredentialKind
    credential_id: str
    name: str
    public_key: PublicKey
    encrypted_private_key: str | None = None
    rp_id: str = ""
    origin: str = ""
    sign_count: int = 0
    fido2: str | None = None
    attestation: str | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """The credential id or the public key is enrolled already; ``own_uuid`` names it if it is the same user's."""

    what: Literal["credential id", "public key"]
    own_uuid: str | None


def kind_of(body: CreateCredential) -> CredentialKind | None:
    """The kind to be enrolled, ``None`` for one that this server does not enrol."""
    if isinstance(body, CreatePasswordCredential | CreateTotpCredential):
        return None
    if isinstance(body, CreateFido2Credential):
        return "Fido2"
    if isinstance(body, CreatePasswordProtectedKeyCredential):
        return "PasswordProtectedKey"
    return "Key" if isinstance(body, CreateKeyCredential) else "RecoveryKey"


@dataclass(frozen=True, slots=True)
class Submission:
    """A credential as its holder submits it; ``kind`` is one that this server enrols."""

    kind: CredentialKind
    name: str
    info: CredentialInfo
    encrypted_private_key: str | None = None


def submission_of(body: CreateCredential) -> Submission | None:
    """What is submitted; ``None`` for a kind that this server does not enrol."""
    kind = kind_of(body)
    if kind is None or isinstance(body, CreatePasswordCredential | CreateTotpCredential):
        return None
    wrapped: str | UnsetType = UNSET
    if isinstance(body, CreatePasswordProtectedKeyCredential | CreateRecoveryKeyCredential):
        wrapped = body.encrypted_private_key
    return Submission(kind, body.credential_name, body.credential_info, None if wrapped is UNSET else wrapped)


def prove(
    submission: Submission, challenge: str, parties: Sequence[RelyingParty], policy: AttestationPolicy | None
) -> NewCredential | Refused:
    """Check that the submitter holds what it submits and answers ``challenge``; ``parties`` are for passkeys."""
    if submission.kind == "Fido2":
        return _prove_passkey(submission, challenge, parties, policy)
    attestation = KeyAttestation(submission.kind, submission.info, submission.encrypted_private_key)
    attested = verify_attestation(attestation, challenge)
    if isinstance(attested, Refused):
        return attested
    return NewCredential(
        submission.kind,
        attested.credential_id,
        submission.name,
        attested.public_key,
        submission.encrypted_private_key,
    )


def _prove_passkey(
    submission: Submission, challenge: str, parties: Sequence[RelyingParty], policy: AttestationPolicy | None
) -> NewCredential | Refused:
    attestation = Fido2Attestation("Fido2", submission.info)
    attested = verify_registration(attestation, challenge, parties, policy=policy)
    if isinstance(attested, Refused):
        return attested
    passkey = Passkey(
        aaguid=str(attested.aaguid),
        backup_eligible=attested.backup_eligible,
        backed_up=attested.backed_up,
        format=attested.format,
        trust=attested.trust,
    )
    return NewCredential(
        "Fido2",
        attested.credential_id,
        submission.name,
        attested.public_key,
        rp_id=attested.party.rp_id,
        origin=attested.origin,
        sign_count=attested.sign_count,
        fido2=msgspec.json.encode(passkey).decode(),
        attestation=submission.info.attestation_data,
    )


def enrol(
    token: TemporaryToken, owner_token: str, new: NewCredential, world: World
) -> Transaction[Effect[Credential] | Taken | Refused]:
    """Spend the challenge and store the credential. ``owner_token``: id of the access token it is bound to, or ``""``.

    ``Refused`` when the challenge holds no longer. The caller rolls back on anything but an ``Effect``.
    """
    org_id, user_id, now = token.metadata.org_id, token.metadata.user_id, world.now()
    # Whoever shuts this person out meanwhile waits, and then finds the new credential among the others.
    yield store.LOCK_USER, (org_id, user_id)
    refusal = yield from temporary_tokens.spend(token, now)
    if refusal is not None:
        return refusal
    return (yield from insert(org_id, user_id, owner_token, new, world))


def insert(
    org_id: str, user_id: str, owner_token: str, new: NewCredential, world: World, *, uuid: str | None = None
) -> Transaction[Effect[Credential] | Taken]:
    """Store a credential that was proved, for a user who is locked. The caller rolls back on ``Taken``.

    ``uuid``: one that was made for it before.
    """
    now = world.now()
    uuid, key, pem = uuid or world.new_id("cr"), lookup_key(new.credential_id), new.public_key
    row = (org_id, uuid, user_id, owner_token, new.kind, new.credential_id, key, new.name, pem.pem, pem.fingerprint)
    of_kind = (new.rp_id, new.origin, new.encrypted_private_key, new.sign_count, new.fido2, new.attestation)
    if not (yield store.INSERT_CREDENTIAL, (*row, *of_kind, now)):
        return (yield from _collision(org_id, user_id, key, pem.fingerprint))
    if new.kind == "Fido2" and not (yield store.INSERT_FIDO2_ID, (key, org_id, uuid)):
        return Taken("credential id", None)
    stored = Credential(
        kind=new.kind,
        credential_id=new.credential_id,
        credential_uuid=uuid,
        date_created=to_iso(now),
        is_active=True,
        name=new.name,
        public_key=pem.fingerprint,
        relying_party_id=new.rp_id,
        origin=new.origin,
    )
    return Effect(stored, (uuid,), (Enrolled(uuid, user_id, new.kind, pem.fingerprint),))


def _collision(org_id: str, user_id: str, key: str, fingerprint: str) -> Transaction[Taken]:
    rows = yield store.FIND_COLLISION, (org_id, key, fingerprint)
    own = [row for row in rows if row[1] == user_id]
    same_id = any(row[2] == key for row in rows)
    return Taken("credential id" if same_id else "public key", own[0][0] if own else None)


def refusal_error(refused: Refused) -> ApiError:
    """What a caller is told about an attestation that does not hold."""
    code = "PUBLIC_KEY_REFUSED" if isinstance(refused, KeyRefused) else "ATTESTATION_INVALID"
    return evidence_error(code, refused)


def taken_error(taken: Taken) -> ApiError:
    """409, with the id of the credential that stands in the way if it is the caller's own."""
    details = None if taken.own_uuid is None else {"duplicate": {"id": taken.own_uuid}}
    return ApiError("CREDENTIAL_EXISTS", f"Conflicting credential with same {taken.what}", details=details)


def list_own(org_id: str, user_id: str, token_id: str) -> Transaction[list[Credential]]:
    """A user's credentials, or those bound to one access token; archived ones are gone."""
    rows = yield store.LIST_CREDENTIALS, (org_id, user_id, token_id)
    return [
        Credential(
            kind=kind,
            credential_id=credential_id,
            credential_uuid=uuid,
            date_created=to_iso(created_at),
            is_active=state == "Active",
            name=name,
            public_key=fingerprint,
            relying_party_id=rp_id,
            origin=origin,
        )
        for kind, credential_id, uuid, created_at, state, name, fingerprint, rp_id, origin in rows
    ]


def endorse(org_id: str, credential_uuid: str, fingerprint: str) -> Transaction[Effect[None]]:
    """Vouch for a credential that nobody countersigned; its effect is the signer's. 404 unless it has this public key.

    One answer for both: whoever asks has the fingerprint from the holder, and learns nothing of another.
    """
    rows = yield store.FIND_FINGERPRINT, (org_id, credential_uuid)
    if not rows or rows[0][0] != fingerprint:
        raise not_found("credential")
    return Effect(None, (credential_uuid,))


def set_state(
    org_id: str, user_id: str, credential_uuid: str, state: Literal["Active", "Inactive", "Archived"]
) -> Transaction[Effect[None]]:
    """Activate, deactivate or archive one of a user's own credentials; idempotent but for the last.

    404 for one that is another's, bound to an access token, or archived; 400 ``LAST_CREDENTIAL`` when no active
    credential would remain that can sign and log in.
    """
    # Two such changes at once would each count on the credential that the other takes away.
    yield store.LOCK_USER, (org_id, user_id)
    if not (yield store.SET_STATE, (state, state, org_id, user_id, credential_uuid)):
        raise not_found("credential")
    if state != "Active" and not (yield store.COUNT_FIRST_FACTORS, (org_id, user_id))[0][0]:
        raise ApiError("LAST_CREDENTIAL")
    return Effect(None, (credential_uuid,))
