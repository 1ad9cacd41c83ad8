"""Break-glass: a new credential for a person who lost every other way in.

It takes the secret that opens the key store, proved on the server's own host, and time: a request waits, the server
warns of it at each start and every day, and anyone with the host can cancel it. What it ends in is one transaction:
every credential, session and personal access token of the person is archived, and the given key is the only credential.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from countersign.access import keyring
from countersign.access.keyring import KeyRing
from countersign.audit.entry import Enrolled
from countersign.credentials.public_key import PublicKey
from countersign.encoding.dates import to_iso
from countersign.identity import break_glass_store, renewal
from countersign.identity.administration import find_person
from countersign.identity.key_credentials import insert_key
from countersign.identity.local_commands import FOR_EVER, Impossible, ready_at, tell, why_not
from countersign.keystores import outgoing
from countersign.storage import Row, Transaction
from countersign.world import World

_EVENT = "BreakGlass"


@dataclass(frozen=True, slots=True)
class Request:
    """A request for a new credential. Times in milliseconds; it can be completed from ``ready_at`` on."""

    id: str
    org_id: str
    user_id: str
    username: str
    public_key: str
    fingerprint: str
    state: Literal["Waiting", "Cancelled", "Completed"]
    requested_at: int
    ready_at: int
    ended_at: int | None

    def document(self) -> dict[str, Any]:
        """As JSON is printed of it."""
        ended = {} if self.ended_at is None else {"dateEnded": to_iso(self.ended_at)}
        return {
            "id": self.id,
            "orgId": self.org_id,
            "userId": self.user_id,
            "username": self.username,
            "publicKey": self.fingerprint,
            "state": self.state,
            "dateRequested": to_iso(self.requested_at),
            "dateReady": to_iso(self.ready_at),
            **ended,
        }


@dataclass(frozen=True, slots=True)
class Completed:
    """The way in: a session and the only credential. ``token`` is stored nowhere."""

    request: Request
    credential_uuid: str
    credential_id: str
    token: str


def request(person: str, key: PublicKey, world: World) -> Transaction[Request]:
    """Begin to wait for a new credential with this key. ``person``: id or username of a registered, active employee.

    The caller has proved the key-encryption secret. Raises ``Impossible``.
    """
    identity = yield from find_person(person)
    org_id, user_id, username = identity.org_id, identity.id, identity.name
    if identity.facts["userKind"] != "CustomerEmployee":
        raise Impossible(f"{username} is an end user: those recover by their recovery key or a service account")
    if identity.state != "Active":
        raise Impossible(f"{username} is {identity.state.lower()}: activate the user first")
    if not identity.facts["isRegistered"]:
        raise Impossible(f"{username} never registered: that takes 'countersign admin reissue-code'")
    if (yield break_glass_store.FIND_KEY, (org_id, key.fingerprint)):
        raise Impossible("this public key is or was a credential already: make a new one")
    request_id, now = world.new_id("bg"), world.now()
    row = (org_id, request_id, user_id, key.pem, key.fingerprint, now, (yield from ready_at(now)))
    if not (yield break_glass_store.INSERT_REQUEST, row):
        waiting = yield break_glass_store.FIND_WAITING, (org_id, user_id)
        named = f" ({waiting[0][0]})" if waiting else ""
        raise Impossible(f"a request for {username} waits already{named}: cancel it to make another")
    made = yield from _find(request_id)
    yield from _tell(made, "requested", world, dateReady=to_iso(made.ready_at))
    return made


def list_requests(ended_since: int = 0) -> Transaction[list[Request]]:
    """Those that wait, and those that ended at that time (ms) or later; newest first."""
    return [_request(row) for row in (yield break_glass_store.LIST_REQUESTS, (ended_since,))]


def cancel(request_id: str, world: World) -> Transaction[Request]:
    """End a request that waits, without effect. Raises ``Impossible``."""
    found = yield from _find(request_id)
    if not (yield break_glass_store.END_REQUEST, ("Cancelled", world.now(), found.org_id, request_id, FOR_EVER)):
        raise Impossible((yield from _why_not(request_id, world)))
    yield from _tell(found, "cancelled", world)
    return (yield from _find(request_id))


def complete(request_id: str, ring: KeyRing, lifetime: int, world: World) -> Transaction[Completed]:
    """Do it, once the wait is over: everything in one transaction. ``lifetime`` of the session in seconds.

    The caller has proved the key-encryption secret. Raises ``Impossible``.
    """
    found = yield from _find(request_id)
    org_id, user_id, now = found.org_id, found.user_id, world.now()
    if not (yield break_glass_store.END_REQUEST, ("Completed", now, org_id, request_id, now)):
        raise Impossible((yield from _why_not(request_id, world)))
    ended = yield from renewal.end_everything(org_id, user_id, 0, lift_hold=True)
    if ended is None:
        raise Impossible(f"{found.username} is not active any more: activate the user first, or cancel the request")
    uuid, pem, fingerprint = world.new_id("cr"), found.public_key, found.fingerprint
    credential_id = yield from insert_key(org_id, user_id, uuid, "Break-glass credential", pem, fingerprint, now, world)
    if credential_id is None:
        raise Impossible("the public key was enrolled meanwhile: cancel the request, and make another with a new key")
    yield from outgoing.enrol(org_id, uuid, None, world)
    token_id = world.new_id("uj")
    token, digest = keyring.mint(
        ring,
        org_id=org_id,
        user_id=user_id,
        username=found.username,
        token_id=token_id,
        kind="Token",
        lifetime=lifetime,
        now_ms=now,
    )
    yield from keyring.insert(
        org_id, token_id, user_id, "break-glass session", digest, None, now, now + lifetime * 1000, kind="Token"
    )
    enrolled = Enrolled(credential_uuid=uuid, user_id=user_id, kind="Key", fingerprint=found.fingerprint)
    yield from _tell(found, "completed", world, entities=(uuid, token_id, *ended.ids), enrolled=(enrolled,))
    return Completed((yield from _find(request_id)), uuid, credential_id, token)


def _why_not(request_id: str, world: World) -> Transaction[str]:
    # Read anew: it may have ended while this transaction waited for it.
    found = yield from _find(request_id)
    return why_not(request_id, found.state, found.ready_at, world.now())


def _find(request_id: str) -> Transaction[Request]:
    rows = yield break_glass_store.FIND_REQUEST, (request_id,)
    if not rows:
        raise Impossible(f"there is no break-glass request {request_id!r}")
    return _request(rows[0])


def _request(row: Row) -> Request:
    return Request(*row)


def _tell(
    about: Request,
    step: str,
    world: World,
    *,
    entities: tuple[str, ...] = (),
    enrolled: tuple[Enrolled, ...] = (),
    **details: str,
) -> Transaction[None]:
    yield from tell(
        about.org_id,
        _EVENT,
        (about.id, about.user_id, *entities),
        {"step": step, "publicKey": about.fingerprint, **details},
        world,
        user_id=about.user_id,
        username=about.username,
        enrolled=enrolled,
    )
