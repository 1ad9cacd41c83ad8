"""From an activity, the policies and the facts to what happens, with the reasons.

There is no priority among policies and none that allows: each one that concerns the activity is asked, none can cancel
another. A triggered ``Block`` blocks; otherwise a triggered ``RequestApproval`` holds; otherwise the activity goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from countersign.api.wire import UNSET
from countersign.policies import types
from countersign.policies.activity import (
    Activity,
    ChangeActivity,
    IncomingTransaction,
    ValueTransfer,
    VaultActivity,
    Wallet,
    WalletActivity,
    read,
)
from countersign.policies.assets import Asset
from countersign.policies.facts import Facts, NeededFacts, Provider
from countersign.policies.rules import judge, provider_of
from countersign.policies.scene import MINUTE_MS, Scene
from countersign.policies.types import Currency, Policy


# Structs, because one is made for every policy that is asked: a frozen dataclass takes three times as long to make.
class Evaluated(msgspec.Struct, frozen=True):
    """A policy that concerns the activity, and what its rule said.

    ``scope``: why it concerns it, in words. ``context``: the values that the rule looked at, for clients.
    """

    policy_id: str
    policy_name: str
    scope: str
    rule: str
    action: str
    triggered: bool
    reason: str
    context: dict[str, Any] | None


class Ignored(msgspec.Struct, frozen=True):
    """A policy that does not concern the activity, and why; it is not part of the activity's evaluations."""

    policy_id: str
    policy_name: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Outcome:
    """``considered``: every policy that was given, in their order."""

    considered: tuple[Evaluated | Ignored, ...]

    @property
    def evaluations(self) -> list[types.PolicyEvaluation]:
        """What is shown of it to clients."""
        return [
            types.PolicyEvaluation(
                policy_id=one.policy_id,
                triggered=one.triggered,
                reason=one.reason,
                context=UNSET if one.context is None else one.context,
            )
            for one in self.considered
            if isinstance(one, Evaluated)
        ]

    @property
    def triggered(self) -> list[str]:
        """Ids of the policies that triggered."""
        return [one.policy_id for one in self.considered if isinstance(one, Evaluated) and one.triggered]

    @property
    def skipped(self) -> list[str]:
        """Ids of the policies that concern the activity and did not trigger."""
        return [one.policy_id for one in self.considered if isinstance(one, Evaluated) and not one.triggered]


@dataclass(frozen=True, slots=True)
class Cleared(_Outcome):
    """The activity goes on. ``bypass``: why no policy was asked, where that is so."""

    bypass: str | None = None


@dataclass(frozen=True, slots=True)
class PendingApproval(_Outcome):
    """The activity is held until every group has its quorum.

    ``groups``: all groups of all triggered policies, to be copied into the approval: later changes of the policies do
    not touch it. ``expires_at``: milliseconds since the epoch, by the shortest of their timeouts; None: never.
    """

    groups: tuple[types.ApprovalGroup, ...]
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class Blocked(_Outcome):
    """The activity is refused; ``policy_ids``: the triggered policies with ``Block``."""

    policy_ids: tuple[str, ...]


Outcome = Cleared | PendingApproval | Blocked


def evaluate(
    activity: Activity, policies: Sequence[Policy], facts: Facts, scopes: Sequence[Scope | str] | None = None
) -> Outcome:
    """What happens with the activity; what can't be known triggers. Never raises for what the values hold.

    ``policies``: of the organisation; those of another kind and archived ones may be among them. ``scopes``: of
    :func:`scopes_of`, where they were worked out before.
    """
    if isinstance(activity, WalletActivity | IncomingTransaction) and activity.delegated:
        return Cleared((), bypass="the wallet or key belongs to an end user, whom policies don't bind")
    scene = Scene(activity, facts)
    considered: list[Evaluated | Ignored] = []
    blocking: list[str] = []
    holding: list[types.RequestApproval] = []
    for policy, scope in zip(policies, scopes_of(activity, policies) if scopes is None else scopes, strict=True):
        if isinstance(scope, str):
            considered.append(Ignored(policy.id, policy.name, scope))
            continue
        verdict = judge(policy.rule, scene, scope.subjects)
        action = policy.action
        considered.append(
            Evaluated(
                policy.id,
                policy.name,
                scope.reason,
                types.kind_of(policy.rule),
                types.kind_of(action),
                verdict.triggered,
                verdict.reason,
                verdict.context,
            )
        )
        if not verdict.triggered:
            continue
        if isinstance(action, types.Block):
            blocking.append(policy.id)
        elif isinstance(action, types.RequestApproval):
            holding.append(action)
    if blocking:
        return Blocked(tuple(considered), tuple(blocking))
    if holding:
        groups = tuple(group for action in holding for group in action.approval_groups)
        timeouts = [action.auto_reject_timeout for action in holding if isinstance(action.auto_reject_timeout, int)]
        expires_at = activity.requested_at + min(timeouts) * MINUTE_MS if timeouts else None
        return PendingApproval(tuple(considered), groups, expires_at)
    return Cleared(tuple(considered))


def needed_facts(
    activity: Activity, policies: Sequence[Policy], scopes: Sequence[Scope | str] | None = None
) -> NeededFacts:
    """Which facts ``evaluate`` will look at for this activity and these policies, so that no others are loaded."""
    if isinstance(activity, WalletActivity | IncomingTransaction) and activity.delegated:
        return NeededFacts()
    reading = read(activity) if isinstance(activity, WalletActivity) else None
    asset = reading.asset if isinstance(reading, ValueTransfer) else None
    currencies: set[Currency] = set()
    history: dict[str, int] = {}
    screenings: set[Provider] = set()
    for policy, scope in zip(policies, scopes_of(activity, policies) if scopes is None else scopes, strict=True):
        rule = policy.rule
        if isinstance(scope, str) or isinstance(rule, types.AlwaysTrigger):
            continue
        if isinstance(rule, types.TransactionAmountLimit | types.TransactionAmountVelocity):
            currencies.add(rule.configuration.currency)
        if isinstance(rule, types.TransactionAmountVelocity | types.TransactionCountVelocity):
            since = activity.requested_at - rule.configuration.timeframe * MINUTE_MS
            for subject in scope.subjects:
                history[subject] = min(since, history.get(subject, since))
        provider = provider_of(rule)
        if provider is not None:
            screenings.add(provider)
    quotes: frozenset[tuple[Asset, Currency]] = frozenset()
    if asset is not None:
        quotes = frozenset((asset, currency) for currency in currencies)
    return NeededFacts(quotes, frozenset(asset for asset, _ in quotes), history, frozenset(screenings))


@dataclass(frozen=True, slots=True)
class Scope:
    """A policy concerns an activity: why, and whose history its rule looks at (wallet ids, or the key's)."""

    reason: str
    subjects: tuple[str, ...] = ()


_NO_FILTERS = types.Filters()


def scopes_of(activity: Activity, policies: Sequence[Policy]) -> list[Scope | str]:
    """Whether each policy concerns an activity, or why it does not."""
    if not isinstance(activity, WalletActivity | IncomingTransaction):
        return [scope_of(policy, activity) for policy in policies]
    # Most policies have no filter, and then it is the same for all of them.
    kind, everything = activity.kind, Scope("it has no filter", activity.subjects)
    return [
        everything
        if policy.filters is UNSET and policy.activity_kind == kind and policy.status == "Active"
        else scope_of(policy, activity)
        for policy in policies
    ]


def scope_of(policy: Policy, activity: Activity) -> Scope | str:
    """Whether a policy concerns an activity, or why it does not."""
    if policy.status != "Active":
        return "it is archived"
    if policy.activity_kind != activity.kind:
        return f"it is about {policy.activity_kind}"
    filters = _NO_FILTERS if policy.filters is UNSET else policy.filters
    match activity:
        case WalletActivity():
            return _wallet_scope(filters, activity.wallets, activity)
        case IncomingTransaction():
            return _wallet_scope(filters, (activity.wallet,), activity)
        case ChangeActivity():
            return _change_scope(filters, activity)
        case VaultActivity():
            if filters.vault_tags is UNSET or _tags_match(filters.vault_tags, activity.vault_tags):
                return Scope("it concerns the vault")
            return "the vault's tags don't match its filter"


def _wallet_scope(
    filters: types.Filters, wallets: Sequence[Wallet], activity: WalletActivity | IncomingTransaction
) -> Scope | str:
    if filters.wallet_id is UNSET and (filters.wallet_tags is UNSET or _is_empty(filters.wallet_tags)):
        return Scope("it has no filter", activity.subjects)
    # All conditions have to hold for one and the same wallet: a key may carry several.
    matching = tuple(
        wallet.id
        for wallet in wallets
        if (filters.wallet_id is UNSET or wallet.id in filters.wallet_id.in_)
        and (filters.wallet_tags is UNSET or _tags_match(filters.wallet_tags, wallet.tags))
    )
    if matching:
        return Scope(f"its filter matches {', '.join(matching)}", matching)
    return "its filter matches no wallet of the activity" if wallets else "no wallet is built on the key"


def _change_scope(filters: types.Filters, activity: ChangeActivity) -> Scope | str:
    if filters.permission_id is not UNSET and activity.permission_id not in filters.permission_id.in_:
        return "its filter does not name the permission"
    if filters.policy_id is not UNSET and activity.policy_id not in filters.policy_id.in_:
        return "its filter does not name the policy"
    return Scope("it concerns the change")


def _tags_match(condition: types.TagFilter, tags: frozenset[str]) -> bool:
    if condition.has_any is not UNSET and tags.isdisjoint(condition.has_any):
        return False
    return condition.has_all is UNSET or tags.issuperset(condition.has_all)


def _is_empty(condition: types.TagFilter) -> bool:
    return condition.has_any is UNSET and not (condition.has_all is not UNSET and condition.has_all)
