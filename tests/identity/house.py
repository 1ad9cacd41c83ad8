"""An organisation with its managed permissions in a database, and the people a test needs in it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from countersign.access import catalogue
from countersign.access.identify import Unauthenticated, read_caller
from countersign.api import ApiError, Caller, Effect, Epochs
from countersign.credentials import public_key
from countersign.identity import pats, store, users
from countersign.identity.types import AccessToken
from countersign.identity.user_types import User
from countersign.permissions import store as permission_store
from countersign.storage import Database, Statement, Transaction
from countersign.world import World
from tests.support.new_keys import new_public_key

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class House:
    """One organisation."""

    database: Database
    world: World
    org_id: str

    async def effect(self, make: Callable[[], Transaction[Effect[T]]]) -> T:
        """Run the effect of a mutation; its value."""
        return (await self.database.write(make)).value

    async def refusal(self, make: Callable[[], Transaction[Any]]) -> ApiError:
        """The error with which the effect is refused."""
        try:
            await self.database.write(make)
        except ApiError as error:
            return error
        raise AssertionError("it was not refused")

    async def rows(self, sql: str, *arguments: Any) -> list[Any]:
        """One statement; its rows."""

        def work() -> Transaction[list[Any]]:
            return list((yield Statement("of_a_test", sql), arguments))

        return await self.database.write(work)

    async def person(
        self, username: str = "person@example.com", kind: users.Kind = "CustomerEmployee", **members: Any
    ) -> User:
        """A new user."""
        new = new_user(username, kind, **members)
        return await self.effect(lambda: users.create(self.org_id, new, self.world))

    async def administrator(self, username: str) -> User:
        """A registered user with full rights."""
        made = await self.person(username)
        await self.rows("UPDATE users SET is_registered = 1 WHERE user_id = ?", made.user_id)
        await self.assign(made.user_id, catalogue.FULL_ADMIN)
        return made

    async def permission(self, name: str, operations: Iterable[str]) -> str:
        """A permission that grants these operations; its id."""
        permission_id, now = self.world.new_id("pm"), self.world.now()
        listed = json.dumps(list(operations))
        row = (self.org_id, permission_id, name, listed, int(name == catalogue.FULL_ADMIN), now, now)

        def work() -> Transaction[None]:
            assert (yield permission_store.INSERT_PERMISSION, row)

        await self.database.write(work)
        return permission_id

    async def assign(self, identity_id: str, name: str) -> None:
        """Give the identity the permission of this name."""
        permission = await self.rows(
            "SELECT permission_id FROM permissions WHERE org_id = ? AND name = ?", self.org_id, name
        )
        now = self.world.now()
        row = (self.org_id, self.world.new_id("as"), permission[0][0], identity_id, now, now)

        def work() -> Transaction[None]:
            assert (yield permission_store.INSERT_ASSIGNMENT, row)

        await self.database.write(work)

    async def token(
        self, owner: User, name: str = "program", *, holding: Iterable[str] | None = None, **members: Any
    ) -> AccessToken:
        """A personal access token of ``owner``, created by its owner as one who holds ``holding`` (everything)."""
        new = new_token(name, **members)
        caller = caller_of(owner, None if holding is None else frozenset(holding))
        return await self.effect(lambda: pats.create(caller, new, mint, self.world))

    async def token_state(self, token_id: str) -> tuple[str, int]:
        """State and epoch of a token."""
        state, epoch = (await self.rows("SELECT state, epoch FROM tokens WHERE token_id = ?", token_id))[0]
        return state, epoch

    async def session(self, owner: User) -> str:
        """A session of ``owner``; its token id."""
        token_id, now = self.world.new_id("uj"), self.world.now()
        await self.rows(
            "INSERT INTO tokens (org_id, token_id, kind, user_id, name, hash, state, epoch, created_at, expires_at) "
            "VALUES (?, ?, 'Token', ?, 'session', ?, 'Active', 0, ?, ?)",
            self.org_id,
            token_id,
            owner.user_id,
            f"hash of {token_id}",
            now,
            now + 60_000,
        )
        return token_id

    async def identify(self, token_id: str) -> Caller | Unauthenticated:
        """Who holds the token, as station 3 reads it."""
        digest = (await self.rows("SELECT hash FROM tokens WHERE token_id = ?", token_id))[0][0]
        return await self.database.read(lambda: read_caller(self.org_id, token_id, digest, self.world.now()))


async def organisation(database: Database) -> House:
    """A new organisation."""
    # Every reading of the clock is a millisecond later, so that ids sort as they were made.
    world = World(clock=itertools.count(1_800_000_000_000).__next__)
    house = House(database, world, world.new_id("or"))

    def work() -> Transaction[None]:
        yield store.INSERT_ORGANISATION, (house.org_id, "House", world.now())

    await database.write(work)
    await house.permission(catalogue.FULL_ADMIN, catalogue.OPERATIONS)
    await house.permission(catalogue.DEFAULT_END_USER, catalogue.DEFAULT_END_USER_OPERATIONS)
    return house


def new_user(username: str, kind: users.Kind = "CustomerEmployee", **members: Any) -> users.NewUser:
    """What to create."""
    values: dict[str, Any] = {
        "registration": users.registration_of(kind, None),
        "is_sso_required": False,
        "external_id": None,
        "payload_hash": "of the body",
        **members,
    }
    return users.NewUser(username=username, kind=kind, **values)


def new_token(name: str, **members: Any) -> pats.NewToken:
    """What to create, with a fresh key."""
    loaded = public_key.load(new_public_key())
    assert isinstance(loaded, public_key.PublicKey)
    values: dict[str, Any] = {
        "public_key": loaded,
        "permission_id": None,
        "external_id": None,
        "lifetime": 60,
        "payload_hash": "of the body",
        **members,
    }
    return pats.NewToken(name=name, **values)


def mint(token_id: str, lifetime: int) -> tuple[str, str]:
    """A token that no one can verify, and its hash."""
    return f"secret of {token_id}", f"hash of {token_id}"


def caller_of(user: User, operations: frozenset[str] | None) -> Caller:
    """The user with a session, as station 3 would give it."""
    return Caller(
        org_id=user.org_id,
        user_id=user.user_id,
        username=user.username,
        user_kind=user.kind,
        is_service_account=False,
        token_id="uj-of-a-test",
        token_kind="Token",
        app_id=None,
        epochs=Epochs(user=0, token=0, organisation=0),
        permission_revision=0,
        operations=operations,
        expires_at=1 << 62,
    )
