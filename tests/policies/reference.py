"""A second evaluator, written to be read: no caching, no types, fractions for every number, one rule after another.

It works on cases as they are written in a test file, and shares nothing with the evaluator that it is compared with.
It knows only the networks and assets that ``generated`` makes.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

EVM = {"Ethereum": 1, "Polygon": 137}
NATIVE = {"Ethereum": "native:eth", "Polygon": "native:pol", "Solana": "native:sol", "Bitcoin": "native:btc"}
LEVELS = ["LOW", "MEDIUM", "HIGH", "SEVERE"]
HARMLESS = [
    "nonce",
    "gas",
    "gasLimit",
    "gasPrice",
    "maxFeePerGas",
    "maxPriorityFeePerGas",
    "accessList",
    "from",
    "type",
]


def expected(case: dict[str, Any]) -> dict[str, Any]:
    """What has to happen in a case."""
    activity = case["activity"]
    triggered: list[str] = []
    skipped: list[str] = []
    actions: list[dict[str, Any]] = []
    if not belongs_to_end_user(case):
        for policy in case["policies"]:
            if not concerns(policy, case):
                continue
            if triggers(policy, case):
                triggered.append(policy["id"])
                actions.append(policy["action"])
            else:
                skipped.append(policy["id"])
    result: dict[str, Any] = {"triggered": triggered, "skipped": skipped}
    kinds = [action["kind"] for action in actions]
    if "Block" in kinds:
        return {**result, "outcome": "Blocked"}
    if "RequestApproval" not in kinds:
        return {**result, "outcome": "Cleared"}
    requests = [action for action in actions if action["kind"] == "RequestApproval"]
    timeouts = [action["autoRejectTimeout"] for action in requests if action.get("autoRejectTimeout") is not None]
    minutes = min(timeouts) if timeouts else None
    groups = [group for action in requests for group in action["approvalGroups"]]
    votes, final = vote(case, activity["initiator"], groups, minutes)
    return {
        **result,
        "outcome": "PendingApproval",
        "expiresAfterMinutes": minutes,
        "decisions": votes,
        "finalApprovalStatus": final,
    }


def instant(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def wallets_of(case: dict[str, Any]) -> list[dict[str, Any]]:
    activity = case["activity"]
    if "walletId" in activity:
        return [wallet for wallet in case["wallets"] if wallet["id"] == activity["walletId"]]
    if "keyId" in activity:
        return [wallet for wallet in case["wallets"] if wallet["keyId"] == activity["keyId"]]
    return []


def belongs_to_end_user(case: dict[str, Any]) -> bool:
    return any("delegatedTo" in wallet for wallet in wallets_of(case))


def concerned_wallets(policy: dict[str, Any], case: dict[str, Any]) -> list[dict[str, Any]]:
    filters = policy.get("filters", {})
    result = []
    for wallet in wallets_of(case):
        if "walletId" in filters and wallet["id"] not in filters["walletId"]["in"]:
            continue
        tags = filters.get("walletTags", {})
        if "hasAny" in tags and not any(tag in wallet["tags"] for tag in tags["hasAny"]):
            continue
        if not all(tag in wallet["tags"] for tag in tags.get("hasAll", [])):
            continue
        result.append(wallet)
    return result


def has_no_condition(policy: dict[str, Any]) -> bool:
    filters = policy.get("filters", {})
    tags = filters.get("walletTags", {})
    return "walletId" not in filters and "hasAny" not in tags and not tags.get("hasAll")


def concerns(policy: dict[str, Any], case: dict[str, Any]) -> bool:
    activity = case["activity"]
    if policy["status"] != "Active" or policy["activityKind"] != activity["kind"]:
        return False
    filters = policy.get("filters", {})
    if activity["kind"].startswith("Wallets:"):
        return has_no_condition(policy) or bool(concerned_wallets(policy, case))
    if "permissionId" in filters:
        return activity.get("permissionId") in filters["permissionId"]["in"]
    if "policyId" in filters:
        return activity.get("policyId") in filters["policyId"]["in"]
    if "vaultTags" in filters:
        tags = filters["vaultTags"]
        mine = activity.get("vaultTags", [])
        return ("hasAny" not in tags or any(tag in mine for tag in tags["hasAny"])) and all(
            tag in mine for tag in tags.get("hasAll", [])
        )
    return True


def what_moves(case: dict[str, Any]) -> dict[str, Any] | None:
    """Asset, amount and recipient, or nothing if they can't be read."""
    activity = case["activity"]
    if activity["kind"] != "Wallets:Sign":
        return None
    network, body = activity["network"], activity["body"]
    if activity["api"] == "transfer":
        amount = body.get("amount")
        if not isinstance(amount, str) or not amount.isascii() or not amount.isdigit() or int(amount) == 0:
            return None
        if body["kind"] == "Native":
            asset = NATIVE.get(network, "native")
        elif body["kind"] == "Erc20" and str(body.get("contract", "")).startswith("0x"):
            asset = f"erc20:{body['contract'].lower()}"
        elif body["kind"] == "Spl" and body.get("mint"):
            asset = f"spl:{body['mint']}"
        else:
            return None
        if not body.get("to"):
            return None
        return {"asset": f"{network}/{asset}", "amount": int(amount), "to": body["to"]}
    if activity["api"] == "swap" or body.get("kind") != "Transaction" or not isinstance(body["transaction"], dict):
        return None
    transaction = body["transaction"]
    if network not in EVM or body.get("network", network) != network:
        return None
    for name, value in transaction.items():
        if name in ("data", "input"):
            if value not in ("", "0x", None):
                return None
        elif name == "chainId":
            if number(value) != EVM[network]:
                return None
        elif name not in ("to", "value", *HARMLESS):
            return None
    recipient = transaction.get("to")
    amount = number(transaction.get("value"))
    if not isinstance(recipient, str) or len(recipient) != 42 or not recipient.startswith("0x") or not amount:
        return None
    return {"asset": f"{network}/{NATIVE[network]}", "amount": amount, "to": recipient}


def number(value: object) -> int | None:
    if isinstance(value, int):
        return value if value >= 0 else None
    if isinstance(value, str) and value.startswith("0x") and len(value) > 2:
        return int(value, 16)
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return None


def worth(case: dict[str, Any], currency: str) -> Fraction | None:
    moves = what_moves(case)
    if moves is None:
        return None
    price = case["prices"].get(moves["asset"], {}).get(currency)
    decimals = case["decimals"].get(moves["asset"])
    if price is None or decimals is None or Fraction(price) <= 0:
        return None
    return Fraction(moves["amount"], 10**decimals) * Fraction(price)


def histories(policy: dict[str, Any], case: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """What velocity has to count, for each wallet (or the key) that the policy is about."""
    now = instant(case["activity"]["at"])
    oldest = now - timedelta(minutes=policy["rule"]["configuration"]["timeframe"])
    if not wallets_of(case):
        mine = [[past for past in case["history"] if past.get("keyId") == case["activity"]["keyId"]]]
    else:
        concerned = wallets_of(case) if has_no_condition(policy) else concerned_wallets(policy, case)
        mine = [[past for past in case["history"] if past.get("walletId") == wallet["id"]] for wallet in concerned]
    return [
        [
            past
            for past in one
            if instant(past["at"]) > oldest
            and past["status"] != "Rejected"
            and (past["status"] != "Failed" or past.get("uncertain"))
        ]
        for one in mine
    ]


def triggers(policy: dict[str, Any], case: dict[str, Any]) -> bool:
    kind, configuration = policy["rule"]["kind"], policy["rule"].get("configuration", {})
    moves = what_moves(case)
    if kind == "AlwaysTrigger":
        return True
    if kind == "TransactionAmountLimit":
        value = worth(case, configuration["currency"])
        return value is None or value > Fraction(str(configuration["limit"]))
    if kind == "TransactionAmountLimitNominal":
        if moves is None:
            return True
        limits = [one for one in configuration["assets"] if f"{one['network']}/{one['tid']}" == moves["asset"]]
        return any(moves["amount"] > int(one["limit"]) for one in limits)
    if kind == "TransactionAmountVelocity":
        value = worth(case, configuration["currency"])
        if value is None:
            return True
        for past in histories(policy, case):
            before = [one.get(configuration["currency"].lower()) for one in past]
            if None in before:
                return True
            if value + sum(Fraction(str(one)) for one in before) > Fraction(str(configuration["limit"])):
                return True
        return False
    if kind == "TransactionCountVelocity":
        return any(len(past) + 1 > Fraction(str(configuration["limit"])) for past in histories(policy, case))
    if kind == "TransactionRecipientWhitelist":
        if moves is None:
            return True
        if case["activity"]["network"] in EVM:
            return moves["to"].lower() not in [address.lower() for address in configuration["addresses"]]
        return moves["to"] not in configuration["addresses"]
    return screened(kind, configuration, case, moves)


def screened(kind: str, configuration: dict[str, Any], case: dict[str, Any], moves: dict[str, Any] | None) -> bool:
    result = case["activity"].get("screening")
    if kind == "TravelRuleTransactionPrescreening":
        if case["activity"]["api"] != "transfer" or result is None:
            return True
        return result.get("travelRule") not in ("Accepted", "Unanswered")
    prescreening = kind.endswith("Prescreening")
    fallback = configuration.get("fallbackBehaviours", {})
    if prescreening and moves is None:
        return not fallback["skipUnscreenableTransaction"]
    if result is None:
        return True
    for situation, flag in (
        ("unscreenable", "skipUnscreenableTransaction"),
        ("unsupportedNetwork", "skipUnsupportedNetwork"),
        ("unsupportedAsset", "skipUnsupportedAsset"),
        ("failure", "skipChainalysisFailure" if kind.startswith("Chainalysis") else "skipGlobalLedgerFailure"),
    ):
        if result.get(situation):
            return not fallback.get(flag, False)
    alerts = result.get("alerts", [])
    if kind == "GlobalLedgerTransactionPrescreening":
        if alerts or "riskScore" not in result:
            return True
        return bool(result["riskScore"] >= configuration["riskScoreThreshold"])

    def named(categories: dict[str, Any], category: int) -> bool:
        return categories["categoryIds"] == [] or category in categories["categoryIds"]

    lowest = LEVELS.index(configuration["alerts"]["alertLevel"])
    for alert in alerts:
        if LEVELS.index(alert["alertLevel"]) >= lowest and named(configuration["alerts"], alert["categoryId"]):
            return True
    exposure = result.get("directExposure")
    if exposure is not None and named(configuration["exposures"]["direct"], exposure["categoryId"]):
        return True
    if prescreening:
        return any(named(configuration["addresses"], one["categoryId"]) for one in result.get("addresses", []))
    return False


def vote(
    case: dict[str, Any], initiator: str, groups: list[dict[str, Any]], minutes: int | None
) -> tuple[list[dict[str, Any]], str]:
    """What each vote is answered with, and how the approval ends."""
    users = {user["id"]: dict(user) for user in case["users"]}
    switch = case["orgAllowsServiceAccountApprovers"]
    began = instant(case["activity"]["at"])
    ends = None if minutes is None else began + timedelta(minutes=minutes)
    status = "Pending"
    given: list[tuple[str, str]] = []
    answers: list[dict[str, Any]] = []
    now = began

    def belongs(user: dict[str, Any], group: dict[str, Any]) -> bool:
        listed = group["approvers"].get("userId", {}).get("in")
        if not user.get("active", True) or user["kind"] == "EndUser":
            return False
        if user["kind"] == "ServiceAccount":
            admitted = switch and group.get("serviceAccountsCanApprove", False)
            return bool(admitted and listed is not None and user["id"] in listed)
        return listed is None or user["id"] in listed

    def counts(user: dict[str, Any], group: dict[str, Any]) -> bool:
        if user["id"] == initiator and not group.get("initiatorCanApprove", False):
            return False
        return belongs(user, group)

    for step in case["decisions"]:
        now = instant(step["at"])
        if status == "Pending" and ends is not None and now >= ends:
            status = "Expired"
        if "deactivate" in step:
            users[step["deactivate"]]["active"] = False
            answers.append({"http": 200, "approvalStatus": status})
            continue
        user = users[step["by"]]
        if not user.get("canVote", True):
            http = 403
        elif status != "Pending":
            http = 412
        else:
            if step["value"] == "Approved":
                eligible = any(counts(user, group) for group in groups)
            else:
                active = user.get("active", True)
                eligible = active and (user["id"] == initiator or any(belongs(user, group) for group in groups))
            if not eligible:
                http = 403
            elif user["id"] in [name for name, _ in given]:
                http = 409
            else:
                http = 200
                given.append((user["id"], step["value"]))
                if step["value"] == "Denied":
                    status = "Denied"
                else:
                    approved = [users[name] for name, value in given if value == "Approved"]
                    reached = [sum(counts(one, group) for one in approved) >= group["quorum"] for group in groups]
                    if all(reached):
                        status = "Approved"
        answers.append({"http": http, "approvalStatus": status})
    if "finalAt" in case:
        now = instant(case["finalAt"])
    if status == "Pending" and ends is not None and now >= ends:
        status = "Expired"
    return answers, status
