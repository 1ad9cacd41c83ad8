"""Wire types of policies and approvals.

What is a matter of shape is decided here; ranges and which rule, action and filter go with which kind of activity
are for ``validate``, which says in words what to change. Numbers of fiat money are exact decimals: a body has to be
read by the strict JSON reader before it is converted, never as binary floating point.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal, get_args

import msgspec

from countersign.api.wire import UNSET, UnsetType, Wire

ActivityKind = Literal[
    "Wallets:Sign",
    "Wallets:IncomingTransaction",
    "Permissions:Modify",
    "Permissions:Assign",
    "Policies:Modify",
    "Registry:Addresses:Modify",
    "Registry:ContractSchemas:Modify",
    "Vaults:ReleaseQuarantine",
    "Vaults:CreateLock",
]
ACTIVITY_KINDS: tuple[ActivityKind, ...] = get_args(ActivityKind)
#: Old names of kinds, still accepted and stored under the new name.
OLD_ACTIVITY_KINDS: dict[str, ActivityKind] = {"Alias:Modify": "Registry:Addresses:Modify"}

Currency = Literal["USD", "EUR"]
AlertLevel = Literal["LOW", "MEDIUM", "HIGH", "SEVERE"]
PolicyStatus = Literal["Active", "Archived"]
ApprovalStatus = Literal["Pending", "Approved", "Denied", "Expired"]
DecisionValue = Literal["Approved", "Denied"]


class FiatLimit(Wire):
    """``limit``: fiat money, above 0; a numeric string is read as the number."""

    limit: Decimal
    currency: Currency


class FiatVelocity(Wire):
    """``limit`` of fiat money in any ``timeframe`` of minutes, 1 to 43200 (thirty days)."""

    limit: Decimal
    currency: Currency
    timeframe: int


class CountVelocity(Wire):
    """``limit``: whole number of activities in any ``timeframe`` of minutes, 1 to 43200."""

    limit: Decimal
    timeframe: int


class AssetLimit(Wire):
    """``tid``: the asset on its network, such as ``native:eth`` or ``erc20:0x...``; ``limit`` in base units."""

    network: str
    tid: str
    limit: str


class AssetLimits(Wire):
    """1 to 100 assets, each at most once."""

    assets: list[AssetLimit]


class Whitelist(Wire):
    """Addresses that may receive; none at all is nobody."""

    addresses: list[str]


class Categories(Wire):
    """Category numbers of the provider; none at all is every category."""

    category_ids: list[int]


class Alerts(Categories):
    """Alerts of one of the categories, at this level or above."""

    alert_level: AlertLevel


class Exposures(Wire):
    """Only direct exposures are looked at."""

    direct: Categories


class ChainalysisFallback(Wire):
    """For each situation without a result: true leaves the policy untriggered, false triggers it."""

    skip_unscreenable_transaction: bool
    skip_unsupported_network: bool
    skip_unsupported_asset: bool
    skip_chainalysis_failure: bool


class GlobalLedgerFallback(Wire):
    """As with the other provider; the failure is Global Ledger's."""

    skip_unscreenable_transaction: bool
    skip_unsupported_network: bool
    skip_unsupported_asset: bool
    skip_global_ledger_failure: bool


class QuarantineScreening(Wire):
    """What in a stored screening result triggers."""

    alerts: Alerts
    exposures: Exposures


class IncomingScreening(QuarantineScreening):
    """``userIdTemplate``: the provider's user, with ``{wallet.id}`` and ``{wallet.externalId}`` filled in."""

    fallback_behaviours: ChainalysisFallback
    user_id_template: str | UnsetType = UNSET


class Prescreening(IncomingScreening):
    """Also looks at what the provider knows of the recipient's address."""

    addresses: Categories


class RiskScore(Wire):
    """``riskScoreThreshold``: 0 to 100, triggers from it on."""

    risk_score_threshold: Decimal
    fallback_behaviours: GlobalLedgerFallback


class TravelRule(Wire):
    """Seconds until an unanswered message triggers, and (if set) until a delivered one clears."""

    vendor: Literal["Notabene"]
    auto_trigger_timeout_seconds: int
    auto_clear_after_delivered_timeout_seconds: int | UnsetType = UNSET


class AlwaysTrigger(Wire, tag_field="kind", tag="AlwaysTrigger"):
    """Triggers for every activity that the filters let through."""

    configuration: dict[str, Any] | UnsetType = UNSET


class TransactionAmountLimit(Wire, tag_field="kind", tag="TransactionAmountLimit"):
    """Fiat value of one transfer."""

    configuration: FiatLimit


class TransactionAmountLimitNominal(Wire, tag_field="kind", tag="TransactionAmountLimitNominal"):
    """Amount of one transfer in the asset's own base units."""

    configuration: AssetLimits


class TransactionAmountVelocity(Wire, tag_field="kind", tag="TransactionAmountVelocity"):
    """Fiat value of a wallet's activities in a sliding window."""

    configuration: FiatVelocity


class TransactionCountVelocity(Wire, tag_field="kind", tag="TransactionCountVelocity"):
    """Number of a wallet's activities in a sliding window."""

    configuration: CountVelocity


class TransactionRecipientWhitelist(Wire, tag_field="kind", tag="TransactionRecipientWhitelist"):
    """Recipients that are not listed."""

    configuration: Whitelist


class ChainalysisTransactionPrescreening(Wire, tag_field="kind", tag="ChainalysisTransactionPrescreening"):
    """Screening of an outgoing transfer before it is signed."""

    configuration: Prescreening


class ChainalysisTransactionScreening(Wire, tag_field="kind", tag="ChainalysisTransactionScreening"):
    """Screening of an incoming transfer."""

    configuration: IncomingScreening


class ChainalysisQuarantineScreening(Wire, tag_field="kind", tag="ChainalysisQuarantineScreening"):
    """The stored screening result of quarantined funds."""

    configuration: QuarantineScreening


class GlobalLedgerTransactionPrescreening(Wire, tag_field="kind", tag="GlobalLedgerTransactionPrescreening"):
    """Risk score and alerts of an outgoing transfer."""

    configuration: RiskScore


class TravelRuleTransactionPrescreening(Wire, tag_field="kind", tag="TravelRuleTransactionPrescreening"):
    """Travel rule message of an outgoing transfer."""

    configuration: TravelRule


Rule = (
    AlwaysTrigger
    | TransactionAmountLimit
    | TransactionAmountLimitNominal
    | TransactionAmountVelocity
    | TransactionCountVelocity
    | TransactionRecipientWhitelist
    | ChainalysisTransactionPrescreening
    | ChainalysisTransactionScreening
    | ChainalysisQuarantineScreening
    | GlobalLedgerTransactionPrescreening
    | TravelRuleTransactionPrescreening
)


def kind_of(part: Rule | Action) -> str:
    """The ``kind`` of a rule or an action, as it is spelled on the wire."""
    return _KINDS[type(part)]


class Ids(Wire):
    """Membership: the activity's id is one of these."""

    in_: list[str] = msgspec.field(name="in")


class TagFilter(Wire):
    """At least one of ``hasAny``, and all of ``hasAll``; tags compare exactly."""

    has_any: list[str] | UnsetType = UNSET
    has_all: list[str] | UnsetType = UNSET


class Filters(Wire):
    """All conditions have to hold; none at all is every activity of the kind."""

    wallet_id: Ids | UnsetType = UNSET
    wallet_tags: TagFilter | UnsetType = UNSET
    permission_id: Ids | UnsetType = UNSET
    policy_id: Ids | UnsetType = UNSET
    vault_tags: TagFilter | UnsetType = UNSET


class Approvers(Wire):
    """The people who may approve; absent: every active human of the organisation."""

    user_id: Ids | UnsetType = UNSET


class ApprovalGroup(Wire):
    """``quorum`` of these have to approve."""

    quorum: int
    approvers: Approvers
    name: str | UnsetType = UNSET
    initiator_can_approve: bool | UnsetType = UNSET
    service_accounts_can_approve: bool | UnsetType = UNSET


class Block(Wire, tag_field="kind", tag="Block"):
    """Refuse the activity."""


class NoAction(Wire, tag_field="kind", tag="NoAction"):
    """Only report."""


class RequestApproval(Wire, tag_field="kind", tag="RequestApproval"):
    """Hold the activity until every group has its quorum.

    ``autoRejectTimeout``: minutes, above 0; absent or null: waits for ever.
    """

    approval_groups: list[ApprovalGroup]
    auto_reject_timeout: int | UnsetType | None = UNSET


Action = Block | NoAction | RequestApproval


_KINDS = {part: str(part.__struct_config__.tag) for part in (*get_args(Rule), *get_args(Action))}


class PolicyBody(Wire):
    """What a client says of a policy."""

    name: str
    activity_kind: ActivityKind
    rule: Rule
    action: Action
    filters: Filters | UnsetType = UNSET


class Policy(Wire):
    """A policy as it is stored and shown; ``pendingChangeRequest`` where a change of it waits for approval."""

    id: str
    name: str
    activity_kind: ActivityKind
    rule: Rule
    action: Action
    filters: Filters | UnsetType = UNSET
    status: PolicyStatus = "Active"
    date_created: str | UnsetType = UNSET
    date_updated: str | UnsetType = UNSET
    pending_change_request: dict[str, Any] | UnsetType = UNSET


def policy_of(
    policy_id: str,
    body: PolicyBody,
    *,
    status: PolicyStatus = "Active",
    date_created: str | UnsetType = UNSET,
    date_updated: str | UnsetType = UNSET,
) -> Policy:
    """The policy that a body makes."""
    return Policy(
        id=policy_id,
        name=body.name,
        activity_kind=body.activity_kind,
        rule=body.rule,
        action=body.action,
        filters=body.filters,
        status=status,
        date_created=date_created,
        date_updated=date_updated,
    )


class PolicyEvaluation(Wire):
    """What one policy said of an activity; ``context`` holds the values that it looked at."""

    policy_id: str
    triggered: bool
    reason: str
    context: dict[str, Any] | UnsetType = UNSET


class CreateDecision(Wire):
    """A vote on an approval; ``reason`` of up to 1000 characters."""

    value: DecisionValue
    reason: Annotated[str, msgspec.Meta(max_length=1000)] | UnsetType = UNSET


class Decision(Wire):
    """A vote that was given; ``reason`` is null where none was said."""

    user_id: str
    value: DecisionValue
    reason: str | None
    date: str


class Approval(Wire):
    """An activity that waits, or waited, for people.

    ``activity``: ``kind`` and the entity as it is now, under the name of what it is (``transferRequest``,
    ``signatureRequest``, ``changeRequest``, ...).
    """

    id: str
    initiator_id: str
    activity: dict[str, Any]
    status: ApprovalStatus
    policy_evaluations: list[PolicyEvaluation]
    decisions: list[Decision]
    date_updated: str
    expiration_date: str | UnsetType = UNSET
    date_created: str | UnsetType = UNSET
    date_resolved: str | UnsetType = UNSET
