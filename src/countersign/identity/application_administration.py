"""What an operator does with applications by a local command: no request of the API does it. Each is audited."""

from __future__ import annotations

from dataclasses import dataclass

from countersign.access import applications as access
from countersign.access.keyring import KeyRing
from countersign.credentials.outcome import Refused
from countersign.credentials.relying_party import parse_origin
from countersign.identity import application_store, applications, store
from countersign.identity.application_types import Application
from countersign.identity.local_commands import Impossible, tell
from countersign.storage import Transaction
from countersign.world import World


@dataclass(frozen=True, slots=True)
class Listed:
    """An application with what it demands of requests that name it, and every origin of its relying party."""

    application: Application
    demands: access.Demands
    origins: tuple[str, ...]


def list_all() -> Transaction[list[Listed]]:
    """Every application of every organisation that is not archived."""
    found: list[Listed] = []
    for org_id, _ in (yield store.LIST_ORGANISATIONS, ()):
        for application in (yield from applications.list_all(org_id)):
            known = yield from access.read_application(application.app_id)
            origins = yield application_store.LIST_ORIGINS_OF_APPLICATION, (org_id, application.app_id)
            demands = access.Demands() if known is None else known.demands
            found.append(Listed(application, demands, tuple(row[0] for row in origins)))
    return found


def rotate_token(app_id: str, days: int, ring: KeyRing, world: World) -> Transaction[str]:
    """A new token of a server-signed application in place of the old one, which ends at once. Raises ``Impossible``."""
    org_id = yield from _organisation_of(app_id)
    rows = yield application_store.RAISE_APPLICATION_EPOCH, (org_id, app_id)
    if not rows:
        raise Impossible("the application is archived")
    kind, name = rows[0]
    if kind != "ServerSideApplication":
        raise Impossible("only a server-signed application has a token")
    now, token_id, lifetime = world.now(), world.new_id("to"), days * 86_400
    ended = yield application_store.ARCHIVE_APPLICATION_TOKENS, (org_id, app_id)
    secret, digest = access.mint_secret(
        ring, org_id=org_id, app_id=app_id, token_id=token_id, lifetime=lifetime, now_ms=now
    )
    yield from access.insert_secret(org_id, app_id, token_id, name, digest, now, now + lifetime * 1000)
    entities = (app_id, token_id, *(row[0] for row in ended))
    yield from tell(org_id, "ApplicationTokenRotated", entities, {"days": str(days)}, world)
    return secret


def demand(app_id: str, demands: access.Demands, world: World) -> Transaction[None]:
    """Set what must come with requests of the application. Raises ``Impossible``."""
    org_id = yield from _organisation_of(app_id)
    values = (int(demands.application_id), int(demands.nonce), int(demands.api_signature))
    if not (yield application_store.SET_DEMANDS, (*values, org_id, app_id)):
        raise Impossible("the application is archived")
    details = {
        "requireApplicationId": str(demands.application_id),
        "requireNonce": str(demands.nonce),
        "requireApiSignature": str(demands.api_signature),
    }
    yield from tell(org_id, "ApplicationDemandsSet", (app_id,), details, world)


def add_origin(app_id: str, origin: str, world: World, *, related: bool = False) -> Transaction[str]:
    """One more origin where the application's passkeys may be used; as it is stored. Raises ``Impossible``."""
    org_id = yield from _organisation_of(app_id)
    rows = yield application_store.READ_PARTY, (org_id, app_id)
    if not rows or not rows[0][0]:
        raise Impossible("the application is archived or has no relying party")
    rp_id = rows[0][0]
    parsed = parse_origin(origin, rp_id, related=related)
    if isinstance(parsed, Refused):
        raise Impossible(parsed.reason)
    if (yield store.INSERT_ORIGIN, (org_id, app_id, rp_id, parsed, world.now())):
        yield from tell(org_id, "OriginAdded", (app_id,), {"origin": parsed}, world)
    return parsed


def remove_origin(app_id: str, origin: str, world: World) -> Transaction[None]:
    """Passkeys of the application are of no use at this origin any more. Raises ``Impossible``."""
    org_id = yield from _organisation_of(app_id)
    if not (yield application_store.DELETE_ORIGIN, (org_id, app_id, origin)):
        raise Impossible("the application has no such origin")
    yield from tell(org_id, "OriginRemoved", (app_id,), {"origin": origin}, world)


def _organisation_of(app_id: str) -> Transaction[str]:
    rows = yield application_store.FIND_APPLICATION, (app_id,)
    if not rows:
        raise Impossible("there is no such application")
    org_id: str = rows[0][0]
    return org_id
