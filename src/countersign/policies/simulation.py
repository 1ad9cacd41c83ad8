"""What would happen with an activity, under the policies in force or under a draft of them; nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from countersign.api import UNSET, ApiError, Caller, UnsetType, Wire, not_found, validation
from countersign.encoding.dates import to_iso
from countersign.policies import explain, policies, recorded
from countersign.policies.activity import (
    Activity,
    ChangeActivity,
    IncomingTransaction,
    VaultActivity,
    Wallet,
    WalletActivity,
    WalletApi,
)
from countersign.policies.book import BOOK, read_revision
from countersign.policies.evaluate import Blocked, Cleared, Outcome, PendingApproval, needed_facts
from countersign.policies.facts import Facts, NeededFacts
from countersign.policies.judging import History, judge, no_history
from countersign.policies.types import ActivityKind, ApprovalGroup, Policy, policy_of
from countersign.storage import Transaction

#: What else somebody has to hold who asks about a key or about a signature request.
READ_SIGNATURES = "Keys:Signatures:Read"


class SimulatedActivity(Wire):
    """What somebody would do, now. ``initiatorId``: who; the caller where it is left out.

    ``Wallets:Sign`` needs a ``keyId``, for a signature that is asked of a key, or a ``walletId`` with the ``api`` that
    is used; ``body`` is the body of that request. Of a wallet counts what is said here: ``walletTags``, ``network``.
    """

    kind: ActivityKind
    initiator_id: str | UnsetType = UNSET
    key_id: str | UnsetType = UNSET
    wallet_id: str | UnsetType = UNSET
    wallet_tags: list[str] = msgspec.field(default_factory=list)
    network: str | UnsetType = UNSET
    api: WalletApi = "signature"
    body: dict[str, Any] = msgspec.field(default_factory=dict)
    permission_id: str | UnsetType = UNSET
    policy_id: str | UnsetType = UNSET
    vault_id: str | UnsetType = UNSET
    vault_tags: list[str] = msgspec.field(default_factory=list)


class Simulate(Wire):
    """Either an ``activity``, or the id of a signature request or change request that was made.

    ``policies``: a draft, as policies are created, each with an ``id`` if it is to have one; ``mode`` says whether it
    is asked instead of the active policies, or together with them: then one with the id of an active policy takes its
    place.
    """

    activity: SimulatedActivity | UnsetType = UNSET
    request_id: str | UnsetType = UNSET
    policies: list[dict[str, Any]] | UnsetType = UNSET
    mode: Literal["Replace", "Add"] = "Replace"


class SimulatedPolicy(Wire):
    """What one policy says. ``concerned``: whether it is asked; ``filter``: why, or why not."""

    policy_id: str
    name: str
    concerned: bool
    filter: str
    rule: str | UnsetType = UNSET
    action: str | UnsetType = UNSET
    triggered: bool | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    context: dict[str, Any] | UnsetType = UNSET


class Simulation(Wire):
    """What would happen, and why.

    ``policyIds``: those that block. ``approvalGroups``, ``expirationDate``: of the approval that it would wait for.
    ``reason``: why no policy is asked. ``explanation``: the same in lines for people.
    """

    outcome: Literal["Cleared", "PendingApproval", "Blocked"]
    activity_kind: ActivityKind
    triggered: list[str]
    skipped: list[str]
    policies: list[SimulatedPolicy]
    explanation: list[str]
    policy_ids: list[str] | UnsetType = UNSET
    approval_groups: list[ApprovalGroup] | UnsetType = UNSET
    expiration_date: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class Question:
    """An activity, the policies to ask about it, and what they have to be told that no transaction can bring.

    Of what was asked for before, prices are not needed: they were others then.
    """

    activity: Activity
    policies: Sequence[Policy]
    history: History
    needed: NeededFacts


def prepare(caller: Caller, asked: Simulate, drafts: Sequence[Policy] | None, now: int) -> Transaction[Question]:
    """What to ask. ``drafts``: of :func:`read_drafts`.

    404 for a key or a request that does not exist; 403 for who may not read the signatures of keys and asks about them:
    a draft would tell how many there were, and what was in each.
    """
    org_id = caller.org_id
    if (asked.activity is UNSET) == (asked.request_id is UNSET):
        raise validation("activity", "give either an activity or a requestId")
    if drafts is not None:
        yield from policies.require_approvers(org_id, drafts)
    if asked.activity is not UNSET:
        activity, history = yield from _described(caller, asked.activity, now)
    else:
        activity, history = yield from _recorded(org_id, str(asked.request_id))
        if isinstance(activity, WalletActivity):
            _require_reader(caller)
    chosen = yield from policies_for(org_id, activity.kind, drafts, added=asked.mode == "Add")
    needed = NeededFacts() if asked.activity is UNSET else needed_facts(activity, chosen)
    return Question(activity, chosen, history, needed)


def simulate(org_id: str, question: Question, facts: Facts) -> Transaction[Simulation]:
    """Ask the policies; ``facts``: what is needed, as far as it is known."""
    activity = question.activity
    outcome = yield from judge(org_id, activity, question.policies, facts, question.history, in_turn=False)
    return show(activity, outcome)


def policies_for(
    org_id: str, kind: ActivityKind, drafts: Sequence[Policy] | None, *, added: bool
) -> Transaction[Sequence[Policy]]:
    """The policies to ask: the active ones of the kind, a draft of all, or both."""
    if drafts is not None and not added:
        return drafts
    active = yield from BOOK.of(org_id, (yield from read_revision(org_id)), kind)
    if drafts is None:
        return active
    drafted = {policy.id for policy in drafts}
    return (*(policy for policy in active if policy.id not in drafted), *drafts)


def read_drafts(values: Sequence[dict[str, Any]] | UnsetType) -> list[Policy] | None:
    """Policies as a client drafted them. 400, as for their creation, names the first that could not be created."""
    if values is UNSET:
        return None
    drafts = []
    for index, value in enumerate(values):
        at = f"policies[{index}]"
        named = value.get("id", f"draft-{index + 1}")
        if not isinstance(named, str):
            raise validation(f"{at}.id", "an id is a text")
        body = policies.read_body({name: member for name, member in value.items() if name != "id"}, at=f"{at}.")
        drafts.append(policy_of(named, body))
    if len({policy.id for policy in drafts}) != len(drafts):
        raise validation("policies", "two of them have the same id")
    return drafts


def _recorded(org_id: str, entity_id: str) -> Transaction[tuple[Activity, History]]:
    for records in recorded.kinds().values():
        found = yield from records.find(org_id, entity_id)
        if found is not None:
            return found.activity, records.history_of(org_id, found)
    raise not_found("request")


def _described(caller: Caller, given: SimulatedActivity, now: int) -> Transaction[tuple[Activity, History]]:
    by = caller.user_id if given.initiator_id is UNSET else given.initiator_id
    if given.kind == "Wallets:Sign":
        return (yield from _signing(caller, given, by, now))
    if given.kind == "Wallets:IncomingTransaction":
        if given.wallet_id is UNSET:
            raise validation("activity.walletId", "name the wallet that something arrives at")
        wallet = Wallet(given.wallet_id, frozenset(given.wallet_tags))
        return IncomingTransaction(wallet, given.network or None, now, given.body), no_history
    if given.kind == "Vaults:ReleaseQuarantine" or given.kind == "Vaults:CreateLock":
        return VaultActivity(given.kind, given.vault_id or "", frozenset(given.vault_tags), by, now), no_history
    return ChangeActivity(given.kind, by, now, given.permission_id or None, given.policy_id or None), no_history


def _require_reader(caller: Caller) -> None:
    if not caller.may(READ_SIGNATURES):
        raise ApiError("FORBIDDEN", f"{caller.label} is not authorized to perform operation ({READ_SIGNATURES})")


def _signing(caller: Caller, given: SimulatedActivity, by: str, now: int) -> Transaction[tuple[Activity, History]]:
    if (given.key_id is UNSET) == (given.wallet_id is UNSET):
        raise validation("activity.keyId", "name either a key or a wallet")
    if given.wallet_id is not UNSET:
        wallet = Wallet(given.wallet_id, frozenset(given.wallet_tags))
        return WalletActivity(given.api, (wallet,), given.network or None, given.body, by, now), no_history
    if given.api != "signature":
        raise validation("activity.api", "a key is asked for signatures only")
    _require_reader(caller)
    signing = recorded.signing()
    activity = yield from signing.describe(caller.org_id, str(given.key_id), given.body, by, now)
    if activity is None:
        raise not_found("key")
    return activity, signing.history(caller.org_id)


def show(activity: Activity, outcome: Outcome) -> Simulation:
    """An outcome as clients see it."""
    tree = explain.tree(outcome)
    expires_at = outcome.expires_at if isinstance(outcome, PendingApproval) else None
    bypass = outcome.bypass if isinstance(outcome, Cleared) else None
    return Simulation(
        outcome=tree["outcome"],
        activity_kind=activity.kind,
        triggered=outcome.triggered,
        skipped=outcome.skipped,
        policies=msgspec.convert(tree["policies"], list[SimulatedPolicy]),
        explanation=explain.lines(outcome),
        policy_ids=list(outcome.policy_ids) if isinstance(outcome, Blocked) else UNSET,
        approval_groups=list(outcome.groups) if isinstance(outcome, PendingApproval) else UNSET,
        expiration_date=UNSET if expires_at is None else to_iso(expires_at),
        reason=UNSET if bypass is None else bypass,
    )
