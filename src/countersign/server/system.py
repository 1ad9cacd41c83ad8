"""Operations about the server itself: health, the key set, the OpenAPI document."""

from __future__ import annotations

from countersign.access.keyring import KeyRing
from countersign.api import Call, Response, Wire, encode, operation
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


@operation("GET", "/openapi.json", public=True)
async def openapi(call: Call) -> Response:
    """Describe every operation as an OpenAPI 3.1 document."""
    return Response(200, call.service(Documents).openapi)
