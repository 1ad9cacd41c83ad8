"""What the operations share by which people come from an identity provider."""

from __future__ import annotations

import structlog

from countersign.api import ApiError, Call
from countersign.credentials.outcome import Refused
from countersign.federation import Expected, IdentityProviders, Unavailable
from countersign.identity.federated_logins import Visit
from countersign.identity.new_credentials import circumstances
from countersign.identity.providers import Provider

log = structlog.get_logger("countersign.security")


def no_provider(reason: str) -> ApiError:
    """The provider was not reached, or does not speak as it must."""
    return ApiError("IDENTITY_PROVIDER_UNAVAILABLE", reason=reason)


async def verified_visit(call: Call, provider: Provider, id_token: str, expected: Expected) -> Visit:
    """Who comes, by an ID token. 401 ``IDENTITY_REFUSED``, 503 ``IDENTITY_PROVIDER_UNAVAILABLE``."""
    identity = await call.service(IdentityProviders).verify(id_token, expected)
    if isinstance(identity, Unavailable):
        raise no_provider(identity.reason)
    if isinstance(identity, Refused):
        log.info("an ID token was refused", organisation=provider.org_id, issuer=provider.issuer, why=identity.reason)
        raise ApiError("IDENTITY_REFUSED", reason=identity.reason)
    return Visit(provider, identity, circumstances(call))
