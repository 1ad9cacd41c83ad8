"""Policy tests: policies, a small world around them, and cases that say what is to happen in it.

The shape of a test file, whatever it was written in. A case takes the world of the file and may replace parts of it.
Unknown members are refused, so that a misspelt one does not turn a test into one that tests nothing.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

import msgspec

from countersign.api.wire import UNSET, UnsetType, Wire
from countersign.policies.activity import WalletApi
from countersign.policies.approvals import MemberKind
from countersign.policies.types import ActivityKind, AlertLevel, ApprovalStatus, Currency, DecisionValue

_NOON = "2026-01-01T12:00:00.000Z"


class BadScenario(ValueError):
    """The file can't be read as policy tests; the message says where and why."""


class User(Wire):
    """A person, end user or service account; ``canVote``: holds the operation to vote."""

    id: str
    kind: MemberKind = "CustomerEmployee"
    active: bool = True
    can_vote: bool = True


class WalletFixture(Wire):
    """A wallet; ``delegatedTo``: the end user whom it belongs to."""

    id: str
    network: str
    key_id: str | UnsetType = UNSET
    tags: list[str] = msgspec.field(default_factory=list)
    delegated_to: str | UnsetType = UNSET


class PastFixture(Wire):
    """An earlier activity of a wallet (or of a key without wallets), with the values recorded then."""

    at: str
    status: str
    wallet_id: str | UnsetType = UNSET
    key_id: str | UnsetType = UNSET
    usd: Decimal | None = None
    eur: Decimal | None = None
    uncertain: bool = False
    api: str | UnsetType = UNSET


class Category(Wire):
    """A category number of the provider."""

    category_id: int


class AlertFixture(Category):
    """An alert of the provider."""

    alert_level: AlertLevel


class ScreeningFixture(Wire):
    """What the provider is taken to have said."""

    alerts: list[AlertFixture] = msgspec.field(default_factory=list)
    direct_exposure: Category | UnsetType = UNSET
    addresses: list[Category] = msgspec.field(default_factory=list)
    risk_score: Decimal | UnsetType = UNSET
    travel_rule: Literal["Accepted", "Unanswered", "Rejected", "TimedOut", "NoMessage"] | UnsetType = UNSET
    unscreenable: bool = False
    unsupported_network: bool = False
    unsupported_asset: bool = False
    failure: bool = False


class ActivityFixture(Wire):
    """What somebody wants to do; which members it needs depends on ``kind`` and ``api``."""

    kind: ActivityKind
    initiator: str | None = None
    at: str = _NOON
    api: WalletApi | UnsetType = UNSET
    network: str | UnsetType = UNSET
    body: dict[str, Any] = msgspec.field(default_factory=dict)
    wallet_id: str | UnsetType = UNSET
    key_id: str | UnsetType = UNSET
    screening: ScreeningFixture | UnsetType = UNSET
    operation_kind: str | UnsetType = UNSET
    permission_id: str | UnsetType = UNSET
    policy_id: str | UnsetType = UNSET
    identity_id: str | UnsetType = UNSET
    vault_id: str | UnsetType = UNSET
    vault_tags: list[str] = msgspec.field(default_factory=list)


class VoteFixture(Wire):
    """A vote ``by`` somebody, or the deactivation of somebody."""

    at: str
    by: str | UnsetType = UNSET
    value: DecisionValue | UnsetType = UNSET
    deactivate: str | UnsetType = UNSET


class ExpectedVote(Wire):
    """What a vote is answered with, and the status of the approval after it."""

    http: int
    approval_status: ApprovalStatus


class Expected(Wire):
    """What is to happen; only what is said is compared. ``reason``: code of why a policy is refused."""

    outcome: Literal["Cleared", "PendingApproval", "Blocked", "InvalidPolicy"]
    triggered: list[str] | UnsetType = UNSET
    skipped: list[str] | UnsetType = UNSET
    expires_after_minutes: int | UnsetType | None = UNSET
    decisions: list[ExpectedVote] | UnsetType = UNSET
    final_approval_status: ApprovalStatus | UnsetType = UNSET
    http: int | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class World(Wire):
    """People, wallets, prices and what happened before.

    ``prices``: by ``network/tid`` and currency, one whole unit; ``decimals``: by ``network/tid``.
    """

    users: list[User] | UnsetType = UNSET
    wallets: list[WalletFixture] | UnsetType = UNSET
    prices: dict[str, dict[Currency, Decimal]] | UnsetType = UNSET
    decimals: dict[str, int] | UnsetType = UNSET
    history: list[PastFixture] | UnsetType = UNSET
    policies: list[dict[str, Any]] | UnsetType = UNSET
    org_allows_service_account_approvers: bool | UnsetType = UNSET


class Case(World):
    """One case: the activity (or the policy to create), votes on it, and what is expected."""

    id: str
    expect: Expected
    title: str = ""
    note: str = ""
    basis: str = ""
    activity: ActivityFixture | UnsetType = UNSET
    create_policy: dict[str, Any] | UnsetType = UNSET
    decisions: list[VoteFixture] = msgspec.field(default_factory=list)
    final_at: str | UnsetType = UNSET


class Scenario(World):
    """A whole file; ``fixtures`` is another place for the world."""

    cases: list[Case] = msgspec.field(default_factory=list)
    fixtures: World | UnsetType = UNSET
    schema_version: int = 1
    description: str = ""
    conventions: dict[str, Any] = msgspec.field(default_factory=dict)


def read_scenario(value: Any) -> Scenario:
    """The scenario that a parsed document holds; raises ``BadScenario``."""
    try:
        scenario: Scenario = msgspec.convert(value, Scenario)
    except (msgspec.ValidationError, ArithmeticError) as error:
        raise BadScenario(str(error)) from None
    ids = [case.id for case in scenario.cases]
    if len(set(ids)) != len(ids):
        raise BadScenario("two cases have the same id")
    return scenario
