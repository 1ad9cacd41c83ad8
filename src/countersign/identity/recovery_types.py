"""Wire types of recovery."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from countersign.api import UNSET, UnsetType, Wire
from countersign.credentials.key_assertion import CredentialAssertion
from countersign.identity.registration_types import (
    NewCredentials,
    OrganisationId,
    RegistrationChallenge,
    TypedCode,
    Username,
)

#: The id of a recovery key as its holder noted it.
_CredentialId = Annotated[str, Meta(min_length=1, max_length=1024)]


class CreateRecoveryChallenge(Wire):
    """``verificationCode`` as typed; ``credentialId`` names the recovery key that will sign."""

    username: Username
    verification_code: TypedCode
    credential_id: _CredentialId
    org_id: OrganisationId | UnsetType = UNSET


class DelegatedRecovery(Wire):
    """Whom a service account vouches for; ``credentialId`` names the recovery key that will sign."""

    username: Username
    credential_id: _CredentialId


class AllowedRecoveryCredential(Wire):
    """The recovery key; ``encryptedRecoveryKey`` is its encrypted private half, ``""`` where none is kept here."""

    id: str
    encrypted_recovery_key: str


class RecoveryChallenge(RegistrationChallenge):
    """Every new credential signs ``challenge``; the recovery key signs all of them together."""

    allowed_recovery_credentials: list[AllowedRecoveryCredential]


class RecoveryProof(Wire):
    """The recovery key's signature: its ``challenge`` is base64url of the JSON text of ``newCredentials``."""

    kind: Literal["RecoveryKey"]
    credential_assertion: CredentialAssertion


class Recover(Wire):
    """The new credentials, and the consent of the recovery key to exactly these."""

    recovery: RecoveryProof
    new_credentials: NewCredentials
