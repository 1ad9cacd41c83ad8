"""Durable background work: jobs written in the transaction of the change that wants them, and leases.

A domain declares its kinds of work as :class:`Kind`, writes jobs with :func:`enqueue` inside its transactions, and the
server runs them with :class:`countersign.jobs.workers.Workers`. A job runs at least once, until its outcome is
recorded: what it does to the outside must bear repetition; what it writes is recorded together with its end, and so
once.
"""

from countersign.jobs.plan import RetryPlan
from countersign.jobs.queue import enqueue
from countersign.jobs.work import Done, Failed, Job, Kind, Later, Outcome

__all__ = ["Done", "Failed", "Job", "Kind", "Later", "Outcome", "RetryPlan", "enqueue"]
