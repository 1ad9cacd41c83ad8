"""When each rule triggers: one function of the rule's configuration and the scene, with the reason in words.

A rule that can't know triggers: unreadable transactions, unknown prices, missing histories and screenings. A value
equal to a limit passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, assert_never

import msgspec

from countersign.encoding.counted import counted
from countersign.policies import prices, types
from countersign.policies.activity import Undeterminable, WalletActivity
from countersign.policies.facts import Provider, Screening, Unscreened
from countersign.policies.networks import same_address
from countersign.policies.scene import Scene, Unvalued

_LEVELS = {"LOW": 0, "MEDIUM": 1, "HIGH": 2, "SEVERE": 3}
_UNSCREENED = {
    "unscreenable": "the activity can't be screened",
    "unsupportedNetwork": "the provider does not know the network",
    "unsupportedAsset": "the provider does not know the asset",
    "failure": "the provider failed",
}
_CONTEXT_DIGITS = 15


class Verdict(msgspec.Struct, frozen=True):
    """Whether a rule triggered, why, and the values it looked at, as they are shown to clients."""

    triggered: bool
    reason: str
    context: dict[str, Any] | None = None


def judge(rule: types.Rule, scene: Scene, subjects: Sequence[str]) -> Verdict:
    """Whether the rule triggers; ``subjects``: the wallets (or the key) that the policy's filters let through."""
    match rule:
        case types.AlwaysTrigger():
            return _ALWAYS
        case types.TransactionAmountLimit():
            return _amount_limit(rule.configuration, scene)
        case types.TransactionAmountLimitNominal():
            return _nominal(rule.configuration, scene)
        case types.TransactionAmountVelocity():
            return _amount_velocity(rule.configuration, scene, subjects)
        case types.TransactionCountVelocity():
            return _count_velocity(rule.configuration, scene, subjects)
        case types.TransactionRecipientWhitelist():
            return _whitelist(rule.configuration, scene)
        case types.ChainalysisTransactionPrescreening():
            return _prescreening(rule.configuration, scene)
        case types.ChainalysisTransactionScreening():
            return _incoming(rule.configuration, scene)
        case types.ChainalysisQuarantineScreening():
            return _quarantine(rule.configuration, scene)
        case types.GlobalLedgerTransactionPrescreening():
            return _risk_score(rule.configuration, scene)
        case types.TravelRuleTransactionPrescreening():
            return _travel_rule(scene)
    assert_never(rule)


def provider_of(rule: types.Rule) -> Provider | None:
    """Whose screening result the rule needs, if any."""
    if isinstance(rule, _UNSCREENING):
        return None
    match rule:
        case (
            types.ChainalysisTransactionPrescreening()
            | types.ChainalysisTransactionScreening()
            | types.ChainalysisQuarantineScreening()
        ):
            return "Chainalysis"
        case types.GlobalLedgerTransactionPrescreening():
            return "GlobalLedger"
        case types.TravelRuleTransactionPrescreening():
            return "Notabene"
        case _:
            return None


# Asked first, because most rules are of these.
_UNSCREENING = (
    types.AlwaysTrigger,
    types.TransactionAmountLimit,
    types.TransactionAmountLimitNominal,
    types.TransactionAmountVelocity,
    types.TransactionCountVelocity,
    types.TransactionRecipientWhitelist,
)
_ALWAYS = Verdict(True, "the rule always triggers")


def _amount_limit(limit: types.FiatLimit, scene: Scene) -> Verdict:
    value = scene.value(limit.currency)
    if isinstance(value, Unvalued):
        return Verdict(True, f"the value is not known: {value.reason}")
    above = value > limit.limit
    relation = "above" if above else "not above"
    return Verdict(
        above,
        f"the value of {_plain(value)} {limit.currency} is {relation} the limit of {_plain(limit.limit)}",
        {"transactionAmount": {"value": _shown(value), "currency": limit.currency}},
    )


def _nominal(limits: types.AssetLimits, scene: Scene) -> Verdict:
    reading = scene.reading
    if isinstance(reading, Undeterminable):
        return Verdict(True, f"the asset or its amount is not known: {reading.reason}")
    asset = reading.asset
    context = {"network": asset.network, "tid": asset.tid, "amount": str(reading.amount)}
    listed = [int(one.limit) for one in limits.assets if one.network == asset.network and _same_tid(one.tid, asset.tid)]
    if not listed:
        return Verdict(False, f"{asset} is not listed", context)
    above = reading.amount > min(listed)
    relation = "above" if above else "not above"
    return Verdict(above, f"{reading.amount} of {asset} is {relation} the limit of {min(listed)}", context)


def _same_tid(listed: str, tid: str) -> bool:
    # A network has one native asset, whatever its symbol is said to be.
    return listed == tid or (listed.startswith("native:") and tid.startswith("native"))


def _amount_velocity(velocity: types.FiatVelocity, scene: Scene, subjects: Sequence[str]) -> Verdict:
    if not subjects:
        return Verdict(True, "no wallet or key is known whose history could be looked at")
    highest = Decimal(0)
    for subject in subjects:
        spent = scene.spent(subject, velocity.timeframe, velocity.currency)
        if isinstance(spent, Unvalued):
            return Verdict(True, spent.reason)
        highest = max(highest, spent)
    above = highest > velocity.limit
    relation = "above" if above else "not above"
    cumulative = f"{_plain(highest)} {velocity.currency} in {counted(velocity.timeframe, 'minute')}"
    return Verdict(
        above,
        f"{cumulative} is {relation} the limit of {_plain(velocity.limit)}",
        {"cumulativeAmount": {"value": _shown(highest), "currency": velocity.currency}},
    )


def _count_velocity(velocity: types.CountVelocity, scene: Scene, subjects: Sequence[str]) -> Verdict:
    if not subjects:
        return Verdict(True, "no wallet or key is known whose history could be looked at")
    highest = 0
    for subject in subjects:
        past = scene.window(subject, velocity.timeframe)
        if past is None:
            return Verdict(True, f"the history of {subject} is not known")
        highest = max(highest, sum([one.number for one in past]) + 1)
    above = highest > velocity.limit
    relation = "above" if above else "not above"
    return Verdict(
        above,
        f"{highest} in {counted(velocity.timeframe, 'minute')} is {relation} the limit of {_plain(velocity.limit)}",
        {"count": highest},
    )


def _whitelist(whitelist: types.Whitelist, scene: Scene) -> Verdict:
    reading = scene.reading
    if isinstance(reading, Undeterminable):
        return Verdict(True, f"the recipient is not known: {reading.reason}")
    recipient, network = reading.recipient, reading.asset.network
    listed = any(same_address(network, address, recipient) for address in whitelist.addresses)
    relation = "listed" if listed else "not listed"
    return Verdict(not listed, f"the recipient {recipient} is {relation}", {"recipient": recipient})


def _prescreening(rule: types.Prescreening, scene: Scene) -> Verdict:
    if isinstance(scene.reading, Undeterminable):
        return _without_result("unscreenable", rule.fallback_behaviours)
    screening = scene.facts.screenings.get("Chainalysis")
    if screening is None:
        return _NOT_SCREENED
    if screening.missing is not None:
        return _without_result(screening.missing, rule.fallback_behaviours)
    return _found(_alert(rule.alerts, screening) or _exposure(rule.exposures, screening) or _address(rule, screening))


def _incoming(rule: types.IncomingScreening, scene: Scene) -> Verdict:
    screening = scene.facts.screenings.get("Chainalysis")
    if screening is None:
        return _NOT_SCREENED
    if screening.missing is not None:
        return _without_result(screening.missing, rule.fallback_behaviours)
    return _found(_alert(rule.alerts, screening) or _exposure(rule.exposures, screening))


def _quarantine(rule: types.QuarantineScreening, scene: Scene) -> Verdict:
    screening = scene.facts.screenings.get("Chainalysis")
    if screening is None or screening.missing is not None:
        return _NOT_SCREENED
    return _found(_alert(rule.alerts, screening) or _exposure(rule.exposures, screening))


def _risk_score(rule: types.RiskScore, scene: Scene) -> Verdict:
    if isinstance(scene.reading, Undeterminable):
        return _without_result("unscreenable", rule.fallback_behaviours)
    screening = scene.facts.screenings.get("GlobalLedger")
    if screening is None:
        return _NOT_SCREENED
    if screening.missing is not None:
        return _without_result(screening.missing, rule.fallback_behaviours)
    score = screening.risk_score
    if screening.alerts:
        return Verdict(True, "the provider raised an alert", {"riskScore": None if score is None else _shown(score)})
    if score is None:
        return _NOT_SCREENED
    reached = score >= rule.risk_score_threshold
    relation = "has reached" if reached else "is below"
    reason = f"the risk score of {_plain(score)} {relation} the threshold of {_plain(rule.risk_score_threshold)}"
    return Verdict(reached, reason, {"riskScore": _shown(score)})


def _travel_rule(scene: Scene) -> Verdict:
    activity = scene.activity
    if not isinstance(activity, WalletActivity) or activity.api != "transfer":
        return Verdict(True, "no travel rule message can be sent for anything but a transfer request")
    screening = scene.facts.screenings.get("Notabene")
    ended = None if screening is None else screening.travel_rule
    if ended in ("Accepted", "Unanswered"):
        return Verdict(False, "the travel rule message was accepted, or delivered and not refused in time")
    return Verdict(True, f"the travel rule message did not clear: {ended or 'there is none'}")


_NOT_SCREENED = Verdict(True, "there is no screening result")


def _without_result(missing: Unscreened, fallback: types.ChainalysisFallback | types.GlobalLedgerFallback) -> Verdict:
    match missing:
        case "unscreenable":
            skip = fallback.skip_unscreenable_transaction
        case "unsupportedNetwork":
            skip = fallback.skip_unsupported_network
        case "unsupportedAsset":
            skip = fallback.skip_unsupported_asset
        case "failure":
            skip = (
                fallback.skip_chainalysis_failure
                if isinstance(fallback, types.ChainalysisFallback)
                else fallback.skip_global_ledger_failure
            )
        case _:
            assert_never(missing)
    chosen = "which the policy skips" if skip else "which the policy does not skip"
    return Verdict(not skip, f"{_UNSCREENED[missing]}, {chosen}", {"unscreened": missing})


def _found(finding: Verdict | None) -> Verdict:
    return finding or Verdict(False, "the screening result matches nothing that the policy names")


def _alert(alerts: types.Alerts, screening: Screening) -> Verdict | None:
    for alert in screening.alerts:
        if _LEVELS[alert.level] >= _LEVELS[alerts.alert_level] and _names(alerts, alert.category_id):
            context = {"alert": {"alertLevel": alert.level, "categoryId": alert.category_id}}
            return Verdict(True, f"an alert of level {alert.level} in category {alert.category_id}", context)
    return None


def _exposure(exposures: types.Exposures, screening: Screening) -> Verdict | None:
    for category in screening.exposures:
        if _names(exposures.direct, category):
            return Verdict(
                True, f"a direct exposure of category {category}", {"directExposure": {"categoryId": category}}
            )
    return None


def _address(rule: types.Prescreening, screening: Screening) -> Verdict | None:
    for category in screening.addresses:
        if _names(rule.addresses, category):
            return Verdict(
                True, f"the recipient's address is of category {category}", {"address": {"categoryId": category}}
            )
    return None


def _names(categories: types.Categories, category: int) -> bool:
    return not categories.category_ids or category in categories.category_ids


@lru_cache(maxsize=256)
def _shown(value: Decimal) -> Decimal | int:
    """A number for clients, many of which read it as a double: 15 digits. The reason has all of them."""
    digits = len(value.as_tuple().digits)
    if digits > _CONTEXT_DIGITS:
        value = value.quantize(Decimal((0, (1,), value.adjusted() - _CONTEXT_DIGITS + 1)), context=prices.DISPLAY)
    return int(value) if value == value.to_integral_value() else value.normalize()


@lru_cache(maxsize=1024)
def _plain(value: Decimal) -> str:
    """All digits, without an exponent and without zeros at the end."""
    return f"{value.normalize(prices.DISPLAY):f}"
