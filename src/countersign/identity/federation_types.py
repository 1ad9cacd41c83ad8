"""Wire types of registration and login by an identity provider."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from countersign.api import UNSET, UnsetType, Wire
from countersign.federation.id_token import MAX_LENGTH
from countersign.federation.redirects import MAX_LENGTH as MAX_URI_LENGTH
from countersign.identity.credential_types import CredentialChallenge
from countersign.identity.registration_types import Authentication, OrganisationId

_Uri = Annotated[str, Meta(min_length=1, max_length=MAX_URI_LENGTH)]


class SocialLogin(Wire):
    """``idToken`` as the provider issued it to the app.

    ``orgId`` may be left out where the token is of a client that one organisation alone has.
    """

    social_login_provider_kind: Literal["Oidc"]
    id_token: Annotated[str, Meta(min_length=1, max_length=MAX_LENGTH)]
    org_id: OrganisationId | UnsetType = UNSET


class BeginSso(Wire):
    """``clientId`` as a login of a user with ``isSSORequired`` was answered it; ``redirectUri`` from its list."""

    client_id: Annotated[str, Meta(min_length=1, max_length=256)]
    redirect_uri: _Uri
    org_id: OrganisationId | UnsetType = UNSET


class BegunSso(Wire):
    """Where to send the person's browser."""

    sso_redirect_url: str


class BeginOidc(Wire):
    """The same at the organisation's provider; ``nonce``: for the ID token, made by the server where it is absent."""

    redirect_uri: _Uri
    org_id: OrganisationId | UnsetType = UNSET
    nonce: Annotated[str, Meta(min_length=8, max_length=256, pattern=r"^[!-~]+\Z")] | UnsetType = UNSET


class BegunOidc(Wire):
    """Where to send the person's browser."""

    redirect_url: str


class CompleteSignIn(Wire):
    """What the provider sent the person back with. Compare ``state`` with that of the redirect URL first."""

    code: Annotated[str, Meta(min_length=1, max_length=4096)]
    state: Annotated[str, Meta(min_length=1, max_length=256)]


class OidcLogin(Authentication):
    """A session, and for who has no credential yet a challenge with which to register the first."""

    credential_challenge: CredentialChallenge | UnsetType = UNSET
