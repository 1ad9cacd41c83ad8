"""Station 3: headers to a caller.

What a token says is checked once and remembered; whether it still holds is read again after at most a
second for reads, and inside the transaction for mutations.
"""

from __future__ import annotations

import hmac
import json
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from countersign.access import catalogue, jwt, store
from countersign.access.keyring import KeyRing, token_hash
from countersign.api import Caller, Epochs
from countersign.storage import Database, Row, Transaction
from countersign.world import World

#: How old (ms) a remembered identity may be for a read.
FRESH_MS = 900
_MOST_TOKENS = 10_000


@dataclass(frozen=True, slots=True)
class Unauthenticated:
    """Why nobody was recognised; for the log, the caller only learns that it is not authorised."""

    reason: str


@dataclass(slots=True)
class _Known:
    claims: jwt.Claims
    digest: str
    caller: Caller | Unauthenticated
    read_at: int
    generation: int
    #: How often the organisation had been forgotten when this was read.
    forgotten: int


class Identifier:
    """Recognises bearer tokens; bounded memory of those seen."""

    def __init__(self, database: Database, ring: KeyRing, world: World) -> None:
        self._database = database
        self._ring = ring
        self._world = world
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._forgotten: dict[str, int] = {}

    def forget(self, org_id: str) -> None:
        """Read everybody of this organisation anew when they come next: somebody's rights were changed here."""
        self._forgotten[org_id] = self._forgotten.get(org_id, 0) + 1

    def remembered(self, token: str) -> str | None:
        """With whose requests one with this token counts, by what was last known of it; no work is done.

        Its organisation's, or those of the organisation's end users: anybody may become one, and must not lock out who
        works there. One that was revoked counts for nobody: whoever keeps it could do the same.
        """
        known = self._known.get(token)
        if known is None or not isinstance(known.caller, Caller):
            return None
        org_id = known.claims.sub
        return f"{org_id} EndUser" if known.caller.user_kind == "EndUser" else org_id

    def at_hand(self, token: str | None) -> Caller | None:
        """What :meth:`identify` would say without reading anything: the caller, if it was read a moment ago."""
        known = self._known.get(token) if token is not None else None
        if known is None or known.generation != self._ring.token_generation or not isinstance(known.caller, Caller):
            return None
        now = self._world.now()
        return known.caller if now < known.claims.exp * 1000 and self._is_fresh(known, now) else None

    async def identify(self, token: str, *, fresh: bool = False) -> Caller | Unauthenticated:
        """The caller behind a token; ``fresh`` reads the database whatever is remembered."""
        now = self._world.now()
        known = self._known.get(token)
        # A token is looked at anew when the keys changed: the one that signed it may have been retired.
        if known is None or known.generation != self._ring.token_generation:
            return await self._first_seen(token, now)
        if known.claims.exp * 1000 <= now:
            self._known.pop(token, None)
            return Unauthenticated("expired")
        if fresh or not self._is_fresh(known, now):
            forgotten = self._forgotten.get(known.claims.sub, 0)
            known.caller = await self._read(known.claims, known.digest, now)
            known.read_at, known.forgotten = now, forgotten
        return known.caller

    def _is_fresh(self, known: _Known, now: int) -> bool:
        return 0 <= now - known.read_at <= FRESH_MS and known.forgotten == self._forgotten.get(known.claims.sub, 0)

    async def _first_seen(self, token: str, now: int) -> Caller | Unauthenticated:
        place = jwt.Place("JWT", "EdDSA", self._ring.issuer, frozenset({"Token", "ServiceAccount", "Pat"}))
        verified = jwt.verify(token, place, self._ring.token_keys, now // 1000)
        if isinstance(verified, jwt.Refused) and verified.reason == "unknown kid":
            await self._ring.look_again()
            verified = jwt.verify(token, place, self._ring.token_keys, now // 1000)
        if isinstance(verified, jwt.Refused):
            self._known.pop(token, None)
            return Unauthenticated(verified.reason)
        generation, forgotten = self._ring.token_generation, self._forgotten.get(verified.claims.sub, 0)
        digest = token_hash(token)
        caller = await self._read(verified.claims, digest, now)
        self._known[token] = _Known(verified.claims, digest, caller, now, generation, forgotten)
        if len(self._known) > _MOST_TOKENS:
            self._known.popitem(last=False)
        return caller

    async def _read(self, claims: jwt.Claims, digest: str, now: int) -> Caller | Unauthenticated:
        return await self._database.read(lambda: read_caller(claims.sub, claims.jti, digest, now))


def read_caller(org_id: str, token_id: str, digest: str, now: int) -> Transaction[Caller | Unauthenticated]:
    """Who holds the token with this hash, as the database stands."""
    rows = yield store.READ_IDENTITY, (org_id, token_id)
    if not rows:
        return Unauthenticated("no such token")
    row = rows[0]
    refusal = _refusal(row, digest, now)
    if refusal is not None:
        return Unauthenticated(refusal)
    kind, _, _, token_epoch, expires_at, app_id, user_id, username, user_kind, is_service, _, user_epoch = row[:12]
    granted = yield store.LIST_GRANTED, (org_id, user_id, token_id)
    return Caller(
        org_id=org_id,
        user_id=user_id,
        username=username,
        user_kind=user_kind,
        is_service_account=bool(is_service),
        token_id=token_id,
        token_kind=kind,
        app_id=app_id,
        epochs=Epochs(user=user_epoch, token=token_epoch, organisation=row[13]),
        permission_revision=row[14],
        operations=_operations(granted, user_id, token_id, kind),
        expires_at=expires_at,
        delegated_by=row[15],
    )


def _refusal(row: Row, digest: str, now: int) -> str | None:
    _, stored, token_state, _, expires_at, _, _, _, _, _, user_state, _, organisation_active, _, _, _ = row
    if not hmac.compare_digest(stored, digest):
        return "not the token that was issued under this id"
    if token_state != "Active":
        return "token revoked"
    if expires_at <= now:
        return "expired"
    if user_state != "Active":
        return "user is not active"
    return None if organisation_active else "organisation is not active"


def _operations(granted: Iterable[Row], user_id: str, token_id: str, kind: str) -> frozenset[str] | None:
    """What the assignments grant; a token with assignments of its own is held to those as well.

    A personal access token always is: without any, or when its permission was archived, it grants nothing.
    """
    of_user = union([row for row in granted if row[0] == user_id])
    own = [row for row in granted if row[0] == token_id]
    if not own and kind != "Pat":
        return of_user
    of_token = union(own)
    if of_user is None or of_token is None:
        return of_token if of_user is None else of_user
    return of_user & of_token


def union(rows: list[Row]) -> frozenset[str] | None:
    """What assignments (rows of ``store.LIST_GRANTED``) grant together; ``None`` for every operation."""
    if any(row[1] == catalogue.FULL_ADMIN and row[2] for row in rows):
        return None
    return catalogue.resolve(name for row in rows for name in json.loads(row[3]))
