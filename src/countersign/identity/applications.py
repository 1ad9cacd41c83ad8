"""Applications: what a request names in ``X-DFNS-APPID``, with rights, a relying party and tokens of its own."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from msgspec import structs

from countersign import permissions
from countersign.access import applications as access
from countersign.access import catalogue
from countersign.api import UNSET, ApiError, Caller, Effect, conflict, not_found, validation
from countersign.api.idempotency import Repeat, Taken, bind
from countersign.credentials.outcome import Refused
from countersign.credentials.public_key import PublicKey
from countersign.credentials.relying_party import parse_origin, parse_rp_id
from countersign.encoding import base64url
from countersign.encoding.dates import to_iso
from countersign.identity import application_store, grants, store
from countersign.identity.application_types import Application, ApplicationKind
from countersign.identity.types import AccessToken, PermissionAssignment
from countersign.identity.usernames import username_key
from countersign.storage import Row, Transaction
from countersign.world import World

#: Takes (application id, token id, life in seconds); gives the token text and its hash.
MintSecret = Callable[[str, str, int], tuple[str, str]]


@dataclass(frozen=True, slots=True)
class NewApplication:
    """What to create. ``public_key`` makes it a server-signed one, whose token lives ``lifetime`` seconds.

    ``payload_hash``: for the repeat of an ``externalId``.
    """

    name: str
    rp_id: str
    origin: str
    public_key: PublicKey | None
    permission_id: str | None
    external_id: str | None
    lifetime: int
    payload_hash: str

    @property
    def kind(self) -> ApplicationKind:
        """The kind as the API names it."""
        return "ClientSideApplication" if self.public_key is None else "ServerSideApplication"


def relying_party(rp_id: str | None, origin: str | None) -> tuple[str, str]:
    """Relying party and origin as they are stored, ``""`` for none. Raises 400 ``VALIDATION``."""
    if rp_id is None and origin is None:
        return "", ""
    if rp_id is None or origin is None:
        raise validation("relyingPartyId" if rp_id is None else "origin", "relyingPartyId and origin go together")
    parsed = parse_rp_id(rp_id)
    if isinstance(parsed, Refused):
        raise validation("relyingPartyId", parsed.reason)
    page = parse_origin(origin, parsed)
    if isinstance(page, Refused):
        raise validation("origin", page.reason)
    return parsed, page


def create(caller: Caller, new: NewApplication, mint: MintSecret, world: World) -> Transaction[Effect[Application]]:
    """Create the application, its rights and the token of a server-signed one.

    A repeat of an ``externalId`` answers the application without the token, which is not kept.
    """
    if username_key(new.name) is None:
        raise validation("name", "must have 1 to 254 visible characters")
    org_id, app_id, now = caller.org_id, world.new_id("ap"), world.now()
    if new.external_id is not None:
        bound = yield from bind(org_id, "Application", new.external_id, app_id, "", new.payload_hash)
        if isinstance(bound, Taken):
            raise conflict(
                "Conflicting application with same externalId", entity_id=bound.entity_id, external_id=new.external_id
            )
        if isinstance(bound, Repeat):
            return Effect((yield from _existing(org_id, bound.entity_id, archived=True)), (bound.entity_id,))
    granted = yield from _granted(caller, new.permission_id)
    yield from _require_free_name(org_id, new.name, app_id)
    pem, fingerprint = ("", "") if new.public_key is None else (new.public_key.pem, new.public_key.fingerprint)
    names = (org_id, app_id, new.kind, new.name, new.rp_id, new.origin, pem, fingerprint, new.external_id, now)
    if not (yield application_store.INSERT_APPLICATION, names):
        raise conflict("Conflicting application with same name")
    yield store.INSERT_APPLICATION_ID, (app_id, org_id)
    if new.rp_id:
        yield store.INSERT_ORIGIN, (org_id, app_id, new.rp_id, new.origin, now)
    for permission_id in granted:
        # Nobody can have read the rights of an application so new: no revision to raise.
        yield from permissions.grant(org_id, permission_id, app_id, world)
    if new.public_key is None:
        return Effect((yield from _existing(org_id, app_id)), (app_id,))
    token_id = world.new_id("to")
    secret, digest = mint(app_id, token_id, new.lifetime)
    yield from access.insert_secret(org_id, app_id, token_id, new.name, digest, now, now + new.lifetime * 1000)
    made = yield from _existing(org_id, app_id)
    token = structs.replace(made.access_tokens[0], access_token=secret)
    return Effect(structs.replace(made, access_tokens=[token]), (app_id, token_id))


def _granted(caller: Caller, permission_id: str | None) -> Transaction[list[str]]:
    """The permissions that a new application gets: the one named, or the caller's own that the caller's token holds."""
    if permission_id is not None:
        if not caller.may("Permissions:Assign"):
            raise ApiError("FORBIDDEN", f"{caller.label} is not authorized to perform operation (Permissions:Assign)")
        yield from permissions.require_subset(caller, permission_id)
        return [permission_id]
    rows = yield store.LIST_ASSIGNMENTS_OF, (caller.org_id, caller.user_id)
    return [row[2] for row in rows if _holds(caller, row)]


def _holds(caller: Caller, row: Row) -> bool:
    _, _, _, _, operations, is_immutable = row
    if caller.operations is None:
        return True
    return not is_immutable and all(caller.may(name) for name in catalogue.resolve(json.loads(operations)))


def get(org_id: str, app_id: str) -> Transaction[Application | None]:
    """The application, ``None`` when missing or archived."""
    return (yield from _read(org_id, app_id, archived=False))


def list_all(org_id: str) -> Transaction[list[Application]]:
    """Every application that is not archived, newest first."""
    rows = yield application_store.LIST_APPLICATIONS, (org_id,)
    held = grants.by_identity((yield application_store.LIST_APPLICATION_ASSIGNMENTS, (org_id,)))
    tokens: defaultdict[str, list[Row]] = defaultdict(list)
    for token in (yield application_store.LIST_APPLICATION_TOKENS, (org_id,)):
        tokens[token[0]].append(token)
    return [_view(org_id, row, held[row[0]], tokens[row[0]]) for row in rows]


def update(org_id: str, app_id: str, name: str | None, external_id: str | None) -> Transaction[Effect[Application]]:
    """Rename, or set the correlation id."""
    if name is not None:
        if username_key(name) is None:
            raise validation("name", "must have 1 to 254 visible characters")
        yield from _require_free_name(org_id, name, app_id)
    if not (yield application_store.UPDATE_APPLICATION, (name, external_id, org_id, app_id)):
        raise not_found("application")
    return Effect((yield from _existing(org_id, app_id)), (app_id,))


def set_state(org_id: str, app_id: str, state: Literal["Active", "Inactive"]) -> Transaction[Effect[Application]]:
    """Activate or deactivate; idempotent. Requests that name an inactive application are refused."""
    if not (yield application_store.SET_APPLICATION_STATE, (state, state, org_id, app_id)):
        raise not_found("application")
    return Effect((yield from _existing(org_id, app_id)), (app_id,))


def archive(org_id: str, app_id: str) -> Transaction[Effect[Application]]:
    """Archive for good: it vanishes from lists, its tokens end, its name is free. Answers it inactive."""
    answered = yield from set_state(org_id, app_id, "Inactive")
    yield application_store.SET_APPLICATION_STATE, ("Archived", "Archived", org_id, app_id)
    ended = yield application_store.ARCHIVE_APPLICATION_TOKENS, (org_id, app_id)
    return Effect(answered.value, (app_id, *(row[0] for row in ended)))


def _require_free_name(org_id: str, name: str, app_id: str) -> Transaction[None]:
    taken = yield application_store.FIND_APPLICATION_NAME, (org_id, name)
    if taken and taken[0][0] != app_id:
        raise conflict("Conflicting application with same name", entity_id=taken[0][0])


def _existing(org_id: str, app_id: str, *, archived: bool = False) -> Transaction[Application]:
    found = yield from _read(org_id, app_id, archived=archived)
    if found is None:
        raise not_found("application")
    return found


def _read(org_id: str, app_id: str, *, archived: bool) -> Transaction[Application | None]:
    rows = yield application_store.GET_APPLICATION, (org_id, app_id)
    if not rows or (rows[0][5] == "Archived" and not archived):
        return None
    assignments = yield store.LIST_ASSIGNMENTS_OF, (org_id, app_id)
    tokens = yield application_store.LIST_TOKENS_OF_APPLICATION, (org_id, app_id)
    return _view(org_id, rows[0], [grants.assignment(row) for row in assignments], tokens)


def _view(org_id: str, row: Row, assignments: list[PermissionAssignment], tokens: Iterable[Row]) -> Application:
    app_id, kind, name, rp_id, origin, state, fingerprint = row

    def token(values: Row) -> AccessToken:
        _, token_id, token_name, token_state, created_at = values
        return AccessToken(
            date_created=to_iso(created_at),
            cred_id=key_id(token_id),
            is_active=state == "Active" and token_state == "Active",
            kind="Application",
            linked_user_id="",
            linked_app_id=app_id,
            name=token_name,
            org_id=org_id,
            permission_assignments=assignments,
            public_key=fingerprint,
            token_id=token_id,
        )

    return Application(
        app_id=app_id,
        kind=kind,
        org_id=org_id,
        name=name,
        is_active=state == "Active",
        permission_assignments=assignments,
        access_tokens=[token(values) for values in tokens],
        expected_rp_id=rp_id or UNSET,
        expected_origin=origin or UNSET,
    )


def key_id(token_id: str) -> str:
    """Id of the key that belongs to an application's token: no credential, nobody signs actions with it."""
    return base64url.encode(f"ci-{token_id.removeprefix('to-')}".encode())
