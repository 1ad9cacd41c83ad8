"""Signature counters of passkeys: the one thing that signing an action writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import structlog

from countersign.access import store
from countersign.api import ApiError
from countersign.audit.entry import System
from countersign.audit.log import append
from countersign.credentials.fido2_assertion import Advanced, Answer, Cloned, Unmoved, step_counter
from countersign.credentials.outcome import Refused
from countersign.encoding.dates import to_iso
from countersign.storage import Database, Transaction
from countersign.world import World

log = structlog.get_logger("countersign.security")

Policy = Literal["reject", "warn"]

#: How many answers back one that comes again is told from a clone: several tabs may wait for theirs at once.
_REMEMBERED = 4
_TRIES = 8


class Holder(Protocol):
    """Whose credential it is: a caller, or somebody about to become one."""

    @property
    def org_id(self) -> str:
        """The organisation."""
        ...

    @property
    def user_id(self) -> str:
        """The user."""
        ...

    @property
    def username(self) -> str:
        """How the user is called."""
        ...


_RAN_BACK = Refused("the signature counter ran back: another authenticator may hold this key", "signatureCounter")


@dataclass(frozen=True, slots=True)
class Gone:
    """The credential is not active any more."""


class Counters:
    """Steps counters. ``policy``: whether an answer whose counter ran back is refused or only reported."""

    def __init__(self, database: Database, world: World, installation_id: str, policy: Policy) -> None:
        self._database = database
        self._world = world
        self._installation_id = installation_id
        self._policy = policy

    async def step(self, holder: Holder, credential_uuid: str, answer: Answer) -> Refused | None:
        """Step the counter for a proven answer; says why the answer must be refused.

        A counter that did not move on is a security event: logged, audited and noted with the credential, whether it
        is refused or not.
        """
        stepped = await self._database.write(lambda: _step(holder.org_id, credential_uuid, answer))
        if isinstance(stepped, Gone):
            return Refused("the credential is not active")
        if not isinstance(stepped, Cloned):
            return None
        cloned = stepped
        log.warning(
            "signature counter ran back",
            organisation=holder.org_id,
            user=holder.user_id,
            credential=credential_uuid,
            stored=cloned.stored,
            received=cloned.received,
        )
        await self._database.write(lambda: self._report(holder, credential_uuid, cloned))
        return _RAN_BACK if self._rejects else None

    @property
    def _rejects(self) -> bool:
        return self._policy == "reject"

    def _report(self, holder: Holder, credential_uuid: str, cloned: Cloned) -> Transaction[None]:
        now = self._world.now()
        yield store.FLAG_CREDENTIAL, (now, holder.org_id, credential_uuid)
        entry = System(
            installation_id=self._installation_id,
            org_id=holder.org_id,
            id=self._world.new_id("uj"),
            date_performed=to_iso(now),
            entity_ids=(credential_uuid,),
            event="SecurityEvent",
            user_id=holder.user_id,
            username=holder.username,
            details={
                "reason": "signature counter ran back",
                "credentialUuid": credential_uuid,
                "stored": str(cloned.stored),
                "received": str(cloned.received),
                "outcome": "refused" if self._rejects else "accepted",
            },
        )
        yield from append(entry, None)


def _step(org_id: str, credential_uuid: str, answer: Answer) -> Transaction[Advanced | Unmoved | Cloned | Gone]:
    for _ in range(_TRIES):
        rows = yield store.READ_COUNTER, (org_id, credential_uuid)
        if not rows:
            return Gone()
        stored, accepted = rows[0]
        marks = (accepted or "").split()
        stepped = step_counter(stored, answer, marks)
        if not isinstance(stepped, Advanced):
            return stepped
        remembered = " ".join([*marks, stepped.mark][-_REMEMBERED:])
        arguments = (stepped.sign_count, remembered, org_id, credential_uuid, stored, accepted or "")
        if (yield store.ADVANCE_COUNTER, arguments):
            return stepped
    raise ApiError("UNAVAILABLE", "Too many answers of one credential at once.")
