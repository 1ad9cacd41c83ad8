"""Organisations, permissions and identities put straight into a server's database.

For what the API does not offer yet, and for what it must never offer: a second organisation, a token that
is about to expire, an identity with exactly one right.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from countersign.access import catalogue, keyring
from countersign.access.keyring import KeyRing
from countersign.access.server_keys import read_server_secret
from countersign.credentials import public_key
from countersign.encoding import base64url
from countersign.identity import store
from countersign.identity.bootstrap import read_installation
from countersign.identity.usernames import username_key
from countersign.keystores import Authoriser, SignerClient, outgoing
from countersign.keystores.store import list_roots
from countersign.permissions import store as permission_store
from countersign.storage import Database, Statement, Transaction
from countersign.storage.postgresql import PostgresqlDatabase
from countersign.storage.sqlite import SqliteDatabase
from countersign.world import World
from tests.clients.connection import Connection
from tests.support import aio

T = TypeVar("T")
YEAR = 365 * 86_400


@dataclass(frozen=True, slots=True)
class Identity:
    """Someone who can call: the way in, and the rows behind it."""

    connection: Connection
    user_id: str
    token_id: str
    credential_uuid: str

    @property
    def org_id(self) -> str:
        return self.connection["orgId"]


@dataclass
class Tenants:
    """Writes into the database at ``url`` of a server with the given server secret, beside that server."""

    url: str
    server_secret: Path
    base_url: str
    directory: Path
    world: World = field(default_factory=World)

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._number = itertools.count(1)

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Database]:
        """A connection of its own, without a look at the schema: the server beside has had one."""
        database: Database
        if self.url.startswith("sqlite://"):
            database = SqliteDatabase.open(self.url.removeprefix("sqlite://"))
        else:
            database = await PostgresqlDatabase.open(self.url)
        try:
            yield database
        finally:
            await database.close()

    async def _ring(self, database: Database, installation: Mapping[str, str]) -> KeyRing:
        secret = read_server_secret(self.server_secret)
        ring = KeyRing(database, secret, installation["installation_id"], self.world)
        await ring.load()
        return ring

    def run(self, make: Callable[[], Transaction[T]]) -> T:
        """One transaction."""

        async def work() -> T:
            async with self._opened() as database:
                return await database.write(make)

        return aio.run(work())

    def run_with_keys(self, make: Callable[[KeyRing], Transaction[T]]) -> T:
        """One transaction that needs the server's own keys."""

        async def work() -> T:
            async with self._opened() as database:
                ring = await self._ring(database, await database.read(read_installation))
                return await database.write(lambda: make(ring))

        return aio.run(work())

    def introduce(self, *identities: Identity) -> None:
        """Have the sandbox's signer take their credentials into its roster, so that their consent moves keys."""

        async def work() -> None:
            async with self._opened() as database:
                installation = await database.read(read_installation)
                ring = await self._ring(database, installation)
                store_id = installation["store_id"]
                signer = SignerClient(
                    str(self.server_secret.with_name("signer") / "signer.sock"),
                    Authoriser(ring.keys.active("authoriser").secret),
                    lambda: database.read(lambda: list_roots(store_id)),
                    store_id=store_id,
                    world=self.world,
                )
                await signer.start()
                for each in identities:
                    enrolled = partial(outgoing.enrol, each.org_id, each.credential_uuid, None, self.world)
                    await database.write(enrolled)
                keeper = outgoing.RosterKeeper(database, {store_id: signer}, self.world)
                await keeper.deliver()
                await keeper.settle()
                await signer.close()

        aio.run(work())

    def execute(self, sql: str, *arguments: Any) -> list[Any]:
        """One statement; its rows."""

        def work() -> Transaction[list[Any]]:
            return list((yield Statement("of_a_test", sql), arguments))

        return self.run(work)

    @property
    def ring(self) -> KeyRing:
        """The server's own keys, as someone sees them who holds the server secret."""

        async def work() -> KeyRing:
            async with self._opened() as database:
                return await self._ring(database, await database.read(read_installation))

        return aio.run(work())

    def organisation(self, name: str = "Other") -> Identity:
        """A further organisation; its administrator."""
        org_id = self.world.new_id("or")

        def work() -> Transaction[None]:
            now = self.world.now()
            yield store.INSERT_ORGANISATION, (org_id, name, now)
            everything = json.dumps(catalogue.OPERATIONS)
            permission = (org_id, self.world.new_id("pm"), catalogue.FULL_ADMIN, everything, 1, now, now)
            assert (yield permission_store.INSERT_PERMISSION, permission)

        self.run(work)
        return self.session(org_id, everything=True)

    def permission(self, org_id: str, operations: Iterable[str], name: str | None = None) -> str:
        """A permission that grants these operations; its id."""
        permission_id = self.world.new_id("pm")
        named = name or f"permission {next(self._number)}"
        listed = json.dumps(list(operations))

        def work() -> Transaction[None]:
            now = self.world.now()
            assert (yield permission_store.INSERT_PERMISSION, (org_id, permission_id, named, listed, 0, now, now))

        self.run(work)
        return permission_id

    def grant(self, permission_id: str, operations: Iterable[str]) -> None:
        """Let the permission grant these operations from now on."""
        listed = json.dumps(list(operations))
        self.execute("UPDATE permissions SET operations = ? WHERE permission_id = ?", listed, permission_id)
        self.execute("UPDATE organisations SET permission_revision = permission_revision + 1")

    def session(self, org_id: str, *permissions: str, everything: bool = False, lifetime: int = YEAR) -> Identity:
        """A person with a session and these permissions."""
        return self._identity(org_id, "Token", permissions, everything, lifetime)

    def service_account(
        self, org_id: str, *permissions: str, everything: bool = False, lifetime: int = YEAR
    ) -> Identity:
        """A service account with these permissions."""
        return self._identity(org_id, "ServiceAccount", permissions, everything, lifetime)

    def end_user(self, org_id: str, *permissions: str, everything: bool = False) -> Identity:
        """An end user with a session and these permissions."""
        made = self._identity(org_id, "Token", permissions, everything, YEAR)
        self.execute("UPDATE users SET kind = 'EndUser' WHERE user_id = ?", made.user_id)
        return made

    def another_session(self, of: Identity) -> Identity:
        """The same person, signed in a second time."""
        return self._token_of(of, "Token", "uj")

    def personal_access_token(self, of: Identity, *permissions: str) -> Identity:
        """A personal access token of a person, with a key: all that the owner may, unless permissions are given."""
        return self._token_of(of, "Pat", "to", permissions)

    def credential(self, of: Identity, pem: str, credential_id: str | None = None) -> str:
        """Enrol one more key of the same person; its credential id."""
        loaded = public_key.load(pem)
        assert isinstance(loaded, public_key.PublicKey), loaded
        identifier = credential_id or base64url.encode(self.world.new_id("ci").encode())
        _, insertion = self._insert_credential(of.org_id, of.user_id, loaded, identifier, "")
        self.run(lambda: insertion)
        return identifier

    def _identity(
        self, org_id: str, kind: str, permissions: Iterable[str], everything: bool, lifetime: int
    ) -> Identity:
        user_id = self.world.new_id("us")
        name = f"{kind.lower()}-{user_id}"
        token_id = self.world.new_id("to" if kind == "ServiceAccount" else "uj")
        path, key = self._new_key()
        credential_id = base64url.encode(self.world.new_id("ci").encode())
        made: dict[str, str] = {}

        def work(ring: KeyRing) -> Transaction[None]:
            now = self.world.now()
            is_service_account = int(kind == "ServiceAccount")
            yield store.INSERT_USER, (org_id, user_id, is_service_account, name, username_key(name), None, now)
            uuid, insertion = self._insert_credential(org_id, user_id, key, credential_id, "")
            yield from insertion
            text = yield from self._insert_token(ring, org_id, user_id, name, token_id, kind, uuid, lifetime)
            yield from self._assign(org_id, user_id, permissions, everything)
            made.update(token=text, uuid=uuid)

        self.run_with_keys(work)
        connection = self._connection(org_id, made["token"], credential_id, path)
        return Identity(connection, user_id, token_id, made["uuid"])

    def _token_of(self, of: Identity, kind: str, prefix: str, permissions: tuple[str, ...] = ()) -> Identity:
        token_id = self.world.new_id(prefix)
        made: dict[str, str] = {"uuid": of.credential_uuid}
        path, credential_id = Path(of.connection["privateKeyPath"]), of.connection["credentialId"]
        if kind == "Pat":
            path, key = self._new_key()
            credential_id = base64url.encode(self.world.new_id("ci").encode())

        def work(ring: KeyRing) -> Transaction[None]:
            if kind == "Pat":
                made["uuid"], insertion = self._insert_credential(of.org_id, of.user_id, key, credential_id, token_id)
                yield from insertion
            made["token"] = yield from self._insert_token(
                ring, of.org_id, of.user_id, "of a test", token_id, kind, made["uuid"], YEAR
            )
            if kind == "Pat":
                yield from self._assign(of.org_id, token_id, permissions, everything=not permissions)

        self.run_with_keys(work)
        connection = self._connection(of.org_id, made["token"], credential_id, path)
        return Identity(connection, of.user_id, token_id, made["uuid"])

    def _assign(self, org_id: str, identity_id: str, permissions: Iterable[str], everything: bool) -> Transaction[None]:
        granted, now = list(permissions), self.world.now()
        if everything:
            granted.append((yield permission_store.FIND_PERMISSION, (org_id, catalogue.FULL_ADMIN))[0][0])
        for permission_id in granted:
            assignment = (org_id, self.world.new_id("as"), permission_id, identity_id, now, now)
            assert (yield permission_store.INSERT_ASSIGNMENT, assignment)
        yield permission_store.RAISE_REVISION, (org_id,)

    def _connection(self, org_id: str, token: str, credential_id: str, path: Path) -> Connection:
        return {
            "baseUrl": self.base_url,
            "orgId": org_id,
            "authToken": token,
            "credentialId": credential_id,
            "privateKeyPath": str(path),
        }

    def _new_key(self) -> tuple[Path, public_key.PublicKey]:
        private = Ed25519PrivateKey.generate()
        path = self.directory / f"key-{next(self._number)}.pem"
        path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        spki = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        loaded = public_key.load(spki.decode())
        assert isinstance(loaded, public_key.PublicKey)
        return path, loaded

    def _insert_credential(
        self, org_id: str, user_id: str, key: public_key.PublicKey, credential_id: str, token_id: str
    ) -> tuple[str, Transaction[None]]:
        uuid = self.world.new_id("cr")

        def insert() -> Transaction[None]:
            now = self.world.now()
            names = (org_id, uuid, user_id, token_id, credential_id, credential_id)
            assert (yield store.INSERT_CREDENTIAL, (*names, "of a test", key.pem, key.fingerprint, now))

        return uuid, insert()

    def _insert_token(
        self,
        ring: KeyRing,
        org_id: str,
        user_id: str,
        username: str,
        token_id: str,
        kind: str,
        credential_uuid: str,
        lifetime: int,
    ) -> Transaction[str]:
        now = self.world.now()
        text, digest = keyring.mint(
            ring,
            org_id=org_id,
            user_id=user_id,
            username=username,
            token_id=token_id,
            kind=kind,
            lifetime=lifetime,
            now_ms=now,
        )
        yield from keyring.insert(
            org_id, token_id, user_id, token_id, digest, credential_uuid, now, now + lifetime * 1000, kind=kind
        )
        return text


def database_url(directory: Path, database: str | None) -> str:
    """The database of a sandbox in ``directory``."""
    return database or f"sqlite://{directory / 'countersign.db'}"


def beside(directory: Path, database: str | None, base_url: str) -> Tenants:
    """What writes beside the sandbox in ``directory``."""
    keys = directory.with_name(directory.name + "-tenants")
    return Tenants(database_url(directory, database), directory / "server.secret", base_url, keys)
