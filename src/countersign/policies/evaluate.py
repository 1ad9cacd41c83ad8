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
from countersign.policies.facts import Facts, NeededFacts
from countersign.policies.policyset import PolicySet, needs_of
from countersign.policies.rules import Verdict, judge
from countersign.policies.scene import MINUTE_MS, Scene
from countersign.policies.types import Currency, Policy


# Structs, because one is made for every policy that is asked: a frozen dataclass takes three times as long to make.
class Evaluated(msgspec.Struct, frozen=True):
    """A policy that concerns the activity, and what its rule said. ``scope``: why it concerns it, in words."""

    policy: Policy
    scope: str
    verdict: Verdict

    @property
    def policy_id(self) -> str:
        """The policy's."""
        return self.policy.id

    @property
    def policy_name(self) -> str:
        """The policy's."""
        return self.policy.name

    @property
    def rule(self) -> str:
        """Its kind."""
        return types.kind_of(self.policy.rule)

    @property
    def action(self) -> str:
        """Its kind."""
        return types.kind_of(self.policy.action)

    @property
    def triggered(self) -> bool:
        """Whether the rule did."""
        return self.verdict.triggered

    @property
    def reason(self) -> str:
        """Why, in words."""
        return self.verdict.reason

    @property
    def context(self) -> dict[str, Any] | None:
        """The values that the rule looked at, for clients."""
        return self.verdict.context


class Ignored(msgspec.Struct, frozen=True):
    """A policy that does not concern the activity, and why; it is not part of the activity's evaluations."""

    policy: Policy
    reason: str

    @property
    def policy_id(self) -> str:
        """The policy's."""
        return self.policy.id

    @property
    def policy_name(self) -> str:
        """The policy's."""
        return self.policy.name


@dataclass(frozen=True, slots=True)
class _Outcome:
    """``considered``: every policy that was given, in their order; ``asked``: those that concern the activity."""

    considered: tuple[Evaluated | Ignored, ...]
    asked: tuple[Evaluated, ...]

    @property
    def evaluations(self) -> list[types.PolicyEvaluation]:
        """What is shown of it to clients."""
        return [
            types.PolicyEvaluation(
                policy_id=one.policy.id,
                triggered=one.verdict.triggered,
                reason=one.verdict.reason,
                context=UNSET if one.verdict.context is None else one.verdict.context,
            )
            for one in self.asked
        ]

    @property
    def triggered(self) -> list[str]:
        """Ids of the policies that triggered."""
        return [one.policy.id for one in self.asked if one.verdict.triggered]

    @property
    def skipped(self) -> list[str]:
        """Ids of the policies that concern the activity and did not trigger."""
        return [one.policy.id for one in self.asked if not one.verdict.triggered]


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
        return Cleared((), (), bypass="the wallet or key belongs to an end user, whom policies don't bind")
    policies = PolicySet.of(policies)
    scene = Scene(activity, facts)
    # Equal rules say the same of the same wallets.
    said: dict[tuple[int, tuple[str, ...]], Verdict] = {}
    considered: list[Evaluated | Ignored] = []
    asked: list[Evaluated] = []
    blocking: list[str] = []
    holding: list[types.RequestApproval] = []
    if scopes is None:
        scopes = scopes_of(activity, policies)
    for policy, question, scope in zip(policies, policies.questions, scopes, strict=True):
        if isinstance(scope, str):
            considered.append(Ignored(policy, scope))
            continue
        key = (question, scope.subjects)
        verdict = said.get(key)
        if verdict is None:
            verdict = said[key] = judge(policy.rule, scene, scope.subjects)
        evaluated = Evaluated(policy, scope.reason, verdict)
        considered.append(evaluated)
        asked.append(evaluated)
        if not verdict.triggered:
            continue
        action = policy.action
        if isinstance(action, types.Block):
            blocking.append(policy.id)
        elif isinstance(action, types.RequestApproval):
            holding.append(action)
    if blocking:
        return Blocked(tuple(considered), tuple(asked), tuple(blocking))
    if holding:
        groups = tuple(group for action in holding for group in action.approval_groups)
        timeouts = [action.auto_reject_timeout for action in holding if isinstance(action.auto_reject_timeout, int)]
        expires_at = activity.requested_at + min(timeouts) * MINUTE_MS if timeouts else None
        return PendingApproval(tuple(considered), tuple(asked), groups, expires_at)
    return Cleared(tuple(considered), tuple(asked))


def needed_facts(
    activity: Activity, policies: Sequence[Policy], scopes: Sequence[Scope | str] | None = None
) -> NeededFacts:
    """Which facts ``evaluate`` will look at for this activity and these policies, so that no others are loaded."""
    if isinstance(activity, WalletActivity | IncomingTransaction) and activity.delegated:
        return NeededFacts()
    policies = PolicySet.of(policies)
    if scopes is None:
        scopes = scopes_of(activity, policies)
    # What plain ones look at is that of the activity's own wallets or key.
    needs = [(policies.needs, _unfiltered(activity).subjects)] if activity.kind == policies.kind else []
    for place, policy in policies.others:
        scope = scopes[place]
        if isinstance(scope, Scope):
            needs.append((needs_of((policy.rule,)), scope.subjects))
    windows: dict[str, frozenset[int]] = {}
    for need, subjects in needs:
        if need.windows:
            for subject in subjects:
                windows[subject] = windows.get(subject, frozenset()) | need.windows
    history = {
        subject: tuple([activity.requested_at - minutes * MINUTE_MS for minutes in sorted(lengths, reverse=True)])
        for subject, lengths in windows.items()
    }
    reading = read(activity) if isinstance(activity, WalletActivity) else None
    quotes: frozenset[tuple[Asset, Currency]] = frozenset()
    if isinstance(reading, ValueTransfer):
        quotes = frozenset((reading.asset, currency) for need, _ in needs for currency in need.currencies)
    screenings = frozenset(provider for need, _ in needs for provider in need.screenings)
    return NeededFacts(quotes, frozenset(asset for asset, _ in quotes), history, screenings)


@dataclass(frozen=True, slots=True)
class Scope:
    """A policy concerns an activity: why, and whose history its rule looks at (wallet ids, or the key's)."""

    reason: str
    subjects: tuple[str, ...] = ()


_NO_FILTERS = types.Filters()


def scopes_of(activity: Activity, policies: Sequence[Policy]) -> list[Scope | str]:
    """Whether each policy concerns an activity, or why it does not."""
    policies = PolicySet.of(policies)
    if activity.kind != policies.kind:
        return [scope_of(policy, activity) for policy in policies]
    scopes: list[Scope | str] = [_unfiltered(activity)] * len(policies)
    for place, policy in policies.others:
        scopes[place] = scope_of(policy, activity)
    return scopes


def _unfiltered(activity: Activity) -> Scope:
    """Of a policy about this kind of activity that has no filter."""
    match activity:
        case WalletActivity() | IncomingTransaction():
            return Scope("it has no filter", activity.subjects)
        case ChangeActivity():
            return Scope("it concerns the change")
        case VaultActivity():
            return Scope("it concerns the vault")


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
