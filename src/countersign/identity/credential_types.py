"""Wire types of credentials."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from countersign.access.types import AllowedCredential, RelyingParty
from countersign.api import UNSET, UnsetType, Wire
from countersign.credentials.key_attestation import MAX_ENCRYPTED_PRIVATE_KEY, CredentialInfo

CredentialKind = Literal["Fido2", "Key", "PasswordProtectedKey", "RecoveryKey"]
#: Kinds that clients know and this server does not enrol.
DisabledKind = Literal["Password", "Totp", "SessionKey"]

CredentialName = Annotated[str, Meta(min_length=1, max_length=100)]
EncryptedPrivateKey = Annotated[str, Meta(min_length=1, max_length=MAX_ENCRYPTED_PRIVATE_KEY)]
_Identifier = Annotated[str, Meta(min_length=1, max_length=8192)]


class CreateCredentialChallenge(Wire):
    """The kind of the credential to be enrolled."""

    kind: CredentialKind | DisabledKind


class CreateCredentialChallengeWithCode(Wire):
    """``code`` as typed; case, spaces and dashes do not matter."""

    credential_kind: CredentialKind | DisabledKind
    code: Annotated[str, Meta(min_length=1, max_length=64)]


class ChallengedUser(Wire):
    """For whom the credential will be. ``id`` is the user handle of a passkey."""

    id: str
    name: str
    display_name: str


class PubKeyCredParam(Wire):
    """A COSE algorithm that is accepted (IANA registry of COSE algorithms)."""

    type: Literal["public-key"] = "public-key"
    alg: int


class AuthenticatorSelection(Wire):
    """What an authenticator must be able to do (WebAuthn section 5.4.4)."""

    resident_key: Literal["required"] = "required"
    require_resident_key: bool = True
    user_verification: Literal["required"] = "required"


class CredentialChallenge(Wire):
    """The new credential signs ``challenge``; ``authenticatorSelection`` and ``excludeCredentials`` are of Fido2.

    ``temporaryAuthenticationToken`` is the same as ``challengeIdentifier``, for older clients.
    """

    kind: CredentialKind
    user: ChallengedUser
    challenge_identifier: str
    challenge: str
    rp: RelyingParty | UnsetType = UNSET
    authenticator_selection: AuthenticatorSelection | UnsetType = UNSET
    attestation: Literal["none", "indirect", "direct", "enterprise"]
    pub_key_cred_params: list[PubKeyCredParam]
    exclude_credentials: list[AllowedCredential] | UnsetType = UNSET
    temporary_authentication_token: str


class _NewCredential(Wire):
    challenge_identifier: _Identifier
    credential_name: CredentialName


class CreateFido2Credential(_NewCredential, tag_field="credentialKind", tag="Fido2"):
    """A passkey or security key: ``attestationData`` is its attestation object."""

    credential_info: CredentialInfo


class CreateKeyCredential(_NewCredential, tag_field="credentialKind", tag="Key"):
    """A key that its holder keeps: ``attestationData`` is JSON with its PEM and a signature by it."""

    credential_info: CredentialInfo


class CreatePasswordProtectedKeyCredential(_NewCredential, tag_field="credentialKind", tag="PasswordProtectedKey"):
    """A key whose encrypted private half is kept here, as opaque text."""

    credential_info: CredentialInfo
    encrypted_private_key: EncryptedPrivateKey


class CreateRecoveryKeyCredential(_NewCredential, tag_field="credentialKind", tag="RecoveryKey"):
    """A key that only recovers an account; its encrypted private half may be kept here."""

    credential_info: CredentialInfo
    encrypted_private_key: EncryptedPrivateKey | UnsetType = UNSET


class _Password(Wire):
    password: str


class _OneTimePassword(Wire):
    otp_code: str


class CreatePasswordCredential(_NewCredential, tag_field="credentialKind", tag="Password"):
    """A password; no server enrols one."""

    credential_info: _Password


class CreateTotpCredential(_NewCredential, tag_field="credentialKind", tag="Totp"):
    """A time-based one-time password; no server enrols one."""

    credential_info: _OneTimePassword


CreateCredential = (
    CreateFido2Credential
    | CreateKeyCredential
    | CreatePasswordProtectedKeyCredential
    | CreateRecoveryKeyCredential
    | CreatePasswordCredential
    | CreateTotpCredential
)


class CredentialReference(Wire):
    """One of the caller's own credentials."""

    credential_uuid: Annotated[str, Meta(min_length=1, max_length=64)]


class EndorseCredential(Wire):
    """``publicKey``: fingerprint of the credential's public key, as its holder tells it."""

    public_key: Annotated[str, Meta(pattern="^SHA256:[A-Za-z0-9+/]{43}\\Z")]


class CreateCredentialCode(Wire):
    """``expiration``: at most a minute ahead, an ISO 8601 time or a Unix time in seconds or milliseconds."""

    expiration: Annotated[str, Meta(max_length=64)] | Annotated[int, Meta(gt=0)]


class CredentialCode(Wire):
    """The code, shown once."""

    code: str
    expiration: str


class Message(Wire):
    """Done, and there is nothing more to say."""

    message: str = "success"


class Nothing(Wire):
    """An empty object."""
