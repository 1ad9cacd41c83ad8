"""Operations about the server itself: health, the key set, the OpenAPI document."""

from __future__ import annotations

from countersign.access.keyring import KeyRing
from countersign.access.limits import RateLimits
from countersign.access.origins import related_origins
from countersign.api import Call, Response, Wire, encode, not_found, operation
from countersign.keystores import SignerClient
from countersign.server.documents import Documents
from countersign.storage import Statement, StorageUnavailable, Transaction

_PING = Statement("ping", "SELECT 1")


class Health(Wire):
    """Whether the process serves."""

    status: str


class Readiness(Wire):
    """Whether requests that need each part can be served now."""

    status: str
    database: str
    signer: str


class RelatedOrigins(Wire):
    """Origins of other hosts at which passkeys of this host may be used."""

    origins: list[str]


def _ping() -> Transaction[bool]:
    return bool((yield _PING, ()))


@operation("GET", "/healthz", public=True)
async def healthz(call: Call) -> Health:
    """Tell that the process answers."""
    return Health(status="ok")


@operation("GET", "/readyz", public=True)
async def readyz(call: Call) -> Response:
    """Tell whether database and signer can be used: 200, or 503 with what is missing."""
    try:
        await call.read(_ping)
        database = "ok"
    except StorageUnavailable as error:
        database = error.reason
    signer = await call.service(SignerClient).status()
    ready = database == "ok" and signer.state == "unsealed"
    body = Readiness(status="ok" if ready else "unavailable", database=database, signer=signer.state)
    return Response(200 if ready else 503, encode(body))


@operation("GET", "/.well-known/jwks.json", public=True)
async def jwks(call: Call) -> Response:
    """Publish the keys that verify session and access tokens (RFC 7517)."""
    ring = call.service(KeyRing)
    await ring.look_again()
    return Response(200, encode(ring.jwks), headers={"Cache-Control": "public, max-age=300"})


@operation("GET", "/.well-known/webauthn", public=True)
async def webauthn(call: Call) -> RelatedOrigins:
    """Tell browsers where else passkeys of this host may be used (Web Authentication Level 3, related origins).

    Those are the origins of other hosts that an organisation or an active application of this relying party lists, the
    host being the one that was asked for; 404 where there are none.
    """
    call.service(RateLimits).public(call.request.client_address)
    host = call.request.headers.get("host", "").lower().partition(":")[0]
    origins = await call.read(lambda: related_origins(host))
    if not origins:
        raise not_found("route")
    return RelatedOrigins(origins=origins)


@operation("GET", "/openapi.json", public=True)
async def openapi(call: Call) -> Response:
    """Describe every operation as an OpenAPI 3.1 document."""
    return Response(200, call.service(Documents).openapi)
