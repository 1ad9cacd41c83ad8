"""Running policy tests: what a case expects is compared with what the evaluator of the server says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

from countersign.api.wire import UNSET
from countersign.encoding import dates
from countersign.policies import approvals, assets, explain, validate
from countersign.policies.activity import (
    Activity,
    ChangeActivity,
    IncomingTransaction,
    VaultActivity,
    Wallet,
    WalletActivity,
)
from countersign.policies.approvals import ApprovalState, Member
from countersign.policies.evaluate import Outcome, PendingApproval, evaluate
from countersign.policies.facts import Facts, PastActivity, Provider, Screening, ScreeningAlert, Unscreened
from countersign.policies.prices import Quote
from countersign.policies.scenario import (
    ActivityFixture,
    BadScenario,
    Case,
    Expected,
    ExpectedVote,
    Scenario,
    ScreeningFixture,
    User,
    WalletFixture,
    World,
)
from countersign.policies.scene import MINUTE_MS
from countersign.policies.types import Currency, Policy, PolicyStatus, policy_of

_PROVIDERS: tuple[Provider, ...] = ("Chainalysis", "GlobalLedger", "Notabene")


@dataclass(frozen=True, slots=True)
class CaseResult:
    """How a case went: it passed when ``differences`` is empty."""

    id: str
    title: str
    differences: tuple[str, ...]
    explanation: tuple[str, ...]
    tree: Mapping[str, Any] = field(default_factory=dict)


def run(scenario: Scenario) -> list[CaseResult]:
    """All cases, in order; raises ``BadScenario`` for what can't be read inside one."""
    return [run_case(case, scenario) for case in scenario.cases]


def read_policies(values: Sequence[Mapping[str, Any]], users: Sequence[User]) -> list[Policy]:
    """Policies as a test file holds them: like those of the API, the name may be left out."""
    result: list[Policy] = []
    known = [user.id for user in users] or None
    for index, value in enumerate(values):
        policy = _policy(value, index, known)
        if isinstance(policy, validate.Invalid):
            raise BadScenario(f"policy {value.get('id', index)}: {policy.message}")
        result.append(policy)
    if len({policy.id for policy in result}) != len(result):
        raise BadScenario("two policies have the same id")
    return result


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a case hands to the evaluator."""

    activity: Activity
    policies: list[Policy]
    facts: Facts


def prepare(case: Case, scenario: Scenario) -> Prepared:
    """Activity, policies and facts of a case in its world; raises ``BadScenario``."""
    world = world_of(scenario, case)
    try:
        if case.activity is UNSET:
            raise BadScenario("needs an activity or createPolicy")
        policies = read_policies(_or(world.policies, []), _or(world.users, []))
        activity = _activity(case.activity, _or(world.wallets, []))
        return Prepared(activity, policies, _facts(case.activity, activity, world))
    except ValueError as error:
        raise BadScenario(f"case {case.id}: {error}") from None


def run_case(case: Case, scenario: Scenario) -> CaseResult:
    """One case in its world; raises ``BadScenario``."""
    world = world_of(scenario, case)
    users = _or(world.users, [])
    if case.create_policy is not UNSET:
        return _run_creation(case, case.create_policy, [user.id for user in users])
    prepared = prepare(case, scenario)
    activity = prepared.activity
    outcome = evaluate(activity, prepared.policies, prepared.facts)
    differences = list(_outcome_differences(case.expect, outcome, activity.requested_at))
    if isinstance(outcome, PendingApproval):
        switch = _or(world.org_allows_service_account_approvers, True)
        differences += _vote_differences(case, outcome, activity, users, switch)
    elif case.decisions:
        differences.append("there are votes, but nothing is held")
    explanation = tuple(explain.lines(outcome))
    return CaseResult(case.id, case.title, tuple(differences), explanation, explain.tree(outcome))


def _run_creation(case: Case, value: Mapping[str, Any], users: Sequence[str]) -> CaseResult:
    policy = _policy(value, 0, users or None)
    if not isinstance(policy, validate.Invalid):
        missing = () if case.expect.outcome != "InvalidPolicy" else ("the policy is accepted",)
        return CaseResult(case.id, case.title, missing, ("the policy is valid",))
    differences = []
    codes = [problem.code for problem in policy.problems]
    if case.expect.outcome != "InvalidPolicy":
        differences.append(f"expected {case.expect.outcome}, but the policy is refused")
    if case.expect.reason is not UNSET and case.expect.reason not in codes:
        differences.append(f"expected the reason {case.expect.reason}, got {', '.join(codes)}")
    if case.expect.http is not UNSET and case.expect.http != policy.problems[0].status:
        differences.append(f"expected status {case.expect.http}, got {policy.problems[0].status}")
    return CaseResult(case.id, case.title, tuple(differences), (f"InvalidPolicy: {policy.message}",))


def _policy(value: Mapping[str, Any], index: int, users: Sequence[str] | None) -> Policy | validate.Invalid:
    body = {name: member for name, member in value.items() if name not in ("id", "status")}
    identity, status = value.get("id", f"policy-{index + 1}"), value.get("status", "Active")
    read = validate.read({"name": identity, **body}, users)
    if isinstance(read, validate.Invalid):
        return read
    try:
        checked: PolicyStatus = msgspec.convert(status, PolicyStatus)
    except msgspec.ValidationError as error:
        return validate.Invalid((validate.Problem("schema", "status", str(error)),))
    return policy_of(str(identity), read, status=checked)


def world_of(scenario: Scenario, case: Case | None = None) -> World:
    """The world of a file, or of one case in it: each part from where it is said closest."""
    layers: list[World] = [scenario] if case is None else [case, scenario]
    if scenario.fixtures is not UNSET:
        layers.append(scenario.fixtures)
    chosen = {
        name: next((value for layer in layers if (value := getattr(layer, name)) is not UNSET), UNSET)
        for name in World.__struct_fields__
    }
    return World(**chosen)


def _activity(given: ActivityFixture, wallets: Sequence[WalletFixture]) -> Activity:
    at = dates.from_iso(given.at)
    by_id = {wallet.id: wallet for wallet in wallets}
    if given.wallet_id is not UNSET and given.wallet_id not in by_id:
        raise BadScenario(f"there is no wallet {given.wallet_id}")
    wallet = None if given.wallet_id is UNSET else by_id[given.wallet_id]
    network = wallet.network if given.network is UNSET and wallet is not None else _or(given.network, None)
    if given.kind == "Wallets:IncomingTransaction":
        if wallet is None:
            raise BadScenario("an incoming transaction needs a walletId")
        delegated = wallet.delegated_to is not UNSET
        return IncomingTransaction(_wallet(wallet), network, at, given.body, delegated=delegated)
    if given.initiator is None:
        raise BadScenario("the activity needs an initiator")
    if given.kind == "Wallets:Sign":
        if given.api is UNSET or (wallet is None) == (given.key_id is UNSET):
            raise BadScenario("it needs an api, and either a walletId or a keyId")
        concerned = [wallet] if wallet is not None else [one for one in wallets if one.key_id == given.key_id]
        return WalletActivity(
            api=given.api,
            wallets=tuple(_wallet(one) for one in concerned),
            network=network,
            body=given.body,
            initiator_id=given.initiator,
            requested_at=at,
            key_id=_or(given.key_id, None),
            delegated=any(one.delegated_to is not UNSET for one in concerned),
        )
    if given.kind == "Vaults:ReleaseQuarantine" or given.kind == "Vaults:CreateLock":
        vault_id = _or(given.vault_id, "")
        return VaultActivity(given.kind, vault_id, frozenset(given.vault_tags), given.initiator, at)
    return ChangeActivity(given.kind, given.initiator, at, _or(given.permission_id, None), _or(given.policy_id, None))


def _wallet(fixture: WalletFixture) -> Wallet:
    return Wallet(fixture.id, frozenset(fixture.tags))


def _facts(given: ActivityFixture, activity: Activity, world: World) -> Facts:
    history: dict[str, list[PastActivity]] = {}
    if isinstance(activity, WalletActivity):
        history = {subject: [] for subject in activity.subjects}
    for past in _or(world.history, []):
        subject = _or(past.wallet_id, _or(past.key_id, ""))
        recorded: dict[Currency, Decimal | None] = {"USD": past.usd, "EUR": past.eur}
        values = {currency: value for currency, value in recorded.items() if value is not None}
        entry = PastActivity(dates.from_iso(past.at), past.status, values, past.uncertain)
        history.setdefault(subject, []).append(entry)
    quotes = {
        (_asset(name), currency): [Quote("pinned", price, None)]
        for name, by_currency in _or(world.prices, {}).items()
        for currency, price in by_currency.items()
    }
    decimals = {_asset(name): number for name, number in _or(world.decimals, {}).items()}
    screenings: dict[Provider, Screening] = {}
    if given.screening is not UNSET:
        result = _screening(given.screening)
        screenings = dict.fromkeys(_PROVIDERS, result)
    return Facts(quotes=quotes, decimals=decimals, history=history, screenings=screenings)


def _asset(name: str) -> assets.Asset:
    network, _, tid = name.partition("/")
    asset = assets.of_tid(network, tid)
    if asset is None:
        raise BadScenario(f"{name} is no asset: write network/tid, such as Ethereum/native:eth")
    return asset


def _screening(given: ScreeningFixture) -> Screening:
    situations: list[tuple[bool, Unscreened]] = [
        (given.unscreenable, "unscreenable"),
        (given.unsupported_network, "unsupportedNetwork"),
        (given.unsupported_asset, "unsupportedAsset"),
        (given.failure, "failure"),
    ]
    return Screening(
        missing=next((name for is_so, name in situations if is_so), None),
        alerts=tuple(ScreeningAlert(alert.alert_level, alert.category_id) for alert in given.alerts),
        exposures=() if given.direct_exposure is UNSET else (given.direct_exposure.category_id,),
        addresses=tuple(address.category_id for address in given.addresses),
        risk_score=_or(given.risk_score, None),
        travel_rule=_or(given.travel_rule, None),
    )


def _outcome_differences(expected: Expected, outcome: Outcome, requested_at: int) -> list[str]:
    differences = []
    actual = type(outcome).__name__
    if actual != expected.outcome:
        differences.append(f"expected {expected.outcome}, got {actual}")
    for name, wanted, got in (
        ("triggered", expected.triggered, outcome.triggered),
        ("skipped", expected.skipped, outcome.skipped),
    ):
        if wanted is not UNSET and wanted != got:
            differences.append(f"expected {name} {wanted}, got {got}")
    if expected.expires_after_minutes is not UNSET:
        expires_at = outcome.expires_at if isinstance(outcome, PendingApproval) else None
        minutes = None if expires_at is None else (expires_at - requested_at) // MINUTE_MS
        if minutes != expected.expires_after_minutes:
            differences.append(f"expected expiry after {expected.expires_after_minutes} minutes, got {minutes}")
    return differences


def _vote_differences(
    case: Case, outcome: PendingApproval, activity: Activity, users: Sequence[User], service_accounts_allowed: bool
) -> list[str]:
    members = {user.id: Member(user.id, user.kind, user.active) for user in users}
    can_vote = {user.id for user in users if user.can_vote}
    state = ApprovalState(activity.initiator_id or "", outcome.groups, outcome.expires_at)
    now = activity.requested_at
    answers: list[ExpectedVote] = []
    for vote in case.decisions:
        now = dates.from_iso(vote.at)
        named = vote.deactivate if vote.deactivate is not UNSET else vote.by
        if named is UNSET or named not in members:
            raise BadScenario(f"case {case.id}: there is no user {named or ''} who could vote")
        if vote.deactivate is not UNSET:
            members[named] = Member(named, members[named].kind, active=False)
            answers.append(ExpectedVote(http=200, approval_status=approvals.status_at(state, now)))
            continue
        if vote.value is UNSET:
            raise BadScenario(f"case {case.id}: the vote of {named} says neither Approved nor Denied")
        if named not in can_vote:
            answers.append(ExpectedVote(http=403, approval_status=approvals.status_at(state, now)))
            continue
        result = approvals.decide(state, members[named], vote.value, now, members, service_accounts_allowed)
        match result:
            case approvals.Counted():
                state, http = result.state, 200
            case approvals.NotPending():
                http = 412
            case approvals.NotEligible():
                http = 403
            case approvals.VotedBefore():
                http = 409
        answers.append(ExpectedVote(http=http, approval_status=approvals.status_at(state, now)))
    differences = []
    if case.expect.decisions is not UNSET and case.expect.decisions != answers:
        wanted = [f"{one.http} {one.approval_status}" for one in case.expect.decisions]
        differences.append(f"expected votes {wanted}, got {[f'{one.http} {one.approval_status}' for one in answers]}")
    final = approvals.status_at(state, dates.from_iso(case.final_at) if case.final_at is not UNSET else now)
    if case.expect.final_approval_status not in (UNSET, final):
        differences.append(f"expected the approval to end {case.expect.final_approval_status}, got {final}")
    return differences


def _or(value: Any, otherwise: Any) -> Any:
    return otherwise if value is UNSET else value
