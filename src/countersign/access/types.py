"""Wire types of user action signing."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from countersign.api import UNSET, UnsetType, Wire
from countersign.credentials.fido2_assertion import Fido2CredentialAssertion
from countersign.credentials.key_assertion import CredentialAssertion


class CreateChallenge(Wire):
    """The request to be signed. ``userActionPayload`` is its body as JSON text, ``""`` for none."""

    user_action_payload: Annotated[str, Meta(max_length=1 << 20)] = ""
    user_action_http_method: Literal["POST", "PUT", "DELETE", "GET"]
    user_action_http_path: Annotated[str, Meta(min_length=1, max_length=2048)]
    user_action_server_kind: Literal["Api"] | UnsetType = UNSET


class RelyingParty(Wire):
    """The relying party of passkeys."""

    id: str
    name: str


class SupportedKind(Wire):
    """A kind of credential that the caller can sign with."""

    kind: Literal["Fido2", "Key", "PasswordProtectedKey"]
    factor: Literal["first", "second", "either"] = "either"
    requires_second_factor: bool = False


class AllowedCredential(Wire):
    """A credential that the caller can sign with."""

    type: Literal["public-key"] = "public-key"
    id: str


class AllowedProtectedKey(Wire):
    """The same with the caller's encrypted private key."""

    type: Literal["public-key"] = "public-key"
    id: str
    encrypted_private_key: str


class AllowCredentials(Wire):
    """The caller's credentials by kind."""

    key: list[AllowedCredential]
    password_protected_key: list[AllowedProtectedKey]
    webauthn: list[AllowedCredential]


class UserActionChallenge(Wire):
    """``challenge`` commits to the request: sign it, and send the result with ``challengeIdentifier``."""

    challenge: str
    challenge_identifier: str
    rp: RelyingParty | UnsetType = UNSET
    supported_credential_kinds: list[SupportedKind]
    user_verification: Literal["required", "preferred", "discouraged"] = "required"
    attestation: Literal["none", "indirect", "direct", "enterprise"] = "none"
    allow_credentials: AllowCredentials
    external_authentication_url: str = ""


class KeyFactor(Wire, tag_field="kind", tag="Key"):
    """A signature by a key that the caller holds."""

    credential_assertion: CredentialAssertion


class PasswordProtectedKeyFactor(Wire, tag_field="kind", tag="PasswordProtectedKey"):
    """A signature by a key that the caller decrypted."""

    credential_assertion: CredentialAssertion


class Fido2Factor(Wire, tag_field="kind", tag="Fido2"):
    """A signature by a passkey or security key."""

    credential_assertion: Fido2CredentialAssertion


class PasswordFactor(Wire, tag_field="kind", tag="Password"):
    """A password; no server takes one."""

    password: str


class TotpFactor(Wire, tag_field="kind", tag="Totp"):
    """A time-based one-time password; no server takes one."""

    otp_code: str


Factor = Fido2Factor | KeyFactor | PasswordProtectedKeyFactor | PasswordFactor | TotpFactor


class SignedChallenge(Wire):
    """The signed challenge; a second factor must be another credential."""

    challenge_identifier: Annotated[str, Meta(min_length=1)]
    first_factor: Factor
    second_factor: Factor | UnsetType = UNSET


class UserAction(Wire):
    """The one-time token for the ``X-DFNS-USERACTION`` header."""

    user_action: str
