"""Wire types of login and logout."""

from __future__ import annotations

from countersign.api import UNSET, UnsetType, Wire
from countersign.identity.registration_types import OrganisationId, TypedCode, Username


class CreateLoginChallenge(Wire):
    """Without ``username`` any discoverable passkey of the organisation may answer.

    ``loginCode``: what ``POST /auth/login/code`` sent, for users of password-protected keys.
    """

    username: Username | UnsetType = UNSET
    org_id: OrganisationId | UnsetType = UNSET
    login_code: TypedCode | UnsetType = UNSET


class SsoRequired(Wire):
    """No session: sign in by ``POST /auth/login/sso/init`` with this client."""

    sso_client_id: str


class DelegatedLogin(Wire):
    """For whom a session is opened."""

    username: Username


class Logout(Wire):
    """``allSessions``: end every session of the user, not this one alone."""

    all_sessions: bool | UnsetType = UNSET
