"""The server keys in use by one process, and the tokens made and read with them."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from countersign.access import jwt, server_keys, store
from countersign.access.server_keys import KeySet, PayloadSeal
from countersign.storage import Database, Transaction
from countersign.world import World

_UNKNOWN_KID_MS = 1_000


class KeyRing:
    """The live key set, read again when it may have changed.

    Every process of a server has one. It looks for new keys when it is told to, and at once for a token under
    a kid that it does not know (at most once a second).
    """

    def __init__(
        self, database: Database, server_secret: bytes, issuer: str, world: World, *, access_token_days: int = 730
    ) -> None:
        self._database = database
        self._secret = server_secret
        self._world = world
        self.issuer = issuer
        #: Default life of an access token, in days.
        self.access_token_days = access_token_days
        self.token_keys: dict[str, bytes] = {}
        #: Rises whenever :attr:`token_keys` change, so that whoever remembers a verified token knows.
        self.token_generation = 0
        self._read_at = 0
        # One reading at a time: of two, the earlier one could come in last, and bring a retired key back.
        self._reading = asyncio.Lock()

    async def load(self) -> None:
        """Read the keys. Raises ``ServerSecretWrong``."""
        async with self._reading:
            await self._read()

    async def _read(self) -> None:
        self._use(await self._database.read(lambda: server_keys.load(self._secret)))

    def _use(self, keys: KeySet) -> None:
        self.keys = keys
        self._read_at = self._world.now()
        token, challenge, action = keys.active("token"), keys.active("challenge"), keys.active("action")
        self.token_signer = jwt.Ed25519Signer(token.kid, token.secret)
        self.challenge_signer = jwt.MacKey(challenge.kid, challenge.secret)
        self.action_signer = jwt.MacKey(action.kid, action.secret)
        token_keys = {key.kid: key.public_key for key in keys.of("token")}
        if token_keys != self.token_keys:
            self.token_keys = token_keys
            self.token_generation += 1
        self.challenge_keys = {key.kid: key.secret for key in keys.of("challenge")}
        self.action_keys = {key.kid: key.secret for key in keys.of("action")}
        self.payload_seal = PayloadSeal(keys.of("payload"), keys.active("payload"), self._world)

    async def look_again(self) -> None:
        """Read the keys again because a kid is unknown, unless that was done a moment ago; once for all who ask."""
        if not self._is_old():
            return
        async with self._reading:
            if self._is_old():
                await self._read()

    def _is_old(self) -> bool:
        age = self._world.now() - self._read_at
        return age >= _UNKNOWN_KID_MS or age < 0

    @property
    def jwks(self) -> dict[str, Any]:
        """The public keys that verify session and access tokens."""
        return jwt.jwks(self.token_keys)


def claims(
    ring: KeyRing,
    *,
    org_id: str,
    user_id: str,
    username: str,
    token_id: str,
    kind: str,
    issued_at: int,
    expires_at: int,
) -> jwt.Claims:
    """Claims of a session or access token; times in seconds."""
    return jwt.Claims(
        iss=ring.issuer,
        aud=jwt.AUDIENCE,
        sub=org_id,
        jti=token_id,
        username=username,
        metadata={"userId": user_id, "orgId": org_id, "tokenKind": kind},
        iat=issued_at,
        exp=expires_at,
    )


def mint(
    ring: KeyRing, *, org_id: str, user_id: str, username: str, token_id: str, kind: str, lifetime: int, now_ms: int
) -> tuple[str, str]:
    """A token of ``lifetime`` seconds and the hash that is stored of it."""
    issued = now_ms // 1000
    text = jwt.encode(
        claims(
            ring,
            org_id=org_id,
            user_id=user_id,
            username=username,
            token_id=token_id,
            kind=kind,
            issued_at=issued,
            expires_at=issued + lifetime,
        ),
        "JWT",
        ring.token_signer,
    )
    return text, token_hash(text)


def token_hash(token: str) -> str:
    """Lower-case hex SHA-256 of the whole token."""
    return hashlib.sha256(token.encode()).hexdigest()


def insert(
    org_id: str,
    token_id: str,
    user_id: str,
    name: str,
    digest: str,
    credential_uuid: str | None,
    now_ms: int,
    expires_ms: int,
    *,
    kind: str,
) -> Transaction[None]:
    """Store what is kept of a token."""
    arguments = (org_id, token_id, kind, user_id, None, name, digest, credential_uuid, now_ms, expires_ms)
    yield store.INSERT_TOKEN, arguments


def insert_service_account_token(
    org_id: str, token_id: str, user_id: str, name: str, digest: str, credential_uuid: str, now_ms: int, expires_ms: int
) -> Transaction[None]:
    """The same for a service account."""
    yield from insert(
        org_id, token_id, user_id, name, digest, credential_uuid, now_ms, expires_ms, kind="ServiceAccount"
    )
