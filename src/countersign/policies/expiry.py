"""The end of an approval by the clock: a job, written with the approval, that is due when its time is over.

Whether an approval has expired is decided by the clock alone; the job writes it down, and tells of it.
"""

from __future__ import annotations

from functools import partial

from countersign.jobs import Done, Job, Kind, Later, Outcome
from countersign.jobs.plan import OVER_A_DAY
from countersign.policies import decisions
from countersign.policies.deciding import END_APPROVAL, Ends
from countersign.storage import Database
from countersign.world import World


class Expiry:
    """The kind of job that ends approvals."""

    def __init__(self, database: Database, world: World) -> None:
        self._database = database
        self._world = world

    def kind(self) -> Kind:
        """As the workers know it."""
        return Kind(END_APPROVAL, self.run, OVER_A_DAY)

    async def run(self, job: Job) -> Outcome:
        """End it, together with the job; nothing where people have ended it before."""
        approval_id = job.read(Ends).approval_id
        stored = await self._database.read(partial(decisions.find, job.org_id, approval_id))
        if stored is None or stored.status != "Pending":
            return Done()
        # Hurried by an operator, or by a clock that was set back.
        if stored.expires_at is not None and self._world.now() < stored.expires_at:
            return Later("waits for the end of the approval", stored.expires_at)
        return Done(partial(decisions.expire, job.org_id, approval_id, self._world))
