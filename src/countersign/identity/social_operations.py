"""Registration and login of end users by an identity provider: what callers can do."""

from __future__ import annotations

import structlog

from countersign.access.keyring import KeyRing
from countersign.api import UNSET, ApiError, Call, operation, validation
from countersign.credentials.outcome import Refused
from countersign.federation import Expected, peek
from countersign.identity import federated_logins, new_credentials, providers
from countersign.identity.entrance import Entrance
from countersign.identity.federated_logins import Visit
from countersign.identity.federation_types import SocialLogin
from countersign.identity.provider_visits import verified_visit
from countersign.identity.registration_types import Authentication, RegistrationChallenge

log = structlog.get_logger("countersign.security")


@operation("POST", "/auth/registration/social", public=True)
async def create_social_registration_challenge(call: Call, body: SocialLogin) -> RegistrationChallenge:
    """Begin the registration of an end user, with an ID token of a provider that the organisation trusts.

    Complete it as any other: `POST /auth/registration/enduser`. The token is used up; with a fresh one it can be begun
    again until it is complete, and the challenges before are void. Who is registered logs in (401 `USER_EXISTS`).
    """
    visit, token_id = await _visit(call, body), call.world.new_id("uj")
    person = await call.write(lambda: federated_logins.begin_registration(visit, token_id, call.world))
    return await new_credentials.challenge(
        call, RegistrationChallenge, "registration", person, token_id, display_name=person.display_name
    )


@operation("POST", "/auth/login/social", public=True)
async def social_login(call: Call, body: SocialLogin) -> Authentication:
    """Log in an end user who registered by the same provider, with an ID token, once.

    The session reads; whatever asks for a user action is signed with a credential of the user.
    """
    visit, ring, lifetime = await _visit(call, body), call.service(KeyRing), call.service(Entrance).session_seconds
    entered = await call.write(lambda: federated_logins.log_in_end_user(visit, ring, lifetime, call.world))
    log.info("social login", organisation=visit.org_id, user=entered.person.user_id, issuer=visit.provider.issuer)
    return Authentication(token=entered.token)


async def _visit(call: Call, body: SocialLogin) -> Visit:
    claimed = peek(body.id_token)
    if isinstance(claimed, Refused):
        raise ApiError("IDENTITY_REFUSED", reason=claimed.reason)
    org_id = None if body.org_id is UNSET else body.org_id
    found = await call.read(lambda: providers.for_end_users(claimed, org_id))
    if not found:
        raise ApiError("IDENTITY_REFUSED", reason="no provider with this issuer and client is trusted for end users")
    if len({each.org_id for each in found}) > 1:
        raise validation("orgId", "name the organisation: several trust this client")
    provider = found[0]
    parties = await call.read(lambda: providers.apps(provider))
    expected = Expected(provider.issuer, provider.client_id, None, parties)
    return await verified_visit(call, provider, body.id_token, expected)
