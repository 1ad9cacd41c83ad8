"""Unlocking: an operator archives a policy that guards policies and that nobody can change any more.

Like break-glass, it takes the secret that opens the key store, proved on the server's own host, and time: a request
waits, the server warns of it, and anyone with the host can cancel it. A policy that somebody can still change, with
the approvals that it asks for, is not touched, neither at the request nor at its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from countersign.encoding.dates import to_iso
from countersign.identity import policy_unlock_store as store
from countersign.identity.administration import organisations
from countersign.identity.local_commands import FOR_EVER, Impossible, ready_at, tell, why_not
from countersign.policies import Lock, archive_locked, find_locks
from countersign.storage import Row, Transaction
from countersign.world import World

_EVENT = "PolicyUnlock"
_STILL_OPEN = "can be changed by the API, with the approvals that it asks for"


@dataclass(frozen=True, slots=True)
class Unlock:
    """A request to archive a locked policy. Times in milliseconds; it can be completed from ``ready_at`` on."""

    id: str
    org_id: str
    policy_id: str
    policy_name: str
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
            "policyId": self.policy_id,
            "policyName": self.policy_name,
            "state": self.state,
            "dateRequested": to_iso(self.requested_at),
            "dateReady": to_iso(self.ready_at),
            **ended,
        }


def locked(service_accounts_allowed: bool) -> Transaction[list[tuple[str, Lock]]]:
    """Every locked policy, with its organisation."""
    found = []
    for org_id in (yield from organisations()):
        found += [(org_id, lock) for lock in (yield from find_locks(org_id, service_accounts_allowed))]
    return found


def request(policy_id: str, service_accounts_allowed: bool, world: World) -> Transaction[Unlock]:
    """Begin to wait for the end of a locked policy; the caller has proved the key-encryption secret.

    Raises ``Impossible``.
    """
    found = yield from locked(service_accounts_allowed)
    org_id, lock = next(((org_id, lock) for org_id, lock in found if lock.policy.id == policy_id), (None, None))
    if org_id is None or lock is None:
        raise Impossible(f"{policy_id} is no locked policy: either it guards no policies, or it {_STILL_OPEN}")
    request_id, now = world.new_id("pu"), world.now()
    row = (org_id, request_id, policy_id, lock.policy.name, now, (yield from ready_at(now)))
    if not (yield store.INSERT_UNLOCK, row):
        raise Impossible(f"a request for {policy_id} waits already: cancel it to make another")
    made = yield from _find(request_id)
    yield from _tell(made, "requested", world, dateReady=to_iso(made.ready_at))
    return made


def list_requests(ended_since: int = 0) -> Transaction[list[Unlock]]:
    """Those that wait, and those that ended at that time (ms) or later; newest first."""
    return [_unlock(row) for row in (yield store.LIST_UNLOCKS, (ended_since,))]


def cancel(request_id: str, world: World) -> Transaction[Unlock]:
    """End a request that waits, without effect. Raises ``Impossible``."""
    found = yield from _find(request_id)
    if not (yield store.END_UNLOCK, ("Cancelled", world.now(), found.org_id, request_id, FOR_EVER)):
        raise (yield from _refused(request_id, world))
    yield from _tell(found, "cancelled", world)
    return (yield from _find(request_id))


def complete(request_id: str, service_accounts_allowed: bool, world: World) -> Transaction[Unlock]:
    """Archive the policy, once the wait is over and if it is still locked: everything in one transaction.

    The caller has proved the key-encryption secret. Raises ``Impossible``.
    """
    found = yield from _find(request_id)
    now = world.now()
    if not (yield store.END_UNLOCK, ("Completed", now, found.org_id, request_id, now)):
        raise (yield from _refused(request_id, world))
    if not (yield from archive_locked(found.org_id, found.policy_id, service_accounts_allowed, world)):
        raise Impossible(f"{found.policy_id} is locked no longer: it was archived, or it {_STILL_OPEN}")
    yield from _tell(found, "completed", world)
    return (yield from _find(request_id))


def _refused(request_id: str, world: World) -> Transaction[Impossible]:
    # Read anew: it may have ended while this transaction waited for it.
    found = yield from _find(request_id)
    return Impossible(why_not(request_id, found.state, found.ready_at, world.now()))


def _find(request_id: str) -> Transaction[Unlock]:
    rows = yield store.FIND_UNLOCK, (request_id,)
    if not rows:
        raise Impossible(f"there is no request {request_id!r} to unlock a policy")
    return _unlock(rows[0])


def _unlock(row: Row) -> Unlock:
    return Unlock(*row)


def _tell(about: Unlock, step: str, world: World, **details: str) -> Transaction[None]:
    told = {"step": step, "policyName": about.policy_name, **details}
    yield from tell(about.org_id, _EVENT, (about.id, about.policy_id), told, world)
