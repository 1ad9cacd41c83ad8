"""Station 3, the application: what ``X-DFNS-APPID`` names, what it may do and what it demands.

Like identities, applications are remembered for at most a second for reads, and read again inside the transaction of a
mutation.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from dataclasses import dataclass

from countersign.access import jwt, store
from countersign.access.identify import FRESH_MS, union
from countersign.access.keyring import KeyRing, token_hash
from countersign.credentials import public_key
from countersign.credentials.public_key import PublicKey
from countersign.storage import Database, Transaction
from countersign.world import World

_MOST = 10_000
_MOST_SECRETS = 2_000


@dataclass(frozen=True, slots=True)
class Demands:
    """What must come with a request, of the server's settings or of one application."""

    application_id: bool = False
    nonce: bool = False
    api_signature: bool = False


@dataclass(frozen=True, slots=True)
class Secret:
    """A live token of an application: its id, the hash of the whole token, its end in ms."""

    token_id: str
    digest: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class Application:
    """An application as the database has it. ``operations`` is ``None`` for every operation.

    ``key``: the public key of a server-signed application, else ``None``.
    """

    org_id: str
    app_id: str
    is_active: bool
    epoch: int
    permission_revision: int
    operations: frozenset[str] | None
    demands: Demands
    key: PublicKey | None
    secrets: tuple[Secret, ...]

    def may(self, operation: str) -> bool:
        """Whether requests through the application may perform ``operation``."""
        return self.operations is None or operation in self.operations


@dataclass(slots=True)
class _Known:
    application: Application | None
    read_at: int


class Applications:
    """Recognises applications by their id, and the secrets of server-signed ones; bounded memory."""

    def __init__(self, database: Database, ring: KeyRing, world: World) -> None:
        self._database = database
        self._ring = ring
        self._world = world
        self._known: OrderedDict[str, _Known] = OrderedDict()
        # Hash of a verified secret -> (key generation, claims).
        self._secrets: OrderedDict[str, tuple[int, jwt.Claims]] = OrderedDict()

    def forget(self, org_id: str) -> None:
        """Read the applications of this organisation anew when they are named next: somebody's rights were changed."""
        for app_id in [
            key for key, known in self._known.items() if known.application and known.application.org_id == org_id
        ]:
            del self._known[app_id]

    async def find(self, app_id: str, *, fresh: bool = False) -> Application | None:
        """The application with this id, of whichever organisation; ``fresh`` reads whatever is remembered."""
        now = self._world.now()
        known = self._known.get(app_id)
        if known is not None and not fresh and 0 <= now - known.read_at <= FRESH_MS:
            return known.application
        found = await self._database.read(lambda: read_application(app_id))
        self._known[app_id] = _Known(found, now)
        self._known.move_to_end(app_id)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
        return found

    async def secret_refusal(self, text: str, application: Application) -> str | None:
        """Why the text is not the live token of this application, for the log; ``None`` if it is."""
        now = self._world.now()
        digest = token_hash(text)
        claims = await self._claims(text, digest, now)
        if isinstance(claims, str):
            return claims
        if claims.sub != application.org_id or claims.metadata.get("appId") != application.app_id:
            return "the secret of another application"
        for secret in application.secrets:
            if secret.token_id == claims.jti and hmac.compare_digest(secret.digest, digest):
                return "expired" if secret.expires_at <= now else None
        return "a secret that was replaced or revoked"

    async def _claims(self, text: str, digest: str, now: int) -> jwt.Claims | str:
        known = self._secrets.get(digest)
        if known is not None and known[0] == self._ring.token_generation:
            return known[1] if known[1].exp * 1000 > now else "expired"
        place = jwt.Place("JWT", "EdDSA", self._ring.issuer, frozenset({"Application"}))
        verified = jwt.verify(text, place, self._ring.token_keys, now // 1000)
        if isinstance(verified, jwt.Refused) and verified.reason == "unknown kid":
            await self._ring.look_again()
            verified = jwt.verify(text, place, self._ring.token_keys, now // 1000)
        if isinstance(verified, jwt.Refused):
            return verified.reason
        self._secrets[digest] = (self._ring.token_generation, verified.claims)
        if len(self._secrets) > _MOST_SECRETS:
            self._secrets.popitem(last=False)
        return verified.claims


def read_application(app_id: str) -> Transaction[Application | None]:
    """The application as the database stands; ``None`` when unknown or archived."""
    rows = yield store.READ_APPLICATION, (app_id,)
    if not rows:
        return None
    org_id, kind, state, epoch, pem, needs_id, needs_nonce, needs_signature, org_active, revision = rows[0]
    granted = yield store.LIST_GRANTED, (org_id, app_id, app_id)
    signs = kind == "ServerSideApplication"
    secrets: tuple[Secret, ...] = ()
    if signs:
        secrets = tuple(Secret(*row) for row in (yield store.LIST_APPLICATION_SECRETS, (org_id, app_id)))
    loaded = public_key.load(pem) if pem else None
    return Application(
        org_id=org_id,
        app_id=app_id,
        is_active=state == "Active" and bool(org_active),
        epoch=epoch,
        permission_revision=revision,
        operations=union(list(granted)),
        # A server-signed application is one whose requests are signed, and only a nonce makes a signature fresh.
        demands=Demands(bool(needs_id), bool(needs_nonce), bool(needs_signature) or signs),
        key=loaded if isinstance(loaded, PublicKey) else None,
        secrets=secrets,
    )


def has_changed(application: Application) -> Transaction[bool]:
    """Whether state or rights of the application changed since it was read; inside the transaction of a mutation."""
    rows = yield store.RECHECK_APPLICATION, (application.org_id, application.app_id)
    return not rows or tuple(rows[0]) != ("Active", application.epoch, application.permission_revision)


def mint_secret(
    ring: KeyRing, *, org_id: str, app_id: str, token_id: str, lifetime: int, now_ms: int
) -> tuple[str, str]:
    """A token of an application, ``lifetime`` in seconds, and the hash that is stored of it. It names no user."""
    issued = now_ms // 1000
    claims = jwt.Claims(
        iss=ring.issuer,
        aud=jwt.AUDIENCE,
        sub=org_id,
        jti=token_id,
        metadata={"userId": "", "orgId": org_id, "appId": app_id, "tokenKind": "Application"},
        iat=issued,
        exp=issued + lifetime,
    )
    text = jwt.encode(claims, "JWT", ring.token_signer)
    return text, token_hash(text)


def insert_secret(
    org_id: str, app_id: str, token_id: str, name: str, digest: str, now_ms: int, expires_ms: int
) -> Transaction[None]:
    """Store what is kept of it."""
    arguments = (org_id, token_id, "Application", "", app_id, name, digest, None, now_ms, expires_ms)
    yield store.INSERT_TOKEN, arguments
