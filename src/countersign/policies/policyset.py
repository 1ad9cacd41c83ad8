"""Policies with what can be known of them before there is an activity, worked out once for many of these."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from countersign.api.wire import UNSET, encode
from countersign.policies import types
from countersign.policies.facts import Provider
from countersign.policies.rules import provider_of
from countersign.policies.types import Currency, Policy


@dataclass(frozen=True, slots=True)
class Needs:
    """What rules look at: currencies that values are asked for in, windows of velocities in minutes, screenings.

    Nothing that a rule can do without is in it.
    """

    currencies: frozenset[Currency] = frozenset()
    windows: frozenset[int] = frozenset()
    screenings: frozenset[Provider] = frozenset()


def needs_of(rules: Iterable[types.Rule]) -> Needs:
    """The same for all of these rules together."""
    currencies: set[Currency] = set()
    windows: set[int] = set()
    screenings: set[Provider] = set()
    for rule in rules:
        if isinstance(rule, types.TransactionAmountLimit | types.TransactionAmountVelocity):
            currencies.add(rule.configuration.currency)
        if isinstance(rule, types.TransactionAmountVelocity | types.TransactionCountVelocity):
            windows.add(rule.configuration.timeframe)
        provider = provider_of(rule)
        if provider is not None:
            screenings.add(provider)
    return Needs(frozenset(currencies), frozenset(windows), frozenset(screenings))


class PolicySet(tuple[Policy, ...]):
    """Policies in their order.

    ``kind``: of the first, which usually all are about. Those of this kind that are active and have no filter concern
    every activity of it, and need ``needs`` together; ``others`` are the rest, with their place in the order.
    ``questions``: for each policy a number that those share whose rules are equal, and so say the same of an activity.
    """

    kind: types.ActivityKind | None
    needs: Needs
    others: tuple[tuple[int, Policy], ...]
    questions: tuple[int, ...]

    def __new__(cls, policies: Iterable[Policy]) -> PolicySet:
        """Look through them."""
        made = super().__new__(cls, policies)
        made.kind = made[0].activity_kind if made else None
        plain: list[types.Rule] = []
        others: list[tuple[int, Policy]] = []
        for place, policy in enumerate(made):
            if policy.filters is UNSET and policy.activity_kind == made.kind and policy.status == "Active":
                plain.append(policy.rule)
            else:
                others.append((place, policy))
        made.needs, made.others = needs_of(plain), tuple(others)
        numbers: dict[bytes, int] = {}
        made.questions = tuple([numbers.setdefault(encode(policy.rule), len(numbers)) for policy in made])
        return made

    @classmethod
    def of(cls, policies: Sequence[Policy]) -> PolicySet:
        """These, looked through unless they were before."""
        return policies if isinstance(policies, PolicySet) else cls(policies)
