"""What policies say of an activity: the one way in which enforcement, simulation and replay ask them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from countersign.policies import store
from countersign.policies.activity import Activity
from countersign.policies.evaluate import Outcome, evaluate, needed_facts, scopes_of
from countersign.policies.facts import Facts, PastActivity
from countersign.policies.types import Policy
from countersign.storage import Transaction

#: Earlier activities of a wallet or key, the one that is judged not among them, for these windows (see
#: :class:`NeededFacts`): at least those since the first of them.
History = Callable[[str, Sequence[int]], Transaction[Sequence[PastActivity]]]


def unknown_history(_subject: str, _windows: Sequence[int]) -> Transaction[Sequence[PastActivity]]:
    """Of activities that no velocity looks at."""
    yield from ()
    raise LookupError("this kind of activity has no history")


def no_history(_subject: str, _windows: Sequence[int]) -> Transaction[Sequence[PastActivity]]:
    """Of what nothing was recorded of yet."""
    yield from ()
    return ()


def judge(
    org_id: str, activity: Activity, policies: Sequence[Policy], facts: Facts, history: History, *, in_turn: bool
) -> Transaction[Outcome]:
    """What happens with the activity under these policies. ``facts``: prices and screenings, loaded before.

    ``in_turn``: behind a lock of each wallet or key whose history is read, so that of two activities one counts the
    other; for those that are going to be written down. Without it nothing is written.
    """
    scopes = scopes_of(activity, policies)
    needed = needed_facts(activity, policies, scopes).history
    if in_turn:
        # In one order for everybody, so that no two wait for each other.
        for subject in sorted(needed):
            yield store.TAKE_TURN, (org_id, subject)
    past: dict[str, Sequence[PastActivity]] = {}
    for subject, windows in needed.items():
        past[subject] = yield from history(subject, windows)
    return evaluate(activity, policies, replace(facts, history=past) if past else facts, scopes)
