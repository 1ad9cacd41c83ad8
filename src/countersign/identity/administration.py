"""What an operator sees of identities, and their states: by commands on the server's own host, each change audited."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from countersign import permissions
from countersign.access.keyring import KeyRing
from countersign.encoding.dates import to_iso
from countersign.identity import (
    administration_store,
    application_store,
    applications,
    credentials,
    grants,
    registration_codes,
    service_accounts,
    store,
    users,
)
from countersign.identity.local_commands import Impossible, tell
from countersign.identity.usernames import username_key
from countersign.storage import Row, Statement, Transaction
from countersign.storage.pagination import ABOVE_ALL
from countersign.world import World

Kind = Literal["user", "service-account", "application", "token", "credential"]
State = Literal["Active", "Inactive"]

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody or something that proves who it is, or what proves it. ``facts``: what only its kind has, for JSON."""

    kind: Kind
    id: str
    org_id: str
    name: str
    state: str
    created_at: int
    facts: Mapping[str, Any]

    def document(self) -> dict[str, Any]:
        """As JSON is printed of it."""
        return {
            "kind": self.kind,
            "id": self.id,
            "orgId": self.org_id,
            "name": self.name,
            "state": self.state,
            "dateCreated": to_iso(self.created_at),
            **self.facts,
        }


@dataclass(frozen=True, slots=True)
class Shown:
    """An identity with what it holds. ``sessions``: those that are live, of a person."""

    identity: Identity
    permissions: tuple[str, ...]
    tokens: tuple[Identity, ...]
    credentials: tuple[Identity, ...]
    sessions: int

    def document(self) -> dict[str, Any]:
        """As JSON is printed of it."""
        return {
            **self.identity.document(),
            "permissions": list(self.permissions),
            "tokens": [item.document() for item in self.tokens],
            "credentials": [item.document() for item in self.credentials],
            "sessions": self.sessions,
        }


@dataclass(frozen=True, slots=True)
class _Table:
    kind: Kind
    prefix: str
    listing: Statement
    finding: Statement
    facts: Callable[..., dict[str, Any]]

    def identity(self, row: Row) -> Identity:
        org_id, identity_id, name, state, created_at, *own = row
        return Identity(self.kind, identity_id, org_id, name, state, created_at, self.facts(*own))


def _of_user(kind: str, is_registered: int, is_sso_required: int) -> dict[str, Any]:
    return {"userKind": kind, "isRegistered": bool(is_registered), "isSSORequired": bool(is_sso_required)}


def _of_service_account() -> dict[str, Any]:
    return {}


def _of_application(kind: str, is_default: int, rp_id: str) -> dict[str, Any]:
    return {"applicationKind": kind, "isDefault": bool(is_default), "relyingPartyId": rp_id}


def _of_token(kind: str, user_id: str, app_id: str | None, expires_at: int) -> dict[str, Any]:
    owner = {"userId": user_id} if user_id else {"appId": app_id}
    return {"tokenKind": kind, **owner, "dateExpires": to_iso(expires_at)}


def _of_credential(kind: str, user_id: str, token_id: str, credential_id: str, fingerprint: str) -> dict[str, Any]:
    bound = {"tokenId": token_id} if token_id else {}
    named = {"credentialKind": kind, "userId": user_id, **bound}
    return {**named, "credentialId": credential_id, "publicKey": fingerprint}


_USERS = _Table("user", "us", administration_store.LIST_USERS, administration_store.FIND_USER, _of_user)
_SERVICE_ACCOUNTS = _Table(
    "service-account",
    "us",
    administration_store.LIST_SERVICE_ACCOUNTS,
    administration_store.FIND_SERVICE_ACCOUNT,
    _of_service_account,
)
_APPLICATIONS = _Table(
    "application",
    "ap",
    administration_store.LIST_APPLICATIONS,
    administration_store.FIND_APPLICATION,
    _of_application,
)
_TOKENS = _Table("token", "to", administration_store.LIST_TOKENS, administration_store.FIND_TOKEN, _of_token)
_CREDENTIALS = _Table(
    "credential", "cr", administration_store.LIST_CREDENTIALS, administration_store.FIND_CREDENTIAL, _of_credential
)
_TABLES = (_USERS, _SERVICE_ACCOUNTS, _APPLICATIONS, _TOKENS, _CREDENTIALS)

KINDS: tuple[Kind, ...] = tuple(table.kind for table in _TABLES)


def organisations() -> Transaction[list[str]]:
    """Ids of all organisations."""
    return [row[0] for row in (yield administration_store.LIST_ORGANISATION_IDS, ())]


def organisation(named: str | None) -> Transaction[str]:
    """The organisation of this id, by default the only one there is. Raises ``Impossible``."""
    known = yield from organisations()
    if named is None and len(known) != 1:
        raise Impossible(
            f"there are {len(known):,} organisations: name one with --org" if known else "there is no organisation yet"
        )
    chosen = known[0] if named is None else named
    if chosen not in known:
        raise Impossible(f"there is no organisation {chosen!r}")
    return chosen


def list_page(
    org_id: str, kind: Kind, before: str | None, *, archived: bool = False
) -> Transaction[tuple[list[Identity], str | None]]:
    """Identities of one kind, newest first, and from where to go on; ``archived`` tells whether to list those too."""
    table = next(table for table in _TABLES if table.kind == kind)
    rows = yield table.listing, (org_id, before or ABOVE_ALL, int(archived), _PAGE)
    return [table.identity(row) for row in rows], str(rows[-1][1]) if len(rows) == _PAGE else None


def show(named: str, now_ms: int) -> Transaction[Shown]:
    """One identity (id, or a person's username), archived or not, with what it holds. Raises ``Impossible``."""
    identity = yield from find_named(named)
    org_id, identity_id = identity.org_id, identity.id
    held = yield store.LIST_ASSIGNMENTS_OF, (org_id, identity_id)
    tokens: Sequence[Row] = ()
    keys: Sequence[Row] = ()
    sessions = 0
    if identity.kind in ("user", "service-account"):
        tokens = yield administration_store.LIST_TOKENS_OF, (org_id, identity_id)
        keys = yield administration_store.LIST_CREDENTIALS_OF, (org_id, identity_id)
        sessions = (yield administration_store.COUNT_SESSIONS_OF, (org_id, identity_id, now_ms))[0][0]
    elif identity.kind == "application":
        tokens = yield administration_store.LIST_TOKENS_OF_APPLICATION, (org_id, identity_id)
    return Shown(
        identity,
        tuple(grants.assignment(row).permission_name for row in held),
        tuple(_TOKENS.identity(row) for row in tokens),
        tuple(_CREDENTIALS.identity(row) for row in keys),
        sessions,
    )


def find_person(text: str) -> Transaction[Identity]:
    """A person by id or username. Raises ``Impossible`` when there is none, or more than one."""
    rows = yield _USERS.finding, (text,)
    if rows:
        return _USERS.identity(rows[0])
    key = username_key(text)
    named = [] if key is None else (yield administration_store.FIND_USERS_BY_NAME, (key,))
    if not named:
        raise Impossible(f"there is no user {text!r}: expected a user id or a username")
    if len(named) > 1:
        raise Impossible(f"several organisations have a user {text!r}: name the user id")
    return (yield from find_identity(named[0][0]))


def set_state(named: str, state: State, world: World) -> Transaction[bool]:
    """Activate or deactivate anything that has an id, or a person by username; false when it was so already.

    What it does to sessions, tokens and open actions is what the same change by a request of the API does. Raises
    ``Impossible``, and the ``ApiError`` with which that request would be refused.
    """
    identity = yield from find_named(named)
    org_id, identity_id = identity.org_id, identity.id
    before = yield from _locked(identity)
    if before == "Archived":
        raise Impossible(f"{identity_id} is archived, and that is final")
    if before == state:
        return False
    entities: tuple[str, ...] = (identity_id,)
    if identity.kind == "user":
        yield from (users.activate if state == "Active" else users.deactivate)(org_id, identity_id)
    elif identity.kind == "service-account":
        yield from service_accounts.set_active(org_id, identity_id, active=state == "Active")
    elif identity.kind == "application":
        yield from applications.set_state(org_id, identity_id, state)
    elif identity.kind == "token":
        yield administration_store.SET_TOKEN_STATE, (state, org_id, identity_id)
        app_id = identity.facts.get("appId")
        if app_id is not None:
            yield application_store.RAISE_APPLICATION_EPOCH, (org_id, app_id)
            entities = (identity_id, app_id)
    else:
        if "tokenId" in identity.facts:
            token_id = identity.facts["tokenId"]
            raise Impossible(f"{identity_id} is the key of the token {token_id}: change the state of that")
        yield from credentials.set_state(org_id, identity.facts["userId"], identity_id, state)
    event = "IdentityActivated" if state == "Active" else "IdentityDeactivated"
    user_id = identity_id if identity.kind in ("user", "service-account") else identity.facts.get("userId")
    yield from tell(org_id, event, entities, {"kind": identity.kind, "name": identity.name}, world, user_id=user_id)
    return True


@dataclass(frozen=True, slots=True)
class RegistrationCode:
    """A new code; ``expires_at`` in milliseconds."""

    user_id: str
    username: str
    code: str
    expires_at: int


def reissue_code(person: str, code: str, ring: KeyRing, world: World) -> Transaction[RegistrationCode]:
    """Give a person who is not registered yet a new registration code; the one before is void. Raises ``Impossible``.

    ``person``: an id or a username. ``code``: made outside of the transaction.
    """
    identity = yield from find_person(person)
    org_id, user_id = identity.org_id, identity.id
    (row,) = yield administration_store.LOCK_USER, (org_id, user_id)
    state, _, username, _, is_registered, registration, epoch = row
    if state != "Active":
        raise Impossible(f"{username} is {state.lower()}: only an active user registers")
    if is_registered:
        raise Impossible(f"{username} is registered already; someone locked out needs 'countersign admin break-glass'")
    if registration != "Direct":
        raise Impossible(f"{username} registers through a service account or an identity provider, without a code")
    expires_at = yield from registration_codes.put(ring, code, org_id, user_id, epoch, world.now())
    details = {"dateExpires": to_iso(expires_at)}
    yield from tell(org_id, "RegistrationCodeReissued", (user_id,), details, world, user_id=user_id, username=username)
    return RegistrationCode(user_id, username, code, expires_at)


def find_identity(identity_id: str) -> Transaction[Identity]:
    """Whoever has this id, archived or not. Raises ``Impossible`` when there is nobody."""
    prefix = identity_id.partition("-")[0]
    for table in _TABLES:
        if table.prefix == prefix:
            rows = yield table.finding, (identity_id,)
            if rows:
                return table.identity(rows[0])
    raise Impossible(f"there is no user, service account, application, token or credential {identity_id!r}")


def find_named(text: str) -> Transaction[Identity]:
    """Whoever has this id, or the person of this username. Raises ``Impossible``."""
    try:
        return (yield from find_identity(text))
    except Impossible:
        return (yield from find_person(text))


def _locked(identity: Identity) -> Transaction[str]:
    """The state as it stands; whoever else would change it waits. Locks in the order in which the API takes them."""
    org_id, identity_id = identity.org_id, identity.id
    if identity.kind in ("user", "service-account"):
        yield from permissions.lock_administrators(org_id)
        rows = yield administration_store.LOCK_USER, (org_id, identity_id)
    elif identity.kind == "application":
        rows = yield administration_store.LOCK_APPLICATION, (org_id, identity_id)
    elif identity.kind == "token":
        rows = yield administration_store.LOCK_TOKEN, (org_id, identity_id)
    else:
        yield administration_store.LOCK_USER, (org_id, identity.facts["userId"])
        rows = yield administration_store.LOCK_CREDENTIAL, (org_id, identity_id)
    return str(rows[0][0])
