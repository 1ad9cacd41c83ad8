"""What the operations share by which people come in: register, log in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from countersign.access import codes
from countersign.access.counters import Counters
from countersign.access.keyring import KeyRing
from countersign.access.limits import RateLimits
from countersign.access.relying_parties import shown_party
from countersign.access.types import RelyingParty
from countersign.api import UNSET, ApiError, Call, UnsetType, validation
from countersign.identity import registration_store
from countersign.identity.attempts import Attempts
from countersign.identity.credential_types import Message
from countersign.identity.errands import Errands
from countersign.identity.registration_types import UserLookup
from countersign.identity.usernames import username_key
from countersign.storage import Database, Transaction
from countersign.world import World

#: Stands for the key of a name that nobody can have, so that it is looked for like any other.
_NOBODY = "-\n-"

SendCode = Callable[[KeyRing, str, str, str, World], Transaction[bool]]
"""Sends a new code to who has a username key in an organisation: of ring, organisation, key, code and world."""


@dataclass(frozen=True, slots=True)
class Entrance:
    """What it is given at start-up. ``session_seconds``: life of a session.

    ``sign_in_seconds``: how long a sign-in at an identity provider may take.
    ``conceals_names``: whether strangers are kept from learning which usernames exist. ``*_hold_hours``: how long
    anybody who recovered changes nothing, and an administrator whose recovery a service account began.
    """

    database: Database
    counters: Counters
    installation_id: str
    session_seconds: int
    sign_in_seconds: int
    conceals_names: bool
    recovery_hold_hours: int = 0
    delegated_recovery_hold_hours: int = 0
    errands: Errands = field(default_factory=Errands)
    wrong_codes: Attempts = field(default_factory=Attempts)
    wrong_answers: Attempts = field(default_factory=Attempts)


async def named_organisation(call: Call, org_id: str | UnsetType) -> str:
    """The organisation that a request names; the only one where it names none. 400 where there are several."""
    if org_id is not UNSET:
        return org_id
    only = await call.read(only_organisation)
    if only is None:
        raise validation("orgId", "name the organisation: this server has several")
    return only


def only_organisation() -> Transaction[str | None]:
    """The organisation of a server that has one, ``None`` where it has several."""
    rows = yield registration_store.LIST_TWO_ORGANISATIONS, ()
    return rows[0][0] if len(rows) == 1 else None


def named_user(call: Call, org_id: str, username: str) -> str:
    """The key of a username of a public request, which is counted. 429 ``RATE_LIMITED``."""
    key = username_key(username) or _NOBODY
    call.service(RateLimits).username(org_id, key, call.request.client_address)
    return key


def count_code_try(call: Call) -> None:
    """Count a try of a mailed code. 429 ``RATE_LIMITED``."""
    call.service(RateLimits).mailed_code(call.request.client_address)


def check_code(call: Call, stored: str | None, subject: str, *, good: bool) -> None:
    """403 ``INVALID_CODE`` unless a typed code is the right one and this address did not try five wrong ones before.

    ``stored``: the hash of the right one, ``subject``: for whom it would be.
    """
    attempts = call.service(Entrance).wrong_codes
    tried = (subject, stored, call.request.client_address)
    if attempts.exhausted(tried):
        raise ApiError("INVALID_CODE", reason="too many wrong codes")
    if not good:
        attempts.note(tried)
        raise ApiError("INVALID_CODE")


async def mail_code(call: Call, body: UserLookup, send: SendCode) -> Message:
    """Have a code sent to whom a request names; the answer is the same for every username."""
    org_id = await named_organisation(call, body.org_id)
    key = named_user(call, org_id, body.username)
    ring, world = call.service(KeyRing), call.world
    code = codes.new_mailed_code(world)
    answer_first(call, lambda: call.write(lambda: send(ring, org_id, key, code, world)))
    return Message()


def answer_first(call: Call, work: Callable[[], Awaitable[object]]) -> None:
    """Do something behind the answer, which is then the same for those who exist and those who do not."""
    call.service(Entrance).errands.send(work)


def default_party(org_id: str) -> Transaction[RelyingParty | None]:
    """The relying party that a challenge names where nobody is known yet."""
    return (yield from shown_party(org_id, None))
