"""Everything that was asked for, put before a draft of policies: what would have waited or been blocked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from countersign.policies.evaluate import Blocked, Cleared, Evaluated, Outcome
from countersign.policies.facts import Facts
from countersign.policies.judging import judge
from countersign.policies.recorded import Recorded, Records, kinds
from countersign.policies.simulation import policies_for
from countersign.policies.types import Policy
from countersign.storage import Database, Transaction

_PAGE = 200


@dataclass(slots=True)
class Tally:
    """``policies``: by id of a policy, how many activities it triggered on. ``of``: how many were replayed, by kind."""

    held: int = 0
    blocked: int = 0
    of: dict[str, int] = field(default_factory=dict)
    policies: dict[str, int] = field(default_factory=dict)

    @property
    def replayed(self) -> int:
        """All of them."""
        return sum(self.of.values())


#: Told of each activity that would not have gone on at once.
Stopped = Callable[[Recorded, Outcome], None]
#: Told how many are done, of how many.
Progress = Callable[[int, int], None]


async def replay(
    database: Database,
    org_id: str,
    drafts: Sequence[Policy],
    *,
    added: bool,
    since: int,
    stopped: Stopped,
    progress: Progress,
) -> Tally:
    """Ask the draft (with ``added`` together with the active policies) about all that was asked for since then (ms).

    Each activity is judged as of when it was asked for, with what had been recorded by then, as a simulation judges
    it. In memory is one page of activities, and the history of one.
    """
    tally = Tally()
    everything = kinds()
    total = 0
    for records in everything.values():
        total += await database.read(partial(records.count, org_id, records.first_id(since)))
    done = 0
    for records in everything.values():
        after = records.first_id(since)
        while page := await database.read(partial(_page, org_id, records, after, drafts, added)):
            for recorded, outcome in page:
                if recorded.activity.requested_at >= since:
                    _count(tally, recorded, outcome)
                    if not isinstance(outcome, Cleared):
                        stopped(recorded, outcome)
            after = page[-1][0].entity_id
            done += len(page)
            progress(done, total)
    return tally


def _page(
    org_id: str, records: Records, after: str, drafts: Sequence[Policy], added: bool
) -> Transaction[list[tuple[Recorded, Outcome]]]:
    judged = []
    for recorded in (yield from records.page(org_id, after, _PAGE)):
        activity = recorded.activity
        policies = yield from policies_for(org_id, activity.kind, drafts, added=added)
        history = records.history_of(org_id, recorded)
        judged.append((recorded, (yield from judge(org_id, activity, policies, Facts(), history, in_turn=False))))
    return judged


def _count(tally: Tally, recorded: Recorded, outcome: Outcome) -> None:
    kind = recorded.activity.kind
    tally.of[kind] = tally.of.get(kind, 0) + 1
    for policy_id in outcome.triggered:
        tally.policies[policy_id] = tally.policies.get(policy_id, 0) + 1
    if isinstance(outcome, Blocked):
        tally.blocked += 1
    elif not isinstance(outcome, Cleared):
        tally.held += 1


def stopping(outcome: Outcome) -> list[Evaluated]:
    """The policies that an activity waits for, or by which it is blocked."""
    action = "Block" if isinstance(outcome, Blocked) else "RequestApproval"
    return [one for one in outcome.asked if one.triggered and one.action == action]
