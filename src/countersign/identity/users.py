"""People: employees and end users, their states and what a change of state does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from countersign import permissions
from countersign.access import catalogue
from countersign.api import UNSET, Effect, PageRequest, conflict, not_found, validation
from countersign.api.idempotency import Repeat, Taken, bind
from countersign.identity import grants, providers, store, user_store
from countersign.identity.types import PermissionAssignment
from countersign.identity.user_types import User
from countersign.identity.usernames import username_key
from countersign.storage import Row, Transaction
from countersign.storage.pagination import page_of
from countersign.world import World

Kind = Literal["CustomerEmployee", "EndUser"]
#: By a code that is mailed, by a service account, by an identity provider.
Registration = Literal["Direct", "Delegated", "Social"]

# RFC 5321 limits, letters of any script, no quoted local parts: what people and mail servers use.
_MAIL = re.compile(r"(?=.{1,64}@)[^\s@\"(),:;<>\[\]\\.]+(\.[^\s@\"(),:;<>\[\]\\.]+)*@[\w-]+(\.[\w-]+)*")


@dataclass(frozen=True, slots=True)
class NewUser:
    """What to create; ``payload_hash`` is the digest of the canonical body, for the repeat of an ``externalId``.

    ``display_name``: how the person is called where that is not the username.
    """

    username: str
    kind: Kind
    registration: Registration
    is_sso_required: bool
    external_id: str | None
    payload_hash: str
    display_name: str | None = None


def registration_of(kind: Kind, wanted: Registration | None) -> Registration:
    """How the person registers: employees by code unless said otherwise, end users only by a service account."""
    if kind == "EndUser":
        if wanted == "Direct":
            raise validation("registration", "end users register through a service account: expected Delegated")
        return "Delegated"
    return wanted or "Direct"


def key_of(username: str, kind: Kind) -> str:
    """The key of a username. 400 unless it is one, and for an employee a mail address."""
    key = username_key(username)
    if key is None:
        raise validation("email", "must have 1 to 254 visible characters")
    if kind == "CustomerEmployee" and _MAIL.fullmatch(username.strip()) is None:
        raise validation("email", "must be a mail address")
    return key


def create(org_id: str, new: NewUser, world: World) -> Transaction[Effect[User]]:
    """A person who is not registered yet; an end user holds the managed default permission from the start."""
    key = key_of(new.username, new.kind)
    _check_sign_on(new.kind, required=new.is_sso_required)
    user_id, now = world.new_id("us"), world.now()
    if new.external_id is not None:
        bound = yield from bind(org_id, "User", new.external_id, user_id, "", new.payload_hash)
        if isinstance(bound, Taken):
            raise conflict(
                "Conflicting user with same externalId", entity_id=bound.entity_id, external_id=new.external_id
            )
        if isinstance(bound, Repeat):
            return Effect((yield from _existing(org_id, bound.entity_id, archived=True)), (bound.entity_id,))
    person = (
        org_id,
        user_id,
        new.kind,
        new.username,
        key,
        new.external_id,
        now,
        new.registration,
        int(new.is_sso_required),
        new.display_name,
    )
    if not (yield user_store.INSERT_PERSON, person):
        taken = yield store.FIND_USERNAME, (org_id, 0, key)
        raise conflict("Conflicting user with same username", entity_id=taken[0][0] if taken else None)
    if new.kind == "EndUser":
        # Nobody can have read the rights of someone so new: no revision to raise.
        permission_id = yield from permissions.find(org_id, catalogue.DEFAULT_END_USER)
        yield from permissions.grant(org_id, permission_id, user_id, world)
    return Effect((yield from _existing(org_id, user_id)), (user_id,))


def get(org_id: str, user_id: str, *, archived: bool = False) -> Transaction[User | None]:
    """One person; ``None`` for a service account, and for an archived person unless ``archived``."""
    rows = yield user_store.GET_PERSON, (org_id, user_id)
    if not rows or (rows[0][5] == "Archived" and not archived):
        return None
    assignments = yield store.LIST_ASSIGNMENTS_OF, (org_id, user_id)
    return _view(org_id, rows[0], [grants.assignment(row) for row in assignments])


def list_page(org_id: str, kinds: frozenset[str], page: PageRequest) -> Transaction[tuple[list[User], str | None]]:
    """A page of people of these kinds, newest first; every kind when there is none."""
    known = sorted(kinds & {"CustomerEmployee", "EndUser"} if kinds else {"CustomerEmployee", "EndUser"})
    if not known:
        return [], None
    if len(known) == 1:
        rows = yield user_store.LIST_PEOPLE_OF_KIND, (org_id, known[0], page.before, page.limit + 1)
    else:
        rows = yield user_store.LIST_PEOPLE, (org_id, page.before, page.limit + 1)
    shown, token = page_of(rows, page.limit, page.scope, lambda row: str(row[0]))
    if not shown:
        return [], None
    between = (org_id, known[0], known[-1], shown[-1][0], shown[0][0])
    held = grants.by_identity((yield user_store.LIST_ASSIGNMENTS_OF_PEOPLE, between))
    return [_view(org_id, row, held[row[0]]) for row in shown], token


def update(org_id: str, user_id: str, *, is_sso_required: bool) -> Transaction[Effect[User]]:
    """Set whether the person must sign in through the identity provider.

    400 for an end user, and for an administrator where there is no provider: nobody could let anyone in again.
    """
    if not (yield user_store.UPDATE_PERSON, (int(is_sso_required), org_id, user_id)):
        raise not_found("user")
    user = yield from _existing(org_id, user_id)
    _check_sign_on(user.kind, required=is_sso_required)
    offered = not is_sso_required or (yield from providers.sso_client(org_id)) is not None
    if not offered and (yield from permissions.governs(org_id, user_id)):
        raise validation("isSSORequired", "the organisation has no identity provider for its administrators")
    return Effect(user, (user_id,))


def _check_sign_on(kind: str, *, required: bool) -> None:
    """Single sign-on lets employees in alone: an end user who had to come that way never could."""
    if required and kind == "EndUser":
        raise validation("isSSORequired", "end users do not sign in by single sign-on")


def activate(org_id: str, user_id: str) -> Transaction[Effect[User]]:
    """Let the person in again: personal access tokens work again, sessions stay revoked. Idempotent."""
    if not (yield user_store.SET_PERSON_STATE, ("Active", "Active", org_id, user_id)):
        raise not_found("user")
    return Effect((yield from _existing(org_id, user_id)), (user_id,))


def deactivate(org_id: str, user_id: str) -> Transaction[Effect[User]]:
    """Shut the person out: sessions end, personal access tokens rest, what was signed and not used is void.

    Idempotent. 412 ``LAST_ADMINISTRATOR`` for the last person with full rights.
    """
    yield from permissions.require_another_administrator(org_id, user_id)
    if not (yield user_store.SET_PERSON_STATE, ("Inactive", "Inactive", org_id, user_id)):
        raise not_found("user")
    yield user_store.REVOKE_SESSIONS_OF, (org_id, user_id)
    return Effect((yield from _existing(org_id, user_id)), (user_id,))


def archive(org_id: str, user_id: str) -> Transaction[Effect[User]]:
    """End the person's access for good; the username is never given to anyone else. Answers the person inactive."""
    deactivated = yield from deactivate(org_id, user_id)
    yield user_store.SET_PERSON_STATE, ("Archived", "Archived", org_id, user_id)
    yield store.ARCHIVE_TOKENS_OF, (org_id, user_id)
    yield store.ARCHIVE_CREDENTIALS_OF, (org_id, user_id)
    return deactivated


def _existing(org_id: str, user_id: str, *, archived: bool = False) -> Transaction[User]:
    user = yield from get(org_id, user_id, archived=archived)
    if user is None:
        raise not_found("user")
    return user


def _view(org_id: str, row: Row, assignments: list[PermissionAssignment]) -> User:
    user_id, username, kind, is_registered, is_sso_required, state, credential_uuid, credential_id, name = row
    return User(
        username=username,
        name=name or username,
        user_id=user_id,
        kind=kind,
        credential_uuid=credential_uuid or "",
        credential_id=credential_id or UNSET,
        org_id=org_id,
        permissions=sorted({operation for item in assignments for operation in item.operations}),
        is_active=state == "Active",
        is_service_account=False,
        is_registered=bool(is_registered),
        is_sso_required=bool(is_sso_required),
        permission_assignments=assignments,
    )
