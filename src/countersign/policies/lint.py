"""Traps in a set of valid policies: what can never be approved, never match, or be approved by the one who started it.

Findings are judged for the people and wallets as they are now; a set without findings is no proof of a good one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from countersign.api.wire import UNSET
from countersign.encoding.counted import counted
from countersign.policies import types
from countersign.policies.activity import Activity, IncomingTransaction, Wallet, WalletActivity
from countersign.policies.approvals import Member, may_approve, possible_approvers
from countersign.policies.evaluate import scope_of
from countersign.policies.networks import EVM_NETWORKS, KNOWN_NETWORKS, is_evm_address, same_address
from countersign.policies.types import ApprovalGroup, Policy, RequestApproval

Severity = Literal["error", "warning", "info"]
LintCode = Literal[
    "quorum-too-large",
    "governance-lock",
    "locked-for-everyone",
    "locked-for-some",
    "sole-approver",
    "approver-cannot-vote",
    "self-approval",
    "filter-matches-nothing",
    "rule-never-matches",
    "address-never-matches",
    "whitelist-empty",
    "whitelists-disjoint",
    "blocks-everything",
    "native-has-second-name",
    "policies-unguarded",
    "tags-movable",
]
#: The worst first.
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
_GOVERNANCE = ("Policies:Modify", "Permissions:Modify", "Permissions:Assign")

#: Native assets that can be moved under a second name too, so that a limit on one of the names is none on the other.
_SECOND_NAMES = {
    ("ArcTestnet", "native:usdc"): "erc20:0x3600000000000000000000000000000000000000",
    ("Celo", "native:celo"): "erc20:0x471ece3750da237f93b8e339c536989b8978a438",
    ("Polygon", "native:pol"): "erc20:0x0000000000000000000000000000000000001010",
    ("Starknet", "native:strk"): "snip2:0x04718f5a0fc34cc1af16a1cdee98ffb20c31f5cd61d6ab07201858f4287c938d",
    ("Sui", "native:sui"): f"coin:0x{2:064x}::sui::SUI",
    ("Aptos", "native:apt"): f"aip21:0x{10:064x}",
}


@dataclass(frozen=True, slots=True)
class LintWallet:
    """A wallet that policies may be about."""

    id: str
    network: str
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Finding:
    """A trap. ``policy_id`` None: it lies in the set, not in one policy. ``error``: it can't be meant like that."""

    severity: Severity
    code: LintCode
    policy_id: str | None
    message: str


def lint(
    policies: Sequence[Policy],
    members: Collection[Member],
    wallets: Collection[LintWallet] | None = None,
    initiators: Collection[str] | None = None,
    service_accounts_allowed: bool = True,
    voters: Collection[str] | None = None,
) -> list[Finding]:
    """All findings, the worst first.

    ``wallets`` None leaves out what needs them. ``initiators``: ids of who may start activities; None: every active
    person and service account. ``service_accounts_allowed``: the organisation's switch for approvals of theirs.
    ``voters``: ids of who holds the permission to vote; None: everybody.
    """
    active = [policy for policy in policies if policy.status == "Active"]
    people = _People(members, initiators, service_accounts_allowed, voters)
    findings: list[Finding] = []
    for policy in active:
        if isinstance(policy.action, RequestApproval):
            findings.extend(_approval_findings(policy, policy.action, people))
        findings.extend(_rule_findings(policy))
        if wallets is not None and policy.activity_kind in ("Wallets:Sign", "Wallets:IncomingTransaction"):
            findings.extend(_wallet_findings(policy, wallets))
    findings.extend(_whitelist_findings(active))
    findings.extend(_guard_findings(active))
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


class _People:
    def __init__(
        self,
        members: Collection[Member],
        initiators: Collection[str] | None,
        service_accounts_allowed: bool,
        voters: Collection[str] | None,
    ) -> None:
        self.members = members
        self.voters = [one for one in members if voters is None or one.id in voters]
        self.allowed = service_accounts_allowed
        self.initiators = [
            one
            for one in members
            if one.active and (one.kind != "EndUser" if initiators is None else one.id in initiators)
        ]

        #: Who changes governance: a service account that could do it still leaves the people locked out.
        self.governors = [one for one in self.initiators if one.is_human] or self.initiators

    def able(self, group: ApprovalGroup, initiator_id: str | None) -> list[Member]:
        return possible_approvers(group, self.voters, initiator_id, self.allowed)


def _approval_findings(policy: Policy, action: RequestApproval, people: _People) -> Iterator[Finding]:
    governance = policy.activity_kind in _GOVERNANCE
    lasts = "" if isinstance(action.auto_reject_timeout, int) else "; without a timeout it waits for ever"
    for index, group in enumerate(action.approval_groups):
        name = f"group {group.name!r}" if isinstance(group.name, str) else f"group {index + 1}"
        yield from _listed_findings(policy, group, name, people)
        able = people.able(group, None)
        if len(able) < group.quorum:
            message = f"{name} needs {counted(group.quorum, 'approval')}, but only {len(able)} can give one{lasts}"
            yield Finding("error", "quorum-too-large", policy.id, message)
            continue
        initiators = people.governors if governance else people.initiators
        stuck = [one.id for one in initiators if len(people.able(group, one.id)) < group.quorum]
        if not stuck:
            continue
        if len(stuck) == len(initiators):
            code: LintCode = "governance-lock" if policy.activity_kind == "Policies:Modify" else "locked-for-everyone"
            consequence = (
                "no policy that it guards, itself among them, can be changed" if governance else "nothing passes"
            )
            message = f"whoever starts something is missing in {name}: {consequence}{lasts}"
            yield Finding("error", code, policy.id, message)
        elif len(able) == 1:
            message = f"{able[0].id} alone approves in {name}, but not what the same account starts{lasts}"
            yield Finding("warning", "sole-approver", policy.id, message)
        else:
            message = f"{name} can't reach {group.quorum} for what {', '.join(stuck)} may start{lasts}"
            yield Finding("warning", "locked-for-some", policy.id, message)
    yield from _self_approval(policy, action, people)


def _listed_findings(policy: Policy, group: ApprovalGroup, name: str, people: _People) -> Iterator[Finding]:
    if group.approvers.user_id is UNSET:
        return
    known = {one.id: one for one in people.members}
    for user_id in dict.fromkeys(group.approvers.user_id.in_):
        member = known.get(user_id)
        if member in people.voters and member is not None and may_approve(group, member, None, people.allowed):
            continue
        if member is None:
            why = "nobody of this organisation"
        elif not member.active:
            why = "deactivated"
        elif member.kind == "EndUser":
            why = "an end user, and end users never vote"
        elif member not in people.voters:
            why = "without the permission to vote"
        elif not people.allowed:
            why = "a service account, and the organisation does not let those approve"
        else:
            why = "a service account, and the group lacks serviceAccountsCanApprove"
        yield Finding("warning", "approver-cannot-vote", policy.id, f"{user_id} of {name} can't vote: {why}")


def _self_approval(policy: Policy, action: RequestApproval, people: _People) -> Iterator[Finding]:
    alone = [
        one.id
        for one in people.initiators
        if one in people.voters
        and action.approval_groups
        and all(
            group.quorum <= 1 and may_approve(group, one, one.id, people.allowed) for group in action.approval_groups
        )
    ]
    if alone:
        severity: Severity = "error" if policy.activity_kind in _GOVERNANCE else "warning"
        message = f"{', '.join(alone)} can start something and approve it alone: initiatorCanApprove with a quorum of 1"
        yield Finding(severity, "self-approval", policy.id, message)


def _rule_findings(policy: Policy) -> Iterator[Finding]:
    rule, unfiltered = policy.rule, policy.filters is UNSET or policy.filters == types.Filters()
    if isinstance(rule, types.AlwaysTrigger) and isinstance(policy.action, types.Block) and unfiltered:
        message = f"it refuses every activity of {policy.activity_kind}; other policies of that kind are without effect"
        yield Finding("warning", "blocks-everything", policy.id, message)
    if isinstance(rule, types.TransactionRecipientWhitelist) and not rule.configuration.addresses:
        yield Finding("warning", "whitelist-empty", policy.id, "an empty list of recipients is nobody, not everybody")
    if isinstance(rule, types.TransactionAmountLimitNominal):
        listed = {(one.network, one.tid) for one in rule.configuration.assets}
        for network, tid in sorted(listed):
            if network not in KNOWN_NETWORKS:
                message = f"{network} is no network that is known here; a limit on it may never match"
                yield Finding("warning", "rule-never-matches", policy.id, message)
            second = _SECOND_NAMES.get((network, tid))
            if second is not None and (network, second) not in listed:
                message = f"{tid} of {network} can be moved as {second} too, which is not listed: list both"
                yield Finding("warning", "native-has-second-name", policy.id, message)
    if policy.filters is not UNSET and (policy.filters.wallet_tags, policy.filters.vault_tags) != (UNSET, UNSET):
        what = "Wallets:Tags:Remove" if policy.filters.wallet_tags is not UNSET else "Vaults:Tags:Remove"
        message = f"whoever holds {what} can take something out of its reach by taking a tag away"
        yield Finding("info", "tags-movable", policy.id, message)


def _wallet_findings(policy: Policy, wallets: Collection[LintWallet]) -> Iterator[Finding]:
    reached = [wallet for wallet in wallets if _reaches(policy, wallet)]
    if not reached:
        if wallets and policy.filters is not UNSET:
            yield Finding("warning", "filter-matches-nothing", policy.id, "its filter matches none of the wallets")
        return
    networks = {wallet.network for wallet in reached}
    if isinstance(policy.rule, types.TransactionAmountLimitNominal):
        for one in policy.rule.configuration.assets:
            if one.network in KNOWN_NETWORKS and one.network not in networks:
                message = f"{one.network}/{one.tid} is listed, but none of its wallets is on {one.network}"
                yield Finding("warning", "rule-never-matches", policy.id, message)
    if isinstance(policy.rule, types.TransactionRecipientWhitelist) and networks <= EVM_NETWORKS:
        for address in policy.rule.configuration.addresses:
            if not is_evm_address(address):
                message = f"{address} is no address on {', '.join(sorted(networks))}: it never matches"
                yield Finding("warning", "address-never-matches", policy.id, message)


def _reaches(policy: Policy, wallet: LintWallet) -> bool:
    concerned = Wallet(wallet.id, wallet.tags)
    activity: Activity = IncomingTransaction(concerned, wallet.network, 0)
    if policy.activity_kind == "Wallets:Sign":
        activity = WalletActivity("transfer", (concerned,), wallet.network, {}, "", 0)
    return not isinstance(scope_of(policy, activity), str)


def _whitelist_findings(policies: Sequence[Policy]) -> Iterator[Finding]:
    lists = [
        (policy, policy.rule.configuration.addresses)
        for policy in policies
        if isinstance(policy.rule, types.TransactionRecipientWhitelist)
        and policy.rule.configuration.addresses
        and not isinstance(policy.action, types.NoAction)
    ]
    for index, (policy, addresses) in enumerate(lists):
        for other, others in lists[index + 1 :]:
            if policy.filters == other.filters and not _common(addresses, others):
                message = f"it and {other.id} have no address in common: every recipient is refused by one of them"
                yield Finding("warning", "whitelists-disjoint", policy.id, message)


def _common(first: Sequence[str], second: Sequence[str]) -> bool:
    # Without regard to case, as on the networks that compare so: then no list is called disjoint that is not.
    return any(same_address("Ethereum", one, other) for one in first for other in second)


def _guard_findings(policies: Sequence[Policy]) -> Iterator[Finding]:
    guards = [policy for policy in policies if policy.activity_kind == "Policies:Modify"]
    covered: set[str] = set()
    for guard in guards:
        if guard.filters is UNSET or guard.filters.policy_id is UNSET:
            return
        covered.update(guard.filters.policy_id.in_)
    exposed = [
        policy.id for policy in policies if policy.id not in covered and not isinstance(policy.action, types.NoAction)
    ]
    if exposed:
        message = f"whoever holds Policies:Update or Policies:Delete can undo {', '.join(exposed)} alone: guard them"
        yield Finding("warning", "policies-unguarded", None, f"{message} with a policy on Policies:Modify")
