"""Wire types of registration."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from countersign.access.types import AllowedCredential, RelyingParty
from countersign.api import UNSET, UnsetType, Wire
from countersign.credentials.key_attestation import CredentialInfo
from countersign.identity.credential_types import (
    AuthenticatorSelection,
    ChallengedUser,
    CredentialKind,
    CredentialName,
    EncryptedPrivateKey,
    PubKeyCredParam,
)
from countersign.identity.types import ExternalId, Name

OrganisationId = Annotated[str, Meta(min_length=1, max_length=64)]
Username = Annotated[str, Meta(min_length=1, max_length=1024)]
#: A code as typed.
TypedCode = Annotated[str, Meta(min_length=1, max_length=64)]

FirstFactorKind = Literal["Fido2", "Key", "PasswordProtectedKey"]
_FIRST_FACTORS: tuple[FirstFactorKind, ...] = ("Fido2", "Key", "PasswordProtectedKey")


class UserLookup(Wire):
    """Whom it is about. ``orgId`` may be left out where the server has one organisation."""

    username: Username
    org_id: OrganisationId | UnsetType = UNSET


class CreateRegistrationChallenge(UserLookup):
    """``registrationCode`` as typed; case, spaces and dashes do not matter."""

    registration_code: TypedCode


class SupportedKinds(Wire):
    """The kinds of credentials that may be registered."""

    first_factor: list[FirstFactorKind]
    second_factor: list[FirstFactorKind]


class RegistrationChallenge(Wire):
    """Every new credential signs ``challenge``; ``temporaryAuthenticationToken`` is the bearer of what completes it."""

    user: ChallengedUser
    temporary_authentication_token: str
    challenge: str
    rp: RelyingParty | UnsetType = UNSET
    supported_credential_kinds: SupportedKinds = SupportedKinds(
        first_factor=list(_FIRST_FACTORS), second_factor=list(_FIRST_FACTORS)
    )
    authenticator_selection: AuthenticatorSelection = AuthenticatorSelection()
    attestation: Literal["none", "indirect", "direct", "enterprise"]
    pub_key_cred_params: list[PubKeyCredParam]
    exclude_credentials: list[AllowedCredential]
    otp_url: str = ""


class _Factor(Wire):
    credential_name: CredentialName = "Default Credential"


class Fido2Factor(_Factor, tag_field="credentialKind", tag="Fido2"):
    """A passkey or security key."""

    credential_info: CredentialInfo


class KeyFactor(_Factor, tag_field="credentialKind", tag="Key"):
    """A key that its holder keeps."""

    credential_info: CredentialInfo


class PasswordProtectedKeyFactor(_Factor, tag_field="credentialKind", tag="PasswordProtectedKey"):
    """A key whose encrypted private half is kept here, as opaque text."""

    credential_info: CredentialInfo
    encrypted_private_key: EncryptedPrivateKey


class _Password(Wire):
    password: str


class _OneTimePassword(Wire):
    otp_code: str


class PasswordFactor(_Factor, tag_field="credentialKind", tag="Password"):
    """A password; no server takes one."""

    credential_info: _Password


class TotpFactor(_Factor, tag_field="credentialKind", tag="Totp"):
    """A time-based one-time password; no server takes one."""

    credential_info: _OneTimePassword


class RecoveryFactor(_Factor, tag_field="credentialKind", tag="RecoveryKey"):
    """A key that only recovers an account; its encrypted private half may be kept here."""

    credential_info: CredentialInfo
    encrypted_private_key: EncryptedPrivateKey | UnsetType = UNSET


class NewCredentials(Wire):
    """What a person registers with: up to three credentials, each with an id and a key of its own."""

    first_factor_credential: Fido2Factor | KeyFactor | PasswordProtectedKeyFactor | PasswordFactor
    second_factor_credential: Fido2Factor | KeyFactor | PasswordProtectedKeyFactor | TotpFactor | UnsetType = UNSET
    recovery_credential: RecoveryFactor | UnsetType = UNSET


class RegisteredCredential(Wire):
    """The first factor."""

    uuid: str
    kind: CredentialKind
    name: str


class RegisteredUser(Wire):
    """Who registered."""

    id: str
    username: str
    org_id: str


class Registration(Wire):
    """A completed registration."""

    credential: RegisteredCredential
    user: RegisteredUser


class WantedWallet(Wire):
    """A wallet for a new end user."""

    network: Annotated[str, Meta(min_length=1, max_length=64)]
    name: Annotated[str, Meta(max_length=100)] | UnsetType = UNSET


class NewEndUser(NewCredentials):
    """The same with wallets to begin with."""

    wallets: Annotated[tuple[WantedWallet, ...], Meta(max_length=20)] = ()


class Authentication(Wire):
    """A session: ``token`` is the bearer of further requests."""

    token: str


class NoWallet(Wire):
    """No wallet."""


class EndUserRegistration(Registration):
    """A completed registration with a session."""

    authentication: Authentication
    wallets: list[NoWallet]


class DelegateRegistration(Wire):
    """Whom a service account registers: ``email`` becomes the username."""

    email: Name
    kind: Literal["CustomerEmployee", "EndUser"]
    external_id: ExternalId | UnsetType = UNSET
