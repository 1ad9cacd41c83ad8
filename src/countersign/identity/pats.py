"""Personal access tokens: what a person's programs use, never more than the person may do.

What a token may do is what its own permission and its owner's both grant, read anew at every request.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from msgspec import structs

from countersign import permissions
from countersign.access import keyring
from countersign.api import UNSET, Caller, Effect, Enrolled, conflict, not_found, validation
from countersign.api.idempotency import Repeat, Taken, bind
from countersign.credentials.public_key import PublicKey
from countersign.encoding.dates import to_iso
from countersign.identity import grants, store, user_store
from countersign.identity.key_credentials import insert_key
from countersign.identity.types import AccessToken, PermissionAssignment
from countersign.identity.usernames import username_key
from countersign.storage import Row, Transaction
from countersign.world import World

#: Takes (token id, life in seconds); gives the token text and its hash.
MintToken = Callable[[str, int], tuple[str, str]]


@dataclass(frozen=True, slots=True)
class NewToken:
    """What to create; ``lifetime`` in seconds, ``payload_hash`` for the repeat of an ``externalId``."""

    name: str
    public_key: PublicKey
    permission_id: str | None
    external_id: str | None
    lifetime: int
    payload_hash: str


def create(caller: Caller, new: NewToken, mint: MintToken, world: World) -> Transaction[Effect[AccessToken]]:
    """A token of the caller with a key of its own; without a permission it may do nothing that needs one.

    A repeat of the same ``externalId`` answers the token object with an empty ``accessToken``: it is stored nowhere.
    """
    org_id, user_id, token_id = caller.org_id, caller.user_id, world.new_id("to")
    if username_key(new.name) is None:
        raise validation("name", "must have 1 to 254 visible characters")
    if new.external_id is not None:
        # A person's own affair: another's token must neither stand in the way nor be named.
        scope = f"PersonalAccessToken {user_id}"
        bound = yield from bind(org_id, scope, new.external_id, token_id, user_id, new.payload_hash)
        if isinstance(bound, Taken):
            raise conflict(
                "Conflicting personal access token with same externalId",
                entity_id=bound.entity_id,
                external_id=new.external_id,
            )
        if isinstance(bound, Repeat):
            existing = yield from _existing(org_id, user_id, bound.entity_id, archived=True)
            # The clients' type of this answer demands the member.
            return Effect(structs.replace(existing, access_token=""), (bound.entity_id,))
    if new.permission_id is not None:
        yield from permissions.require_subset(caller, new.permission_id)
    yield from _require_free_name(org_id, user_id, new.name, token_id)
    now, uuid = world.now(), world.new_id("cr")
    pem, fingerprint = new.public_key.pem, new.public_key.fingerprint
    made_id = yield from insert_key(org_id, user_id, uuid, new.name, pem, fingerprint, now, world, token_id=token_id)
    if made_id is None:
        raise conflict("Conflicting credential with same public key")
    secret, digest = mint(token_id, new.lifetime)
    yield from keyring.insert(
        org_id, token_id, user_id, new.name, digest, uuid, now, now + new.lifetime * 1000, kind="Pat"
    )
    if new.external_id is not None:
        yield user_store.SET_EXTERNAL_ID_OF_TOKEN, (new.external_id, org_id, token_id)
    if new.permission_id is not None:
        # Nobody can have read the rights of a token so new: no revision to raise.
        yield from permissions.grant(org_id, new.permission_id, token_id, world)
    rows = yield user_store.GET_PERSONAL_TOKEN, (org_id, user_id, token_id)
    assignments = yield store.LIST_ASSIGNMENTS_OF, (org_id, token_id)
    made = _view(org_id, rows[0], [grants.assignment(row) for row in assignments], secret)
    return Effect(made, (token_id, uuid), (Enrolled(uuid, user_id, "Key", fingerprint),))


def get(org_id: str, user_id: str, token_id: str, *, archived: bool = False) -> Transaction[AccessToken | None]:
    """One token of this person; ``None`` for anyone else's, and for an archived one unless ``archived``."""
    rows = yield user_store.GET_PERSONAL_TOKEN, (org_id, user_id, token_id)
    if not rows or (rows[0][3] == "Archived" and not archived):
        return None
    assignments = yield store.LIST_ASSIGNMENTS_OF, (org_id, token_id)
    return _view(org_id, rows[0], [grants.assignment(row) for row in assignments])


def list_all(org_id: str, user_id: str) -> Transaction[list[AccessToken]]:
    """Every token of this person that is not archived, newest first."""
    rows = yield user_store.LIST_PERSONAL_TOKENS, (org_id, user_id)
    held = grants.by_identity((yield user_store.LIST_ASSIGNMENTS_OF_TOKENS, (org_id, user_id)))
    return [_view(org_id, row, held[row[0]]) for row in rows]


def update(
    org_id: str, user_id: str, token_id: str, name: str | None, external_id: str | None
) -> Transaction[Effect[AccessToken]]:
    """Rename, or set the correlation id."""
    if name is not None:
        if username_key(name) is None:
            raise validation("name", "must have 1 to 254 visible characters")
        yield from _require_free_name(org_id, user_id, name, token_id)
    if not (yield user_store.UPDATE_PERSONAL_TOKEN, (name, external_id, org_id, user_id, token_id)):
        raise _unknown()
    return Effect((yield from _existing(org_id, user_id, token_id)), (token_id,))


def set_state(
    org_id: str, user_id: str, token_id: str, state: Literal["Active", "Inactive"]
) -> Transaction[Effect[AccessToken]]:
    """Activate or deactivate; idempotent. While inactive it is refused, and what it signed and did not use is void."""
    if not (yield user_store.SET_PERSONAL_TOKEN_STATE, (state, state, org_id, user_id, token_id)):
        raise _unknown()
    return Effect((yield from _existing(org_id, user_id, token_id)), (token_id,))


def archive(org_id: str, user_id: str, token_id: str) -> Transaction[Effect[AccessToken]]:
    """End the token and its key for good; its name is free again. Answers it inactive."""
    deactivated = yield from set_state(org_id, user_id, token_id, "Inactive")
    yield user_store.SET_PERSONAL_TOKEN_STATE, ("Archived", "Archived", org_id, user_id, token_id)
    yield user_store.ARCHIVE_CREDENTIALS_OF_TOKEN, (org_id, user_id, token_id)
    return deactivated


def _require_free_name(org_id: str, user_id: str, name: str, token_id: str) -> Transaction[None]:
    taken = yield user_store.FIND_PERSONAL_TOKEN_NAME, (org_id, user_id, name)
    if taken and taken[0][0] != token_id:
        raise conflict("Conflicting personal access token with same name", entity_id=taken[0][0])


def _existing(org_id: str, user_id: str, token_id: str, *, archived: bool = False) -> Transaction[AccessToken]:
    token = yield from get(org_id, user_id, token_id, archived=archived)
    if token is None:
        raise _unknown()
    return token


def _unknown() -> Exception:
    return not_found("personal access token")


def _view(org_id: str, row: Row, assignments: list[PermissionAssignment], secret: str | None = None) -> AccessToken:
    token_id, user_id, name, state, created_at, credential_id, fingerprint = row
    return AccessToken(
        access_token=UNSET if secret is None else secret,
        date_created=to_iso(created_at),
        cred_id=credential_id,
        is_active=state == "Active",
        kind="Pat",
        linked_user_id=user_id,
        linked_app_id="",
        name=name,
        org_id=org_id,
        permission_assignments=assignments,
        public_key=fingerprint,
        token_id=token_id,
    )
