"""What makes a policy invalid, each with a stable code and words that say what to change."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import msgspec

from countersign.api.wire import UNSET, UnsetType
from countersign.policies import assets, types
from countersign.policies.facts import Provider
from countersign.policies.rules import provider_of
from countersign.policies.types import ActivityKind, PolicyBody

Code = Literal[
    "schema",
    "name",
    "rule",
    "action",
    "filters",
    "limit",
    "timeframe",
    "assets",
    "addresses",
    "screening",
    "groups",
    "quorum",
    "quorum-unreachable",
    "approvers",
    "timeout",
    "integration",
]

MAX_TIMEFRAME = 43_200
_MAX_ITEMS = 100
_MAX_NAME = 200
_MAX_MINUTES = 10 * 366 * 24 * 60
_MAX_DIGITS = 64
_BASE_UNITS = re.compile(r"0|[1-9][0-9]{0,77}", re.ASCII)

_SIGN_RULES = frozenset(
    {
        "AlwaysTrigger",
        "TransactionAmountLimit",
        "TransactionAmountLimitNominal",
        "TransactionAmountVelocity",
        "TransactionCountVelocity",
        "TransactionRecipientWhitelist",
        "ChainalysisTransactionPrescreening",
        "GlobalLedgerTransactionPrescreening",
        "TravelRuleTransactionPrescreening",
    }
)
_ALWAYS = frozenset({"AlwaysTrigger"})
_HOLD_OR_BLOCK = frozenset({"Block", "RequestApproval"})
_WALLET_FILTERS = frozenset({"walletId", "walletTags"})


@dataclass(frozen=True, slots=True)
class Allowed:
    """Rules, actions and filters that go with a kind of activity."""

    rules: frozenset[str]
    actions: frozenset[str]
    filters: frozenset[str]


ALLOWED: Mapping[ActivityKind, Allowed] = {
    "Wallets:Sign": Allowed(_SIGN_RULES, _HOLD_OR_BLOCK | {"NoAction"}, _WALLET_FILTERS),
    "Wallets:IncomingTransaction": Allowed(
        frozenset({"ChainalysisTransactionScreening"}), frozenset({"NoAction"}), _WALLET_FILTERS
    ),
    "Permissions:Modify": Allowed(_ALWAYS, _HOLD_OR_BLOCK, frozenset({"permissionId"})),
    "Permissions:Assign": Allowed(_ALWAYS, _HOLD_OR_BLOCK, frozenset({"permissionId"})),
    "Policies:Modify": Allowed(_ALWAYS, frozenset({"RequestApproval"}), frozenset({"policyId"})),
    "Registry:Addresses:Modify": Allowed(_ALWAYS, _HOLD_OR_BLOCK, frozenset()),
    "Registry:ContractSchemas:Modify": Allowed(_ALWAYS, _HOLD_OR_BLOCK, frozenset()),
    "Vaults:ReleaseQuarantine": Allowed(
        _ALWAYS | {"ChainalysisQuarantineScreening"}, _HOLD_OR_BLOCK, frozenset({"vaultTags"})
    ),
    "Vaults:CreateLock": Allowed(_ALWAYS, _HOLD_OR_BLOCK, frozenset({"vaultTags"})),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. ``path``: the member, such as ``rule.configuration.limit``."""

    code: Code
    path: str
    message: str

    @property
    def status(self) -> int:
        """HTTP status: 412 where the organisation lacks something, 400 where the body is wrong."""
        return 412 if self.code == "integration" else 400


@dataclass(frozen=True, slots=True)
class Invalid:
    """The policy is refused; ``problems`` holds at least one."""

    problems: tuple[Problem, ...]

    @property
    def message(self) -> str:
        """All problems in one line."""
        return "; ".join(f"{one.path}: {one.message}" if one.path else one.message for one in self.problems)


def read(
    value: Any, users: Collection[str] | None = None, integrations: Collection[Provider] | None = None
) -> PolicyBody | Invalid:
    """A policy out of what a client sent, read by the strict JSON reader; never raises.

    ``users``: ids of the organisation's users and service accounts, ``integrations``: the screening providers that it
    has set up; None leaves out the checks that need them. The body comes back in normal form: conditions that are
    always true are left out where they would not fit the published shape of a policy.
    """
    if isinstance(value, dict) and isinstance(value.get("activityKind"), str):
        kind = value["activityKind"]
        value = {**value, "activityKind": types.OLD_ACTIVITY_KINDS.get(kind, kind)}
    try:
        body: PolicyBody = msgspec.convert(value, PolicyBody)
    except (msgspec.ValidationError, ArithmeticError, ValueError) as error:
        reason, _, path = str(error).partition(" - at `$")
        return Invalid((Problem("schema", path.strip("`.") or "the policy", reason),))
    found = tuple(problems(body, users, integrations))
    return Invalid(found) if found else _normal(body)


def problems(
    body: PolicyBody, users: Collection[str] | None = None, integrations: Collection[Provider] | None = None
) -> Iterator[Problem]:
    """Everything that is wrong with a policy of the right shape."""
    if not 1 <= len(body.name) <= _MAX_NAME:
        yield Problem("name", "name", f"give it a name of 1 to {_MAX_NAME} characters")
    allowed = ALLOWED[body.activity_kind]
    rule, action = types.kind_of(body.rule), types.kind_of(body.action)
    if rule not in allowed.rules:
        yield Problem("rule", "rule.kind", _choose(rule, body.activity_kind, allowed.rules))
    if action not in allowed.actions:
        yield Problem("action", "action.kind", _choose(action, body.activity_kind, allowed.actions))
    elif rule == "TravelRuleTransactionPrescreening" and action != "Block":
        yield Problem("action", "action.kind", "the travel rule can only block; take Block")
    yield from _rule_problems(body.rule)
    yield from _filter_problems(body, allowed)
    if isinstance(body.action, types.RequestApproval):
        yield from _approval_problems(body.action, users)
    provider = provider_of(body.rule)
    if provider is not None and integrations is not None and provider not in integrations:
        yield Problem("integration", "rule.kind", f"set up the integration with {provider} first")


def _choose(kind: str, activity_kind: str, allowed: frozenset[str]) -> str:
    return f"{kind} does not go with {activity_kind}; take {' or '.join(sorted(allowed))}"


def _rule_problems(rule: types.Rule) -> Iterator[Problem]:
    match rule:
        case types.AlwaysTrigger():
            if rule.configuration is not UNSET and rule.configuration:
                yield Problem("rule", "rule.configuration", "AlwaysTrigger takes no configuration; leave it out")
        case types.TransactionAmountLimit():
            yield from _limit_problems(rule.configuration.limit)
        case types.TransactionAmountVelocity():
            yield from _limit_problems(rule.configuration.limit)
            yield from _timeframe_problems(rule.configuration.timeframe)
        case types.TransactionCountVelocity():
            yield from _limit_problems(rule.configuration.limit, whole=True)
            yield from _timeframe_problems(rule.configuration.timeframe)
        case types.TransactionAmountLimitNominal():
            yield from _asset_problems(rule.configuration.assets)
        case types.TransactionRecipientWhitelist():
            for index, address in enumerate(rule.configuration.addresses):
                if not address or address != address.strip():
                    path = f"rule.configuration.addresses[{index}]"
                    yield Problem("addresses", path, "an address is a text without spaces around it")
        case types.ChainalysisTransactionPrescreening():
            yield from _category_problems("addresses", rule.configuration.addresses)
            yield from _screening_problems(rule.configuration)
        case types.ChainalysisTransactionScreening() | types.ChainalysisQuarantineScreening():
            yield from _screening_problems(rule.configuration)
        case types.GlobalLedgerTransactionPrescreening():
            threshold = rule.configuration.risk_score_threshold
            if not threshold.is_finite() or not 0 <= threshold <= 100 or not _is_sane(threshold):
                yield Problem("screening", "rule.configuration.riskScoreThreshold", "take a number from 0 to 100")
        case types.TravelRuleTransactionPrescreening():
            seconds = rule.configuration
            for name, value in (
                ("autoTriggerTimeoutSeconds", seconds.auto_trigger_timeout_seconds),
                ("autoClearAfterDeliveredTimeoutSeconds", seconds.auto_clear_after_delivered_timeout_seconds),
            ):
                if value is not UNSET and not 0 <= value <= _MAX_MINUTES * 60:
                    yield Problem("screening", f"rule.configuration.{name}", "take a number of seconds, 0 or more")


def _is_sane(number: Decimal) -> bool:
    shape = number.as_tuple()
    return len(shape.digits) <= _MAX_DIGITS and isinstance(shape.exponent, int) and abs(shape.exponent) <= _MAX_DIGITS


def _limit_problems(limit: Decimal, *, whole: bool = False) -> Iterator[Problem]:
    path = "rule.configuration.limit"
    if not limit.is_finite() or limit <= 0:
        yield Problem("limit", path, "the limit has to be a number above 0; to stop everything, use AlwaysTrigger")
    elif not _is_sane(limit):
        yield Problem("limit", path, f"the limit has more than {_MAX_DIGITS} digits or so large an exponent")
    elif whole and limit != limit.to_integral_value():
        yield Problem("limit", path, "the limit of a number of activities has to be a whole number")


def _timeframe_problems(timeframe: int) -> Iterator[Problem]:
    if not 1 <= timeframe <= MAX_TIMEFRAME:
        message = f"the timeframe has to be 1 to {MAX_TIMEFRAME} minutes (30 days)"
        yield Problem("timeframe", "rule.configuration.timeframe", message)


def _asset_problems(listed: list[types.AssetLimit]) -> Iterator[Problem]:
    if not 1 <= len(listed) <= _MAX_ITEMS:
        yield Problem("assets", "rule.configuration.assets", f"list 1 to {_MAX_ITEMS} assets")
    seen: set[assets.Asset] = set()
    for index, one in enumerate(listed):
        path = f"rule.configuration.assets[{index}]"
        asset = assets.of_tid(one.network, one.tid) if one.network else None
        if asset is None:
            native = assets.native(one.network).tid
            message = (
                f"not the canonical id of a fungible asset on {one.network or 'a network'}; write {native} for its"
                " native asset, or a token like erc20:0x... with the contract in lower case"
            )
            yield Problem("assets", f"{path}.tid", message)
        elif asset in seen:
            yield Problem("assets", path, f"{asset} is listed twice; keep the limit that is meant")
        else:
            seen.add(asset)
        if not _BASE_UNITS.fullmatch(one.limit):
            message = "the limit has to be a whole number of base units, as a string of digits"
            yield Problem("assets", f"{path}.limit", message)


def _screening_problems(rule: types.QuarantineScreening) -> Iterator[Problem]:
    yield from _category_problems("alerts", rule.alerts)
    yield from _category_problems("exposures.direct", rule.exposures.direct)
    if isinstance(rule, types.IncomingScreening) and rule.user_id_template is not UNSET:
        template = rule.user_id_template
        if len(template) > _MAX_NAME:
            message = f"the template may have {_MAX_NAME} characters"
            yield Problem("screening", "rule.configuration.userIdTemplate", message)


def _category_problems(where: str, categories: types.Categories) -> Iterator[Problem]:
    if any(category <= 0 for category in categories.category_ids):
        path = f"rule.configuration.{where}.categoryIds"
        yield Problem("screening", path, "category ids are whole numbers above 0")


def _filter_problems(body: PolicyBody, allowed: Allowed) -> Iterator[Problem]:
    if body.filters is UNSET:
        return
    given: dict[str, types.Ids | types.TagFilter | UnsetType] = {
        "walletId": body.filters.wallet_id,
        "walletTags": body.filters.wallet_tags,
        "permissionId": body.filters.permission_id,
        "policyId": body.filters.policy_id,
        "vaultTags": body.filters.vault_tags,
    }
    for name, condition in given.items():
        if condition is UNSET:
            continue
        if name not in allowed.filters:
            fitting = f"take {' or '.join(sorted(allowed.filters))}" if allowed.filters else "leave the filters out"
            message = f"{name} is no filter of {body.activity_kind}; {fitting}"
            yield Problem("filters", f"filters.{name}", message)
            continue
        lists = (
            {"in": condition.in_}
            if isinstance(condition, types.Ids)
            else {"hasAny": condition.has_any, "hasAll": condition.has_all}
        )
        for member, items in lists.items():
            if items is not UNSET:
                yield from _list_problems(
                    "filters", f"filters.{name}.{member}", items, empty_allowed=member == "hasAll"
                )


def _list_problems(code: Code, path: str, items: list[str], *, empty_allowed: bool = False) -> Iterator[Problem]:
    if not items and not empty_allowed:
        yield Problem(code, path, "an empty list matches nothing; list at least one, or leave it out")
    if len(items) > _MAX_ITEMS:
        yield Problem(code, path, f"list at most {_MAX_ITEMS}")
    if "" in items:
        yield Problem(code, path, "an empty text names nothing; take it out")


def _approval_problems(action: types.RequestApproval, users: Collection[str] | None) -> Iterator[Problem]:
    timeout = action.auto_reject_timeout
    if isinstance(timeout, int) and not 1 <= timeout <= _MAX_MINUTES:
        message = f"take 1 to {_MAX_MINUTES} minutes, or leave it out to wait for ever"
        yield Problem("timeout", "action.autoRejectTimeout", message)
    if not action.approval_groups:
        yield Problem("groups", "action.approvalGroups", "name at least one group of people who may approve")
    for index, group in enumerate(action.approval_groups):
        path = f"action.approvalGroups[{index}]"
        if group.quorum < 1:
            yield Problem("quorum", f"{path}.quorum", "the quorum has to be at least 1")
        if group.approvers.user_id is UNSET:
            continue
        listed = group.approvers.user_id.in_
        approvers = f"{path}.approvers.userId.in"
        yield from _list_problems("approvers", approvers, listed)
        distinct = len(set(listed))
        if listed and group.quorum > distinct:
            message = f"{distinct} can't reach a quorum of {group.quorum}; lower it or list more approvers"
            yield Problem("quorum-unreachable", f"{path}.quorum", message)
        for user_id in sorted(set(listed) - set(users)) if users is not None else ():
            yield Problem("approvers", approvers, f"{user_id} is nobody of this organisation")


#: Kinds whose published shape of ``filters`` has no room for an empty one.
_FILTER_NEEDS_CONDITION = frozenset({"Permissions:Modify", "Permissions:Assign", "Policies:Modify"})


def _normal(body: PolicyBody) -> PolicyBody:
    filters = body.filters
    if filters is UNSET:
        return body
    changes: dict[str, types.TagFilter] = {}
    for name, tags in (("wallet_tags", filters.wallet_tags), ("vault_tags", filters.vault_tags)):
        if tags is not UNSET and tags.has_all is not UNSET and not tags.has_all:
            changes[name] = msgspec.structs.replace(tags, has_all=UNSET)
    if changes:
        filters = msgspec.structs.replace(filters, **changes)
    if body.activity_kind in _FILTER_NEEDS_CONDITION and filters == types.Filters():
        return msgspec.structs.replace(body, filters=UNSET)
    return msgspec.structs.replace(body, filters=filters)
