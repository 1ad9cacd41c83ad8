"""What commands of the operator share: they run on the server's own host, never over HTTP, and each is audited."""

from __future__ import annotations

from collections.abc import Mapping

from countersign.access.installation import read_installation
from countersign.audit.entry import Enrolled, System
from countersign.audit.log import append
from countersign.encoding.dates import to_iso
from countersign.storage import Transaction
from countersign.world import World

HOUR_MS = 3_600_000
#: Later than any time at which something that waits is ready.
FOR_EVER = (1 << 63) - 1


class Impossible(Exception):
    """It cannot be done; the text says why, in one line."""


def ready_at(now: int) -> Transaction[int]:
    """When what waits as long as break-glass may be done. Raises ``Impossible``.

    How long is what ``init`` wrote down: whoever runs the command could set it to nothing otherwise.
    """
    installation = yield from read_installation()
    hours = int(installation["break_glass_hours"])
    if hours < 1 and installation["profile"] != "sandbox":
        raise Impossible("only a sandbox does without the wait")
    return now + hours * HOUR_MS


def why_not(request_id: str, state: str, ready_at: int, now: int) -> str:
    """Why a request that should wait and be ready was not ended."""
    if state != "Waiting":
        return f"the request {request_id} is {state.lower()} already"
    return f"the request waits until {to_iso(ready_at)}, {-((now - ready_at) // HOUR_MS)} h from now"


def tell(
    org_id: str,
    event: str,
    entities: tuple[str, ...],
    details: Mapping[str, str],
    world: World,
    *,
    user_id: str | None = None,
    username: str | None = None,
    enrolled: tuple[Enrolled, ...] = (),
) -> Transaction[None]:
    """Write what was done into the audit log, in the transaction that does it. ``user_id``: whom it was done to."""
    installation = yield from read_installation()
    entry = System(
        installation_id=installation["installation_id"],
        org_id=org_id,
        id=world.new_id("uj"),
        date_performed=to_iso(world.now()),
        entity_ids=entities,
        enrolled=enrolled,
        event=event,
        user_id=user_id,
        username=username,
        details=dict(details),
    )
    yield from append(entry, None)
