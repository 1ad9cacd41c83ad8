"""People: what callers can do."""

from __future__ import annotations

import hashlib

from countersign.access import codes
from countersign.access.keyring import KeyRing
from countersign.api import UNSET, Call, Effect, not_found, operation, page_request
from countersign.identity import registration, users
from countersign.identity.types import Force
from countersign.identity.user_types import CreateUser, ListUsers, UpdateUser, User, UserList
from countersign.storage import Transaction


@operation(
    "POST",
    "/auth/users",
    permission="Auth:Users:Create",
    signed=True,
    callers=("Token", "ServiceAccount"),
    user_kinds=("CustomerEmployee",),
)
async def create_user(call: Call, body: CreateUser) -> User:
    """Create a user.

    Employees hold no permission at first, end users the managed default one. The user registers afterwards, and can
    do nothing before: an employee with a code that is mailed at once, unless `registration` is `Delegated`.
    """
    new = users.NewUser(
        username=body.email,
        kind=body.kind,
        registration=users.registration_of(body.kind, None if body.registration is UNSET else body.registration),
        is_sso_required=body.is_sso_required is True,
        external_id=None if body.external_id is UNSET else body.external_id,
        payload_hash=hashlib.sha256(call.request.canonical_body).hexdigest(),
    )
    users.key_of(new.username, new.kind)
    ring, code = call.service(KeyRing), codes.new_mailed_code(call.world)

    def work() -> Transaction[Effect[User]]:
        made = yield from users.create(call.org_id, new, call.world)
        yield from registration.invite(ring, made.value, new.registration, code, call.world)
        return made

    return await call.commit(work)


@operation("GET", "/auth/users", permission="Auth:Users:Read", user_kinds=("CustomerEmployee",))
async def list_users(call: Call, query: ListUsers) -> UserList:
    """List users, newest first."""
    kinds: frozenset[str] = frozenset() if query.kind is UNSET else frozenset(query.kind)
    page = page_request(query, f"{call.org_id}/users/{','.join(sorted(kinds))}")
    items, token = await call.read(lambda: users.list_page(call.org_id, kinds, page))
    return UserList(items=items, next_page_token=UNSET if token is None else token)


@operation("GET", "/auth/users/{userId}", permission="Auth:Users:Read", user_kinds=("CustomerEmployee",))
async def get_user(call: Call) -> User:
    """Get a user."""
    user = await call.read(lambda: users.get(call.org_id, call.params["userId"]))
    if user is None:
        raise not_found("user")
    return user


@operation(
    "PUT",
    "/auth/users/{userId}",
    permission="Auth:Users:Update",
    signed=True,
    callers=("Token", "ServiceAccount"),
    user_kinds=("CustomerEmployee",),
)
async def update_user(call: Call, body: UpdateUser) -> User:
    """Set whether a user must sign in through the identity provider."""
    return await call.commit(
        lambda: users.update(call.org_id, call.params["userId"], is_sso_required=body.is_sso_required),
        hold_caller=True,
    )


@operation(
    "PUT",
    "/auth/users/{userId}/activate",
    permission="Auth:Users:Activate",
    signed=True,
    callers=("Token", "ServiceAccount"),
    user_kinds=("CustomerEmployee",),
)
async def activate_user(call: Call) -> User:
    """Activate a user; personal access tokens work again, sessions do not."""
    return await call.commit(lambda: users.activate(call.org_id, call.params["userId"]), hold_caller=True)


@operation(
    "PUT",
    "/auth/users/{userId}/deactivate",
    permission="Auth:Users:Deactivate",
    signed=True,
    callers=("Token", "ServiceAccount"),
    user_kinds=("CustomerEmployee",),
)
async def deactivate_user(call: Call, body: Force) -> User:
    """Deactivate a user: sessions end, personal access tokens rest. The last administrator stays."""
    return await call.commit(lambda: users.deactivate(call.org_id, call.params["userId"]), hold_caller=True)


@operation(
    "DELETE",
    "/auth/users/{userId}",
    permission="Auth:Users:Delete",
    signed=True,
    callers=("Token", "ServiceAccount"),
    user_kinds=("CustomerEmployee",),
)
async def delete_user(call: Call) -> User:
    """Archive a user for good, with tokens and credentials. The last administrator stays."""
    return await call.commit(lambda: users.archive(call.org_id, call.params["userId"]), hold_caller=True)
