"""Service accounts: identities of programs, each with one key that signs and one access token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from countersign import permissions
from countersign.api import UNSET, ApiError, Caller, Effect, Enrolled, conflict, not_found, validation
from countersign.api.idempotency import Repeat, Taken, bind
from countersign.credentials.public_key import PublicKey
from countersign.encoding.dates import to_iso
from countersign.identity import grants, sessions, store
from countersign.identity.key_credentials import insert_key
from countersign.identity.types import AccessToken, PermissionAssignment, ServiceAccount, UserInfo
from countersign.identity.usernames import username_key
from countersign.storage import Row, Transaction
from countersign.world import World

#: Takes (token id, user id, username, life in seconds); gives the token text and its hash.
MintToken = Callable[[str, str, str, int], tuple[str, str]]


@dataclass(frozen=True, slots=True)
class NewServiceAccount:
    """What to create; ``lifetime`` of the token in seconds, ``payload_hash`` for the repeat of an ``externalId``."""

    name: str
    public_key: PublicKey
    permission_id: str | None
    external_id: str | None
    lifetime: int
    payload_hash: str


def _view(org_id: str, row: Row, assignments: list[PermissionAssignment], token: str | None = None) -> ServiceAccount:
    user_id, username, state, token_id, token_name, token_state, created_at, uuid, credential_id, fingerprint = row
    return ServiceAccount(
        user_info=UserInfo(
            username=username,
            name=username,
            user_id=user_id,
            kind="CustomerEmployee",
            credential_uuid=uuid,
            org_id=org_id,
            permissions=sorted({operation for item in assignments for operation in item.operations}),
            is_active=state == "Active",
            is_service_account=True,
            is_registered=True,
            permission_assignments=assignments,
        ),
        access_tokens=[
            AccessToken(
                access_token=UNSET if token is None else token,
                date_created=to_iso(created_at),
                cred_id=credential_id,
                is_active=state == "Active" and token_state == "Active",
                kind="ServiceAccount",
                linked_user_id=user_id,
                linked_app_id="",
                name=token_name,
                org_id=org_id,
                permission_assignments=assignments,
                public_key=fingerprint,
                token_id=token_id,
            )
        ],
    )


def get(org_id: str, user_id: str) -> Transaction[ServiceAccount | None]:
    """The account, ``None`` when missing or archived."""
    rows = yield store.GET_SERVICE_ACCOUNT, (org_id, user_id)
    if not rows:
        return None
    assignments = yield store.LIST_ASSIGNMENTS_OF, (org_id, user_id)
    return _view(org_id, rows[0], [grants.assignment(row) for row in assignments])


def list_all(org_id: str) -> Transaction[list[ServiceAccount]]:
    """Every account that is not archived, newest first."""
    rows = yield store.LIST_SERVICE_ACCOUNTS, (org_id,)
    granted = grants.by_identity((yield store.LIST_SERVICE_ACCOUNT_ASSIGNMENTS, (org_id,)))
    return [_view(org_id, row, granted[row[0]]) for row in rows]


def create(
    caller: Caller, new: NewServiceAccount, mint: MintToken, insert_token: InsertToken, world: World
) -> Transaction[Effect[ServiceAccount]]:
    """Create the account, its credential, token and assignment.

    A repeat of an ``externalId`` answers the account without the token, which is not kept.
    """
    key = username_key(new.name)
    if key is None:
        raise validation("name", "must have 1 to 254 visible characters")
    user_id = world.new_id("us")
    org_id = caller.org_id
    if new.external_id is not None:
        bound = yield from bind(org_id, "ServiceAccount", new.external_id, user_id, "", new.payload_hash)
        if isinstance(bound, Taken):
            raise conflict(
                "Conflicting service account with same externalId",
                entity_id=bound.entity_id,
                external_id=new.external_id,
            )
        if isinstance(bound, Repeat):
            existing = yield from get(org_id, bound.entity_id)
            if existing is None:
                raise not_found("service account")
            return Effect(existing, (bound.entity_id,))
    if new.permission_id is not None:
        yield from _check_grant(caller, new.permission_id)
    now = world.now()
    if not (yield store.INSERT_USER, (org_id, user_id, 1, new.name, key, new.external_id, now)):
        taken = yield store.FIND_USERNAME, (org_id, 1, key)
        raise conflict("Conflicting service account with same name", entity_id=taken[0][0] if taken else None)
    uuid, token_id = world.new_id("cr"), world.new_id("to")
    pem, fingerprint = new.public_key.pem, new.public_key.fingerprint
    if (yield from insert_key(org_id, user_id, uuid, new.name, pem, fingerprint, now, world)) is None:
        raise conflict("Conflicting credential with same public key")
    token, digest = mint(token_id, user_id, new.name, new.lifetime)
    yield from insert_token(org_id, token_id, user_id, new.name, digest, uuid, now, now + new.lifetime * 1000)
    assigned: tuple[str, ...] = ()
    if new.permission_id is not None:
        # The account is made whatever policies say; of the assignment they decide as of any other.
        assigned = yield from permissions.assign_to_new(caller, new.permission_id, user_id, world)
    rows = yield store.GET_SERVICE_ACCOUNT, (org_id, user_id)
    assignments = yield store.LIST_ASSIGNMENTS_OF, (org_id, user_id)
    account = _view(org_id, rows[0], [grants.assignment(row) for row in assignments], token)
    enrolled = Enrolled(uuid, user_id, "Key", fingerprint)
    return Effect(account, (user_id, token_id, uuid, *assigned), (enrolled,))


#: Takes (org id, token id, user id, name, hash, credential uuid, created, expires in ms).
InsertToken = Callable[[str, str, str, str, str, str, int, int], Transaction[None]]


def _check_grant(caller: Caller, permission_id: str) -> Transaction[None]:
    """Nobody grants what they do not hold, and granting to someone else takes the right to assign."""
    if not caller.may("Permissions:Assign"):
        raise ApiError("FORBIDDEN", f"{caller.label} is not authorized to perform operation (Permissions:Assign)")
    yield from permissions.require_subset(caller, permission_id)


def update(org_id: str, user_id: str, name: str | None, external_id: str | None) -> Transaction[Effect[ServiceAccount]]:
    """Rename, or set the correlation id."""
    key = None if name is None else username_key(name)
    if name is not None and key is None:
        raise validation("name", "must have 1 to 254 visible characters")
    if key is not None:
        taken = yield store.FIND_USERNAME, (org_id, 1, key)
        if taken and taken[0][0] != user_id:
            raise conflict("Conflicting service account with same name", entity_id=taken[0][0])
    if not (yield store.UPDATE_SERVICE_ACCOUNT, (name, key, external_id, org_id, user_id)):
        raise not_found("service account")
    return Effect((yield from _existing(org_id, user_id)), (user_id,))


def set_active(org_id: str, user_id: str, *, active: bool) -> Transaction[Effect[ServiceAccount]]:
    """Activate or deactivate; idempotent. A deactivated account's token and open actions are of no use.

    Sessions that it opened for others end, and what it began for them is void.
    """
    state = "Active" if active else "Inactive"
    if not active:
        yield from permissions.require_another_administrator(org_id, user_id)
    if not (yield store.SET_SERVICE_ACCOUNT_STATE, (state, state, org_id, user_id)):
        raise not_found("service account")
    if not active:
        yield from sessions.end_delegated(org_id, user_id)
    return Effect((yield from _existing(org_id, user_id)), (user_id,))


def archive(org_id: str, user_id: str) -> Transaction[Effect[ServiceAccount]]:
    """Archive for good: the account vanishes from lists, its token and credentials end. Answers it inactive."""
    yield from permissions.require_another_administrator(org_id, user_id)
    set_inactive = yield store.SET_SERVICE_ACCOUNT_STATE, ("Inactive", "Inactive", org_id, user_id)
    if not set_inactive:
        raise not_found("service account")
    account = yield from _existing(org_id, user_id)
    yield store.SET_SERVICE_ACCOUNT_STATE, ("Archived", "Archived", org_id, user_id)
    yield store.ARCHIVE_TOKENS_OF, (org_id, user_id)
    yield store.ARCHIVE_CREDENTIALS_OF, (org_id, user_id)
    yield from sessions.end_delegated(org_id, user_id)
    return Effect(account, (user_id,))


def _existing(org_id: str, user_id: str) -> Transaction[ServiceAccount]:
    account = yield from get(org_id, user_id)
    if account is None:
        raise not_found("service account")
    return account
